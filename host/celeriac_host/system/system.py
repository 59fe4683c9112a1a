"""The host, as operations and facts use it: run commands, wait, report progress."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import (
    Any,
    BinaryIO,
    Callable,
    Iterator,
    Mapping,
    NamedTuple,
    Protocol,
    Sequence,
)

from celeriac_host.system import box, bus, child, services
from celeriac_host.system.errors import OperationError, RunnerGone
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.keepers import Keepers, Kept
from celeriac_host.system.services import Restrictions

STATE_FOLDER = "/var/lib/celeriac"
SLICE_SECONDS = 0.2
STDERR_LIMIT_BYTES = 64 * 1024


class Completed(NamedTuple):
    """How a command ended; `code` is negative if a signal ended it."""

    argv: Sequence[str]
    code: int
    out: str
    err: str
    truncated: bool

    def lines(self, last: int = 20) -> list[str]:
        """The last lines of stderr, or of stdout if stderr is empty."""
        text = self.err if self.err.strip() else self.out
        return [line for line in text.splitlines() if line.strip()][-last:]


class Tick(NamedTuple):
    """Called at an interval while a command runs, e.g. to report what it waits for."""

    seconds: float
    call: Callable[[], None]


class Waiting(Protocol):
    """A process that waits for us."""

    def end(self) -> None:
        """Ends everything that it started."""


class Moment:
    """What the facts of one look share."""

    def __init__(self) -> None:
        # The properties of each unit, as all of them see it.
        self.units: dict[str, dict[str, str]] = {}
        self.systemd = bus.Shared(bus.SOCKET)


class System:
    """One instance per agent. `state` is the folder of transactions and backups."""

    def __init__(self, state: str = STATE_FOLDER) -> None:
        self.state = state
        # A plain flag: a signal handler or the reader thread sets it; an Event could deadlock.
        self.runner_gone = False
        self.note: Callable[[str], None] = lambda message: None
        # Where the probes of a gate stand.
        self.probes: Callable[[dict[str, object]], None] = lambda told: None
        # Unit → the invocation whose consumers this process cancelled.
        self.cancelled: dict[str, str] = {}
        self._shields = 0
        # What this process works on: its limits are those of other programs on the app's files.
        self.unit: str | None = None
        self.keepers = Keepers(self._box, lambda message: self.note(message))
        self._boxes: dict[str | None, Restrictions] = {}
        # During a look.
        self.moment: Moment | None = None
        # A process of an app that waits for another question.
        self.app: Waiting | None = None

    def end_app(self) -> None:
        """Ends the process of an app that waits for another question, if there is one."""
        waiting, self.app = self.app, None
        if waiting is not None:
            waiting.end()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Inside, all facts see the host at one moment, as far as they can."""
        self.moment = moment = Moment()
        try:
            yield
        finally:
            self.moment = None
            moment.systemd.close()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Inside, a disconnected runner interrupts nothing."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def heed(self) -> None:
        """Raises RunnerGone if the runner is gone, unless shielded; long loops call it."""
        if self.runner_gone and not self._shields:
            raise RunnerGone

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self.heed()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, SLICE_SECONDS))

    def can_restrict(self, asked: Restrictions) -> bool:
        """Whether a transient service is there for a program of an app.

        Raises OperationError if there is none, and the restrictions need it.
        """
        if self.has_services():
            return True
        if asked.needs_systemd:
            raise OperationError(
                "a program of the app was not started: the unit restricts it by "
                + ", ".join(dict.fromkeys(name for name, _ in asked.properties[:3]))
                + "…, and systemd cannot be asked to do so (as root, over its bus)"
            )
        return False

    def has_services(self) -> bool:
        """Whether systemd can start programs for us."""
        return services.are_there()

    def systemd(self, calls: Sequence[bus.Call]) -> list[list[Any] | None] | None:
        """The values of each answer (`Bus.ask`); None: systemctl has to be asked."""
        if not bus.is_there():
            return None
        try:
            if self.moment is not None:
                return self.moment.systemd.ask(calls)
            with bus.Bus(bus.SOCKET) as opened:
                return opened.ask(calls)
        except bus.Unavailable:
            return None

    def _box(self) -> Restrictions:
        """For programs on the files of the app that this process works on."""
        if self.unit not in self._boxes:
            seen: dict[str, str] = {}
            if self.unit:
                argv = ["systemctl", "show", "--no-pager", "-p", ",".join(box.SHOWN), "--"]
                # Without an answer, the defaults: an undo must not fail for want of one.
                with suppress(OperationError):
                    done = self.run([*argv, self.unit], timeout=30, check=False)
                    for line in done.out.splitlines():
                        name, _, value = line.partition("=")
                        seen[name] = f"{seen[name]}\n{value}" if name in seen else value
            self._boxes[self.unit] = box.box(seen)
        return self._boxes[self.unit]

    def starts_in_service(self, asked: Restrictions | None) -> bool:
        """As `can_restrict`; without restrictions of a unit, whether there can be a keeper."""
        return self.has_services() if asked is None else self.can_restrict(asked)

    def run(
        self,
        argv: Sequence[str],
        timeout: float = 60.0,
        input: bytes | None = None,
        user: str | Identity | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: str | None = None,
        check: bool | Sequence[int] = True,
        limit_bytes: int = 4 * 1024 * 1024,
        tick: Tick | None = None,
        stdin: BinaryIO | None = None,
        asked: Restrictions | None = None,
        network_of_unit: bool = True,
    ) -> Completed:
        """Runs a command in its own session and waits for it.

        `stdin` is an open file for it to read, even one that its user may not open. `env` as in
        `child.start`. `asked` are the restrictions of a unit, `network_of_unit` as in
        `Keepers.start`. `check` lists the accepted exit codes: True means `(0,)`, False any. Keeps
        the first `limit_bytes` of stdout and the last 64 KiB of stderr. Ends all that it has
        started after the timeout or if the runner is gone.
        Raises OperationError, RunnerGone.
        """
        whom = identity(user) if isinstance(user, str) else user
        source = stdin or (subprocess.DEVNULL if input is None else subprocess.PIPE)
        try:
            process = child.start(
                self.keepers,
                argv,
                whom,
                env or {},
                cwd,
                source,
                asked,
                self.starts_in_service(asked),
                timeout,
                network_of_unit,
            )
        except FileNotFoundError as error:
            missing = os.fsdecode(error.filename or argv[0])
            if check is False and missing == argv[0]:
                return Completed(argv, 127, "", f"{missing}: not found", False)
            raise OperationError(f"{missing} not found", ran=argv) from None
        except (OSError, subprocess.SubprocessError) as error:
            raise OperationError(f"could not start {argv[0]}: {error}", ran=argv) from None
        output = _Output(limit_bytes)
        try:
            in_time = self._follow(process, input, timeout, output, tick)
        finally:
            child.end(process)
        self.tell_left(process, argv)
        done = output.completed(argv, child.code_of(process))
        refused = child.refusal(process, argv, done.err)
        if refused is not None and in_time:
            raise refused
        if not in_time:
            raise OperationError(
                f"{argv[0]} did not finish within {timeout:g} s",
                ran=argv,
                evidence=done.lines(),
            )
        good = (0,) if check is True else check
        if good is not False and done.code not in good:
            lines = done.lines()
            raise OperationError(
                f"{argv[0]} failed: {lines[-1] if lines else _ending(done.code)}",
                ran=argv,
                exit_code=done.code if done.code >= 0 else None,
                evidence=lines,
            )
        return done

    def tell_left(self, process: Any, argv: Sequence[str]) -> None:
        """Says so if processes of a program of another user had to be ended."""
        if not isinstance(process, Kept):
            return
        if process.left:
            self.note(f"{argv[0]}: ended {_processes(process.left)} that it had left running")
        if process.ooms:
            self.note(
                f"{argv[0]}: the kernel ended {_processes(process.ooms)} that needed more memory "
                f"than {process.keeper.memory()}"
            )

    def _follow(
        self,
        process: Any,
        payload: bytes | None,
        timeout: float,
        output: _Output,
        tick: Tick | None,
    ) -> bool:
        """Moves bytes until the process ends; False after a timeout."""
        now = time.monotonic()
        deadline = now + timeout
        next_tick = now + tick.seconds if tick else 0.0
        ended: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, output.take_out)
            selector.register(process.stderr, selectors.EVENT_READ, output.take_err)
            if payload is not None:
                feed = child.Feed(process.stdin, payload)
                selector.register(feed.pipe, selectors.EVENT_WRITE, feed.push)
            while True:
                self.heed()
                now = time.monotonic()
                if ended is None and process.poll() is not None:
                    ended = now
                # A background process that it left may hold the pipes open: do not wait for it.
                if ended is not None and (not selector.get_map() or now - ended > 1):
                    return True
                if ended is None and now >= deadline:
                    return False
                if tick and ended is None and now >= next_tick:
                    next_tick = now + tick.seconds
                    tick.call()
                if not selector.get_map():
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(0.02)
                    continue
                for key, _ in selector.select(min(SLICE_SECONDS, max(deadline - now, 0.01))):
                    if not key.data(key.fileobj):
                        selector.unregister(key.fileobj)
                        if key.events == selectors.EVENT_WRITE:
                            process.stdin.close()


class _Output:
    """Collects the output of a command, up to a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.out = bytearray()
        self.err = bytearray()
        self.truncated = False

    def take_out(self, pipe: Any) -> bool:
        piece = os.read(pipe.fileno(), 65536)
        room = self.limit_bytes - len(self.out)
        self.truncated = self.truncated or len(piece) > room
        self.out += piece[: max(room, 0)]
        return bool(piece)

    def take_err(self, pipe: Any) -> bool:
        piece = os.read(pipe.fileno(), 65536)
        self.err += piece
        del self.err[:-STDERR_LIMIT_BYTES]
        return bool(piece)

    def completed(self, argv: Sequence[str], code: int) -> Completed:
        out, err = (bytes(part).decode("utf-8", "replace") for part in (self.out, self.err))
        return Completed(tuple(argv), code, out, err, self.truncated)


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"


def _processes(count: int) -> str:
    return "a process" if count == 1 else f"{count} processes"
