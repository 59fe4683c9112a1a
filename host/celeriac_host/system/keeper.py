"""Starts programs as another user, one after the other, and ends all that each of them leaves.

Runs as root in a process of its own, normally in a transient service of systemd, and imports
nothing of ours (`system/keepers.py` sends it this text). The kernel gives it whatever loses its
parent, so it knows when nothing is left of a program, whichever session that is in. It ends, and
all its programs with it, as soon as the agent is gone: its socket is closed then.

Messages are JSON, after their length in four bytes; a request to run comes with three open files.
"""

from __future__ import annotations

import array
import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any, Mapping, Sequence

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
LENGTH = struct.Struct("!I")
STEP_SECONDS = 0.05
# For Git to remove its locks.
PARTING_SECONDS = 5.0
CODE_OF_CLEARING = 70
# Where the memory of the host runs out, the kernel ends programs with this before the app.
OOM_SCORE = 500
GROUPS = "/sys/fs/cgroup"


class Gone(Exception):
    """The agent has ended."""


class Keeper:
    """One program at a time."""

    def __init__(self, control: socket.socket, clearing_seconds: float) -> None:
        self.control = control
        # To end what ignores nothing but the time that the kernel needs.
        self.clearing_seconds = clearing_seconds
        # Of the program.
        self.uid = 0
        self.woken, wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        self.say({"hello": os.getpid(), "bounds": _bounds()})
        while True:
            asked, files = self.hear()
            # An order to end a program that has ended in the meantime has no files.
            if files:
                self.run(asked, files)

    def run(self, asked: dict[str, Any], files: Sequence[int]) -> None:
        self.uid = asked["uid"]
        ooms = _ooms()
        told, tell = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                _be(asked, files, tell)
        except OSError as error:
            os.close(told)
            self.say({"failed": error.errno, "where": "program"})
            return
        finally:
            os.close(tell)
            for each in files:
                os.close(each)
        try:
            ended = self.started(pid, told)
            if ended is None:
                self.say({"started": pid})
                code = self.followed(pid, time.monotonic() + float(asked["seconds"]))
        except (Gone, ConnectionError):
            self.part(pid)
            raise
        finally:
            os.close(told)
        left, is_clear = self.clear()
        self.say(ended or {"code": code, "left": left, "ooms": _ooms() - ooms})
        if not is_clear:
            # In a service, systemd ends the whole control group.
            os._exit(CODE_OF_CLEARING)

    def started(self, pid: int, told: int) -> dict[str, Any] | None:
        """Waits until the program is executed; or why it is not."""
        while True:
            watched: list[Any] = [told, self.control]
            ready, _, _ = select.select(watched, [], [])
            if self.control in ready:
                self.hear()
                os.kill(pid, signal.SIGKILL)
            if told in ready:
                said = os.read(told, 4096)
                found: dict[str, Any] | None = json.loads(said) if said else None
                return found

    def followed(self, pid: int, deadline: float) -> int:
        """Its exit code; negative: the signal that ended it."""
        while True:
            code = _reaped().get(pid)
            if code is not None:
                return code
            left = deadline - time.monotonic()
            if left <= 0:
                return -signal.SIGKILL
            watched: list[Any] = [self.woken, self.control]
            ready, _, _ = select.select(watched, [], [], left)
            if self.woken in ready:
                self.rest()
            if self.control in ready:
                asked, _ = self.hear()
                deadline = min(deadline, time.monotonic() + float(asked["end"]))
                _signal_group(pid, signal.SIGTERM)

    def part(self, pid: int) -> None:
        """The agent is gone. What is killed in the middle may leave locks behind."""
        _signal_group(pid, signal.SIGTERM)
        end = time.monotonic() + PARTING_SECONDS
        while not {pid, None} & set(_reaped()) and time.monotonic() < end:
            select.select([self.woken], [], [], STEP_SECONDS)
            self.rest()

    def clear(self) -> tuple[int, bool]:
        """Ends all that is left. How many processes that were, and whether they have ended."""
        stopped: set[tuple[int, int]] = set()
        end = time.monotonic() + self.clearing_seconds
        while None not in _reaped():
            if time.monotonic() > end:
                # They hang in the kernel, fork faster, or we may not see them in /proc.
                return len(stopped), False
            found = _descendants()
            new = found - stopped
            # Until nobody forks any more: each that is stopped counts for the limit of processes.
            self.signal(new or found, signal.SIGSTOP if new else signal.SIGKILL)
            stopped |= new
            if not new:
                select.select([self.woken], [], [], STEP_SECONDS)
                self.rest()
        return len(stopped), True

    def signal(self, processes: set[tuple[int, int]], number: int) -> None:
        """Not to a process that has the number of another one by now.

        As the user, but that does not protect root's: kill(2) also takes our real user id, and with
        another one of those, the user could signal us.
        """
        os.seteuid(self.uid)
        try:
            for pid, start in processes:
                with suppress(ProcessLookupError, PermissionError):
                    _send(pid, start, number)
        finally:
            os.seteuid(0)

    def rest(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self.woken, 4096):
                pass

    def say(self, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode("ascii")
        self.control.sendall(LENGTH.pack(len(text)) + text)

    def hear(self) -> tuple[dict[str, Any], list[int]]:
        handles = array.array("i")
        room = socket.CMSG_SPACE(3 * handles.itemsize)
        head, about, _, _ = self.control.recvmsg(LENGTH.size, room)
        for level, kind, content in about:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                handles.frombytes(content[: len(content) - len(content) % handles.itemsize])
        for each in handles:
            os.set_inheritable(each, False)
        length = LENGTH.unpack(head + self.whole(LENGTH.size - len(head)))[0]
        return json.loads(self.whole(length)), list(handles)

    def whole(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            piece = self.control.recv(size - len(found))
            if not piece:
                raise Gone
            found += piece
        return found


def _be(asked: Mapping[str, Any], files: Sequence[int], tell: int) -> None:
    """In the child. Never returns."""
    where = "program"
    keeper = os.getppid()
    try:
        # The user may not be allowed to read what Python would import for that.
        places = _places(asked["argv"][0], asked["env"])
        os.setsid()
        # Not over one that is still needed.
        for number, each in enumerate([os.dup(each) for each in files]):
            os.dup2(each, number)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # What Python ignores, and what whoever started the agent has: `nohup`, a shell's `&`.
        for number in signal.valid_signals():
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _rate()
        for name, (soft, hard) in asked["rlimits"].items():
            _limit(getattr(resource, "RLIMIT_" + name), soft, hard)
        os.umask(asked["umask"])
        os.setgroups(asked["groups"])
        os.setgid(asked["gid"])
        os.setuid(asked["uid"])
        # Outside a service nobody else ends it if the keeper is killed.
        _control(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != keeper:
            os._exit(127)
        where = "folder"
        # As the user: root would pass folders that the user may not enter.
        os.chdir(asked["cwd"])
        where = "program"
        _execute(places, asked["argv"], asked["env"])
    except OSError as error:
        os.write(tell, json.dumps({"failed": error.errno, "where": where}).encode("ascii"))
    except BaseException as error:
        said = {"failed": errno.EINVAL, "where": where, "why": str(error)[:500]}
        os.write(tell, json.dumps(said).encode("ascii"))
    os._exit(127)


def _rate() -> None:
    """Before root's capabilities are given up: the program cannot take it back."""
    # Some containers do not allow it.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(OOM_SCORE))


def _limit(which: int, soft: int, hard: int) -> None:
    """Sets a limit; as much of it as we may have, where that is less. Raises OSError."""
    most = resource.getrlimit(which)[1]
    for pair in ((soft, hard), (soft, most)):
        with suppress(OSError, ValueError):
            resource.setrlimit(which, pair)
            return
    resource.setrlimit(which, (most, most))


def _places(program: str, env: Mapping[str, str]) -> list[str]:
    return [program] if "/" in program else [f"{each}/{program}" for each in os.get_exec_path(env)]


def _execute(places: Sequence[str], argv: list[str], env: Mapping[str, str]) -> None:
    """Raises OSError: why the first that exists could not be executed."""
    failure: OSError = FileNotFoundError(errno.ENOENT, "not found")
    for each in places:
        try:
            os.execve(each, argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if isinstance(failure, FileNotFoundError):
                failure = error
    raise failure


def _reaped() -> dict[int | None, int]:
    """Pid → exit code of children that have ended; with None in it, there are no others."""
    found: dict[int | None, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            found[None] = 0
            return found
        if not pid:
            return found
        by_signal = os.WIFSIGNALED(status)
        found[pid] = -os.WTERMSIG(status) if by_signal else os.WEXITSTATUS(status)


def _descendants() -> set[tuple[int, int]]:
    """Number and start of all that come from us, whichever parent they have now."""
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent, start = _origin(name)
            children.setdefault(parent, []).append((int(name), start))
    found: set[tuple[int, int]] = set()
    left = [os.getpid()]
    starts = dict(process for group in children.values() for process in group)
    while left:
        parent = left.pop()
        each = set(children.pop(parent, ()))
        # Another process may have got its number meanwhile, and children that are not ours.
        if _origin(str(parent))[1] != starts.get(parent):
            continue
        found |= each
        left.extend(pid for pid, _ in each)
    return found


def _origin(pid: str) -> tuple[int, int]:
    """Its parent, and when it was started; zeros if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        # Also of a zombie: other threads of it may live on.
        return int(words[1]), int(words[19])
    except (OSError, ValueError, IndexError):
        return 0, 0


def _send(pid: int, start: int, number: int) -> None:
    """Raises ProcessLookupError, PermissionError."""
    handle = None
    if sys.version_info >= (3, 9):
        # Before Linux 5.3 there are none.
        with suppress(OSError):
            handle = os.pidfd_open(pid)  # novm: guarded above
    try:
        if _origin(str(pid))[1] != start:
            return
        if handle is not None and sys.version_info >= (3, 9):
            signal.pidfd_send_signal(handle, number)  # novm: as is pidfd_open
        else:
            os.kill(pid, number)
    finally:
        if handle is not None:
            os.close(handle)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _ooms() -> int:
    """How many processes of our control group the kernel ended for want of memory."""
    for name in ("memory.events", "memory.oom_control"):
        for line in _of_group("memory", name).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _bounds() -> dict[str, bool]:
    """Whether the control group has limits: not in many containers, whatever systemd shows."""
    memory = _of_group("memory", "memory.max") or _of_group("memory", "memory.limit_in_bytes")
    tasks = _of_group("pids", "pids.max")
    # As `unit_values.NO_LIMIT_BYTES`, which this program cannot import.
    return {"memory": memory.isdigit() and int(memory) < 1 << 62, "tasks": tasks.isdigit()}


def _of_group(controller: str, name: str) -> str:
    """A file of our control group, of whichever version; empty if it has none."""
    with suppress(OSError, ValueError), open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers or controller in controllers.split(","):
                for top in (GROUPS, f"{GROUPS}/{controllers or 'unified'}"):
                    with suppress(OSError), open(f"{top}{path}/{name}", encoding="ascii") as found:
                        return found.read(4096).strip()
    return ""


def _prepare() -> None:
    """Orphans come to us, and nobody gains privileges. Raises OSError."""
    for option in (PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS):
        _control(option, 1)


def _control(option: int, value: int) -> None:
    """prctl(2). Raises OSError."""
    import ctypes

    none = ctypes.c_ulong(0)
    control = ctypes.CDLL(None, use_errno=True).prctl
    if control(option, ctypes.c_ulong(value), none, none, none) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    _prepare()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    keeper = Keeper(socket.socket(fileno=0), float(sys.argv[1]))
    try:
        keeper.serve()
    except (Gone, ConnectionError):
        if not keeper.clear()[1]:
            os._exit(CODE_OF_CLEARING)


if __name__ == "__main__":
    main()
