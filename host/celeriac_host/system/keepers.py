"""Programs that run as another user: each started, followed and cleared away by a keeper.

A keeper (`keeper.py`) is root's. On a host with systemd it runs in a transient service, with the
limits that protect the host from its programs; elsewhere it is a child of ours, and the programs
have limits of their own. It serves one program after the other, since its start costs most of the
time of a short one. Nothing that a program has started outlives the program, nor the agent: the
keeper ends it, and if somebody ends the keeper, systemd does. Without a service nobody would: then
what a program has started may live on.
"""

from __future__ import annotations

import array
import json
import math
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, Mapping, Sequence

from celeriac_host.system import box, own_program, services
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.services import Restrictions

PROGRAM = "celeriac_host.system.keeper"
# Short in lists of processes; the program follows on the socket that it keeps.
FIRST = "import socket;c=socket.socket(fileno=0);f=c.makefile('rb');exec(f.read(int(f.readline())))"
LENGTH = struct.Struct("!I")
GRACE_SECONDS = 5.0
# After SIGKILL; only a process that waits for a disk takes longer.
KILLED_SECONDS = 5.0
# In addition, for the keeper to clear up, and for systemd to end its service.
MARGIN_SECONDS = 30.0
# A keeper that is reused serves all short programs of a run.
USUAL_SECONDS = 1800.0
HELLO_SECONDS = 30.0
# How long it tries to end what a program has left. A service ends it all, if it gives up.
CLEARING_SECONDS = 5.0
CLEARING_ALONE_SECONDS = 30.0
SEND_SECONDS = 30.0
MESSAGE_LIMIT_BYTES = 64 * 1024
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class Lost(OSError):
    """The keeper ended, or does not answer."""


class Unheard(Lost):
    """It ended without having read what it was last told."""


class Kept:
    """A program of a keeper, as `subprocess.Popen` shows one: pipes, `poll` and `wait`."""

    def __init__(self, keeper: Keeper, pipes: Sequence[int | None]) -> None:
        self.keeper = keeper
        self.returncode: int | None = None
        # How many processes it left behind, which were ended.
        self.left = 0
        # How many of its processes the kernel ended for want of memory.
        self.ooms = 0
        # Why it did not end by itself; empty if it did.
        self.why = ""
        into, out, err = pipes
        self.stdin = None if into is None else os.fdopen(into, "wb", buffering=0)
        self.stdout = os.fdopen(out, "rb", buffering=0) if out is not None else None
        self.stderr = os.fdopen(err, "rb", buffering=0) if err is not None else None

    def poll(self) -> int | None:
        """Its exit code; None while it runs, or while what it has left is being ended."""
        return self._look(0.0)

    def wait(self, timeout: float) -> int:
        """Raises TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a program of another user", timeout)
        return code

    def finish(self) -> None:
        """Ends all that it has started: SIGTERM, then SIGKILL. Closes its pipes."""
        if self.poll() is None:
            with suppress(OSError):
                self.keeper.say({"end": GRACE_SECONDS}, ())
            self._look(GRACE_SECONDS + MARGIN_SECONDS)
        if self.returncode is None:
            self._give_up("its keeper did not end it in time, and was ended")
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _look(self, seconds: float) -> int | None:
        if self.returncode is not None:
            return self.returncode
        try:
            said = self.keeper.hear(seconds)
        except Lost as error:
            self._give_up(str(error))
            return self.returncode
        if said is not None:
            self.returncode = int(said["code"])
            self.left = int(said["left"])
            self.ooms = int(said["ooms"])
            if self.returncode == -signal.SIGKILL and self.ooms:
                self.why = f"it needed more memory than {self.keeper.memory()}"
            self.keeper.busy = False
        return self.returncode

    def _give_up(self, why: str) -> None:
        self.returncode = -signal.SIGKILL
        self.keeper.destroy()
        self.why = why


class Keeper:
    """Our end of one."""

    def __init__(self, limits: Restrictions, in_service: bool, seconds: float | None) -> None:
        self.limits = limits
        self.in_service = in_service
        self.busy = False
        self.is_destroyed = False
        # In a service that has said hello: systemd-run also ends when it loses the bus.
        self.outlives_process = False
        self.unread = bytearray()
        # A service ends then, whatever it does.
        self.until = math.inf if seconds is None else time.monotonic() + seconds
        self.owner = os.getpid()
        self.control, theirs = socket.socketpair()
        self.service: services.Service | None = None
        patience = CLEARING_SECONDS if in_service else CLEARING_ALONE_SECONDS
        python = [sys.executable or "/usr/bin/python3", "-I", "-S", "-X", "utf8"]
        argv = [*python, "-c", FIRST, str(patience)]
        if in_service:
            self.service = services.keeper()
            argv = services.command(self.service, argv, None, "/", limits, seconds)
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
            )
            theirs.close()
            self.control.settimeout(SEND_SECONDS)
            text = _text()
            self.control.sendall(b"%d\n%s" % (len(text), text))
            said = self.hear(HELLO_SECONDS)
            if said is None or "hello" not in said:
                raise Lost(f"a keeper did not start within {HELLO_SECONDS:g} s")
            self.pid = int(said["hello"])
            # What its control group limits: of the others, each program has limits of its own.
            self.bounds: dict[str, bool] = said["bounds"]
            self.outlives_process = in_service
        except Lost:
            theirs.close()
            self.destroy()
            raise
        except OSError as error:
            # There is no systemd-run, or no memory for another process; or it has ended.
            theirs.close()
            reason = self.reason() or f": {error.strerror or error}"
            self.destroy()
            raise Lost(f"a keeper did not start{reason}") from None
        except BaseException:
            theirs.close()
            self.destroy()
            raise

    def memory(self) -> str:
        """How much its programs may have, for people."""
        found = dict(self.limits.properties)
        most = found.get("MemoryMax", "")
        own = f"{int(most) // 1024**2} MiB" if most.isdigit() else "this host has"
        within = found.get("Slice", "system.slice")
        return own if within == "system.slice" else f"{own}, or than {within} allows"

    def serves(self, limits: Restrictions, in_service: bool, timeout: float) -> bool:
        """Whether it can run such a program now."""
        return (
            not self.busy
            and self.owner == os.getpid()
            and self.limits == limits
            and (self.in_service or not in_service)
            and self.until >= time.monotonic() + timeout + MARGIN_SECONDS
            # An idle one says nothing: that would be its end.
            and not self._has_ended()
            and not select.select([self.control], [], [], 0.0)[0]
        )

    def say(self, value: dict[str, Any], files: Sequence[int]) -> None:
        """Raises OSError."""
        text = json.dumps(value).encode("ascii")
        about = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        head = LENGTH.pack(len(text))
        sent = self.control.sendmsg([head], about)
        self.control.sendall(head[sent:] + text)

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """What it says next; None if nothing within this time. Raises Lost."""
        end = time.monotonic() + seconds
        while True:
            if len(self.unread) >= LENGTH.size:
                length = LENGTH.unpack(bytes(self.unread[: LENGTH.size]))[0]
                whole = LENGTH.size + length
                if len(self.unread) >= whole:
                    text = bytes(self.unread[LENGTH.size : whole])
                    del self.unread[:whole]
                    found: dict[str, Any] = json.loads(text)
                    return found
            # Not a quarter of a second longer if it ends without closing the socket.
            left = max(end - time.monotonic(), 0.0)
            if select.select([self.control], [], [], min(left, 0.25))[0]:
                try:
                    piece = self.control.recv(65536)
                except ConnectionError:
                    # Thus the kernel tells it from an end after all was read.
                    raise Unheard(f"its keeper ended{self.reason()}") from None
                if not piece or len(self.unread) > MESSAGE_LIMIT_BYTES:
                    raise Lost(f"its keeper ended{self.reason()}")
                self.unread += piece
            elif self._has_ended():
                raise Lost(f"its keeper ended{self.reason()}")
            elif time.monotonic() >= end:
                return None

    def _has_ended(self) -> bool:
        """By its process. A service tells it only by closing the socket."""
        return not self.outlives_process and self.process.poll() is not None

    def reason(self) -> str:
        """The last line that it, or systemd-run, has written."""
        said = b""
        process = getattr(self, "process", None)
        stderr = process.stderr if process is not None else None
        if stderr is not None and select.select([stderr], [], [], 1.0)[0]:
            said = os.read(stderr.fileno(), 65536)
        lines = [each for each in said.decode("utf-8", "replace").splitlines() if each.strip()]
        return f": {lines[-1]}" if lines else ""

    def destroy(self) -> None:
        """Ends it, and with it all its programs."""
        if self.owner != os.getpid() or self.is_destroyed:
            return
        self.busy = True
        process = getattr(self, "process", None)
        is_alone = self.outlives_process and process is not None and process.poll() is not None
        self.control.close()
        if is_alone:
            # Nobody waits for its end.
            self._stop()
        if process is not None:
            for step, seconds in (
                (lambda: None, GRACE_SECONDS),
                (self._stop, GRACE_SECONDS),
                (process.kill, KILLED_SECONDS),
            ):
                with suppress(subprocess.TimeoutExpired, ProcessLookupError):
                    step()
                    process.wait(seconds)
                    break
            if process.stderr is not None:
                process.stderr.close()
        self.is_destroyed = True

    def __del__(self) -> None:
        self.destroy()

    def _stop(self) -> None:
        if self.service is not None:
            # While the agent itself ends, Python may start nothing: then the keeper ends by itself.
            with suppress(RuntimeError):
                services.stop(self.service)


class Keepers:
    """Those of one agent. `note` tells people; `limits` are those for the app that it works on."""

    def __init__(self, limits: Callable[[], Restrictions], note: Callable[[str], None]) -> None:
        self.limits = limits
        self.note = note
        self.known: list[Keeper] = []
        # Why systemd starts no service for us, once it has not.
        self.refusal = ""

    def start(
        self,
        argv: Sequence[str],
        whom: Identity,
        env: Mapping[str, str],
        cwd: str,
        stdin: Any,
        asked: Restrictions | None,
        timeout: float,
        in_service: bool,
        network_of_unit: bool = True,
    ) -> Kept:
        """Starts a program with pipes for its output. Raises OSError, OperationError.

        `asked` are restrictions of its own: those that need no systemd. Without `network_of_unit`,
        those of the unit on the network do not apply to it.
        """
        limits = self.limits() if in_service else services.NONE
        if not network_of_unit:
            limits = box.without_network(limits)
        while True:
            keeper, is_new = self._keeper(limits, in_service, timeout)
            request = {
                "argv": list(argv),
                "env": dict(env),
                "cwd": cwd,
                "uid": whom.uid,
                "gid": whom.gid,
                "groups": list(whom.groups),
                "umask": asked.umask if asked else 0o022,
                "rlimits": _rlimits(asked, keeper.bounds),
                "seconds": timeout + MARGIN_SECONDS / 2,
            }
            try:
                return self._start(keeper, request, stdin, timeout)
            except Lost as error:
                keeper.destroy()
                self.known.remove(keeper)
                if is_new and keeper.in_service:
                    self._do_without(str(error))
                what = f"{argv[0]} as {whom.name}"
                if not isinstance(error, Unheard):
                    # Not twice.
                    message = f"could not see whether {what} was started: {error}"
                    raise OperationError(message, ran=argv) from None
                if is_new and not keeper.in_service:
                    raise OperationError(f"could not start {what}: {error}", ran=argv) from None

    @contextmanager
    def held(self, in_service: bool) -> Iterator[int | None]:
        """The pid of a keeper whose control group a process of ours can join; None without one.

        It ends with the block, and nothing else ends it: who works there waits for the runner,
        which may take any time.
        """
        if not in_service or self.refusal:
            yield None
            return
        try:
            keeper = Keeper(self.limits(), True, None)
        except Lost as error:
            self._do_without(str(error))
            yield None
            return
        try:
            yield keeper.pid
        finally:
            keeper.destroy()

    def _start(self, keeper: Keeper, request: dict[str, Any], stdin: Any, timeout: float) -> Kept:
        pairs: list[tuple[int, int | None]] = []
        into: int | None = None
        if stdin == subprocess.PIPE:
            theirs, into = os.pipe()
        elif stdin in (None, subprocess.DEVNULL):
            theirs = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        else:
            theirs = os.dup(stdin.fileno())
        pairs.append((theirs, into))
        for _ in range(2):
            ours, theirs = os.pipe()
            pairs.append((theirs, ours))
        keeper.busy = True
        try:
            try:
                keeper.say(request, [each for each, _ in pairs])
            except ConnectionError:
                raise Unheard(f"its keeper ended{keeper.reason()}") from None
            except OSError as error:
                raise Unheard(f"its keeper does not listen: {error}") from None
            said = keeper.hear(timeout + MARGIN_SECONDS)
            if said is None:
                raise Lost("its keeper did not start it in time")
            if "failed" in said:
                keeper.busy = False
                name = request["cwd"] if said["where"] == "folder" else request["argv"][0]
                number = int(said["failed"])
                raise OSError(number, said.get("why") or os.strerror(number), name)
        except BaseException as error:
            for _, each in pairs:
                if each is not None:
                    os.close(each)
            if not isinstance(error, OSError):
                # Interrupted: it may have started the program, which nobody follows then.
                keeper.destroy()
            raise
        finally:
            for each, _ in pairs:
                os.close(each)
        return Kept(keeper, [ours for _, ours in pairs])

    def _keeper(
        self, limits: Restrictions, in_service: bool, timeout: float
    ) -> tuple[Keeper, bool]:
        if in_service and self.refusal:
            limits, in_service = services.NONE, False
        for keeper in self.known:
            if keeper.serves(limits, in_service, timeout):
                return keeper, False
        seconds = max(timeout, USUAL_SECONDS) + 2 * MARGIN_SECONDS
        try:
            keeper = Keeper(limits, in_service, seconds)
        except Lost as error:
            if not in_service:
                raise OperationError(f"programs of the app cannot be started: {error}") from None
            self._do_without(str(error))
            return self._keeper(services.NONE, False, timeout)
        if not in_service:
            self._do_without("systemd is not there to start a service for them")
        self.known.append(keeper)
        return keeper, True

    def _do_without(self, why: str) -> None:
        """From now on, without services: an undo must not fail for want of one, nor wait again."""
        if not self.refusal:
            self.refusal = why
            self.note(
                f"programs on the app's files run without a control group of their own: {why}"
            )


def _rlimits(asked: Restrictions | None, bounds: Mapping[str, bool]) -> dict[str, tuple[int, int]]:
    own = {"CORE": (0, 0)}
    own.update({} if bounds["memory"] else box.memory_limit())
    own.update({} if bounds["tasks"] else box.process_limit())
    for name, pair in (asked.rlimits if asked else {}).items():
        soft, hard = (-1 if one == "infinity" else int(one) for one in pair)
        own[name] = (soft, hard)
    return own


def _text() -> bytes:
    return own_program.source(PROGRAM).encode("utf-8")
