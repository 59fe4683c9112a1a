"""Whatever opens a SQLite file of the app does so in a child that is the app's user, never as root.

Root would leave -wal and -shm files behind that the app cannot write; and a path in a folder of the
app may lead anywhere. The child can open only what its user may. Parent and child exchange JSON
lines. What the child says is data of the app: bounded, and never a path that root opens.

The child's user can stop or end it, so the parent notices that, and gives it a limited time.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from celeriac_host.store.copies import TooLarge
from celeriac_host.store.sqlite_locks import explain_lock, ids_of, read_ids
from celeriac_host.system import box, owned
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import SLICE_SECONDS, System

MIB = 1024 * 1024
# A child is killed that works longer: it hangs in the kernel, on a damaged file, or on purpose.
LONGEST_SECONDS = 600.0
LINE_LIMIT_BYTES = 64 * MIB
MESSAGE_LIMIT = 2000
# Of its address space: a small file can ask for any amount of memory.
MEMORY_LIMIT_BYTES = 2048 * MIB
# The parent waits so long for the child to take what it is sent.
SEND_SECONDS = 30.0
PIECE_BYTES = MIB
# prctl(2)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38


class NoAnswer(OperationError):
    """The child ended without an answer: whether it finished its work is not known."""


class Locked(Exception):
    """Another process has locked the database; raised in the child, explained by the parent."""


class Absent(OperationError):
    """There is no such file."""


class Work(NamedTuple):
    """What a child does, and what it may use for that."""

    path: str
    run: Callable[[Channel], Any]
    longest_seconds: float = LONGEST_SECONDS
    # Open files that stay open in the child.
    files: Sequence[int] = ()
    # Whether the path is a database, which must be the user's.
    own: bool = True


class Channel:
    """One end of the socket between parent and child: JSON values, one per line, and bytes."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.unread = bytearray()

    def send(self, value: Any) -> None:
        self.end.sendall(json.dumps(value).encode("ascii") + b"\n")

    def send_file(self, handle: int, size: int) -> None:
        """In the child: `size` bytes from the beginning of an open file."""
        at = 0
        while at < size:
            piece = os.pread(handle, min(PIECE_BYTES, size - at), at)
            if not piece:
                raise OperationError("the copy became shorter")
            self.end.sendall(piece)
            at += len(piece)

    def receive(self) -> Any:
        """None when the other side has ended."""
        while True:
            line, newline, rest = self.unread.partition(b"\n")
            if newline:
                self.unread = rest
                return json.loads(line)
            piece = self.more()
            if not piece:
                return None
            self.unread += piece

    def more(self) -> bytes:
        return self.end.recv(PIECE_BYTES)


class Conversation(Channel):
    """The parent's side: it waits no longer than it has to, and believes nothing."""

    def __init__(self, end: socket.socket, child: int, work: Work, host: System) -> None:
        super().__init__(end)
        self.child = child
        self.path = work.path
        self.host = host
        self.longest_seconds = work.longest_seconds
        # For the child: the runner, to which its bytes are sent, may take longer.
        self.waited_seconds = 0.0
        # How the child ended, once it has.
        self.ended: int | None = None
        end.settimeout(SEND_SECONDS)

    def send(self, value: Any) -> None:
        with suppress(OSError):
            # Otherwise it has ended, or does not read: the next receive() says so.
            super().send(value)

    def receive(self) -> Any:
        """The next value from the child. Raises OperationError when the child failed."""
        try:
            said = super().receive()
        except (ValueError, RecursionError):
            raise NoAnswer(f"{self._who()} sent invalid data") from None
        if said is None:
            raise NoAnswer(f"{self._who()} exited without an answer")
        if not isinstance(said, dict):
            raise NoAnswer(f"{self._who()} sent invalid data")
        ids = read_ids(said.get("files"))
        for name, make in (
            ("locked", lambda text: OperationError(explain_lock(self.path, text, ids))),
            ("tooLarge", lambda text: TooLarge(f"{self.path}: {text}")),
            ("absent", Absent),
            ("refused", OperationError),
            ("error", lambda text: OperationError(f"{self.path}: {text}", evidence=_lines(said))),
        ):
            if name in said:
                raise make(str(said[name])[:MESSAGE_LIMIT])
        return said.get("value")

    def receive_dict(self) -> dict[str, Any]:
        """The same, for an answer that is an object."""
        found = self.receive()
        if not isinstance(found, dict):
            raise NoAnswer(f"{self._who()} sent invalid data")
        return found

    def pieces(self, size: int) -> Iterator[bytes]:
        """Exactly so many bytes, as the child sends them."""
        while size > 0:
            if not self.unread:
                self.unread += self.more()
            if not self.unread:
                raise NoAnswer(f"{self._who()} exited before the copy was complete")
            piece = bytes(self.unread[:size])
            del self.unread[: len(piece)]
            size -= len(piece)
            yield piece

    def more(self) -> bytes:
        """What the child sends next; empty when it has ended."""
        while True:
            self.host.heed()
            if self.waited_seconds > self.longest_seconds:
                self.kill()
                raise NoAnswer(f"{self._who()} took more than {self.longest_seconds:g} s")
            if len(self.unread) > LINE_LIMIT_BYTES:
                self.kill()
                raise NoAnswer(f"{self._who()} sent more than {LINE_LIMIT_BYTES} bytes at once")
            begun = time.monotonic()
            ready = select.select([self.end], [], [], SLICE_SECONDS)[0]
            self.waited_seconds += time.monotonic() - begun
            if ready:
                with suppress(ConnectionError):
                    return super().more()
                return b""
            self._look_at_child()

    def _look_at_child(self) -> None:
        """Its user may stop it for ever: that is taken for the end."""
        if self.ended is not None:
            return
        pid, status = os.waitpid(self.child, os.WNOHANG | os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            self.kill()
            name = signal.Signals(os.WSTOPSIG(status)).name
            raise NoAnswer(f"{self._who()} was stopped by a signal ({name}), and was ended")
        if pid:
            self.ended = status

    def kill(self) -> None:
        """Also one that is stopped; waits for it, but not for ever."""
        if self.ended is not None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.child, signal.SIGKILL)
        self._wait(10.0)

    def close(self) -> None:
        """Waits a moment for the child to exit, then kills it."""
        self.end.close()
        self._wait(1.0)
        self.kill()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.ended is None and time.monotonic() < end:
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                self.ended = status
                return
            time.sleep(0.005)

    def _who(self) -> str:
        return f"the process that worked on {self.path}"


def _lines(said: dict[str, Any]) -> list[str]:
    lines = said.get("evidence")
    return [str(line)[:MESSAGE_LIMIT] for line in lines[:50]] if isinstance(lines, list) else []


@contextmanager
def working(host: System, whom: AppUser, work: Work) -> Iterator[Conversation]:
    """Does the work in a child that is the app's user; the child ends with the block."""
    if os.geteuid() not in (0, whom.identity.uid):
        raise OperationError(f"only root or {whom.name} can open {work.path}")
    with _in_child(host, whom, work) as child:
        yield child


@contextmanager
def _in_child(host: System, whom: AppUser | None, work: Work) -> Iterator[Conversation]:
    ours, theirs = socket.socketpair()
    is_other = os.geteuid() == 0 and whom is not None and whom.identity.uid != 0
    with host.keepers.held(is_other and host.has_services()) as group:
        child = os.fork()
        if child == 0:
            _be_child(whom, work, theirs, group)
        theirs.close()
        conversation = Conversation(ours, child, work, host)
        try:
            yield conversation
        finally:
            conversation.close()


def ask(path: str, host: System, whom: AppUser, work: Callable[[], Any]) -> Any:
    """Runs `work` as the app's user and returns its result."""
    with working(host, whom, Work(path, lambda channel: work())) as child:
        return child.receive()


def look(host: System, whom: AppUser, work: Work) -> Any:
    """The same for work that only reads; as the current user if that is not root."""
    with _in_child(host, whom if os.geteuid() == 0 else None, work) as child:
        return child.receive()


# --- in the child -------------------------------------------------------------------------------


def _be_child(whom: AppUser | None, work: Work, end: socket.socket, group: int | None) -> None:
    """Never returns: the handlers, threads and buffers of the agent stay with the parent."""
    channel = Channel(end)
    try:
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        os.setsid()
        _keep_only([end.fileno(), *work.files])
        _limit(work.longest_seconds)
        os.chdir("/")
        if group is not None:
            with suppress(OSError):
                box.join(group)
        if whom is not None:
            _become(whom, work.path if work.own else None)
            if work.own:
                _require_own(work.path, whom)
        channel.send({"value": work.run(channel)})
    except BaseException as error:
        with suppress(OSError):
            channel.send(_told(error, work.path))
    finally:
        os._exit(0)


def _told(error: BaseException, path: str) -> dict[str, Any]:
    if isinstance(error, Locked):
        return {"locked": str(error), "files": ids_of(path)}
    if isinstance(error, TooLarge):
        return {"tooLarge": error.message}
    if isinstance(error, Absent):
        return {"absent": error.message}
    if isinstance(error, Refused):
        return {"refused": error.message}
    if isinstance(error, OperationError):
        return {"error": error.message, "evidence": list(error.evidence)}
    if type(error).__module__ == "sqlite3":
        return {"error": plain(error)}
    if isinstance(error, MemoryError):
        return {"error": f"reading it needs more than {MEMORY_LIMIT_BYTES // MIB} MiB of memory"}
    return {"error": f"{type(error).__name__}: {error}"}


class Refused(OperationError):
    """The message names the path."""


def _keep_only(handles: list[int]) -> None:
    """Closes all else: the lock, the connection to the runner, the files of the transaction."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    kept = {0, 1, 2, sys.stdout.fileno(), *handles}
    for each in map(int, os.listdir("/proc/self/fd")):
        if each not in kept:
            with suppress(OSError):
                os.close(each)


def _limit(seconds: float) -> None:
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    # Rather this one than the app, where memory runs out.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _become(whom: AppUser, path: str | None) -> None:
    groups, gid, uid = list(whom.identity.groups), whom.identity.gid, whom.identity.uid
    os.setgroups(groups)
    # Files beside the database get its group, as far as the user is a member: looked up as the
    # user, who cannot send signals to this process yet.
    os.setegid(gid)
    os.seteuid(uid)
    with suppress(OSError, ValueError):
        group = gid if path is None else os.stat(path).st_gid
        gid = group if group in groups else gid
    os.seteuid(0)
    os.setgid(gid)
    os.setuid(uid)
    # The memory of the agent is not for the user, nor may this process become root again or outlive
    # the agent.
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        prctl, none = ctypes.CDLL(None).prctl, ctypes.c_ulong(0)
        prctl(PR_SET_DUMPABLE, none, none, none, none)
        prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none)
        prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), none, none, none)


def _require_own(path: str, whom: AppUser) -> None:
    """Raises OperationError unless it is a regular file of the app's user, or a link to one.

    What the path leads to may change at once: that is harmless, the user can open its own only.
    """
    try:
        real = os.path.realpath(path)
        about = os.stat(path)
    except FileNotFoundError:
        raise Absent(f"{path}: no such file") from None
    except PermissionError:
        raise Refused(
            f"{_shown(path, real)} cannot be opened by {whom.name}, as whom {whom.what} runs: "
            "it may not enter one of its folders"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Refused(f"cannot read {path!r}: {reason}") from None
    if not stat.S_ISREG(about.st_mode):
        raise Refused(f"{path} is not a regular file; expected a SQLite database")
    if about.st_uid != whom.identity.uid:
        shown = _shown(path, real)
        raise Refused(owned.not_yours(shown, about.st_uid, whom.name, whom.what))
    if whom.identity.uid == 0:
        _require_roots_way(real, whom)


def _shown(path: str, real: str) -> str:
    return path if real == os.path.normpath(path) else f"{path} (a link to {real})"


def _require_roots_way(real: str, whom: AppUser) -> None:
    """Root opens it by its path, so nobody else may be able to change where that leads."""
    folder = os.path.dirname(real)
    below = folder
    while True:
        about = os.stat(folder)
        sticky = folder != below and about.st_uid == 0 and about.st_mode & stat.S_ISVTX
        if not owned.only_root_writes(about) and not (sticky and os.lstat(below).st_uid == 0):
            raise Refused(
                f"{real} is in {folder}, which users other than root can change, but {whom.what} "
                "runs as root; make that folder root's alone, or name the user of the app with "
                "app-user"
            )
        if folder == "/":
            return
        below, folder = folder, os.path.dirname(folder)


def plain(error: BaseException) -> str:
    """An error of SQLite for people."""
    text = str(error)
    if "not a database" in text:
        return "this is not a SQLite database"
    if "unable to open" in text:
        return "cannot open it: read-only file system, or no permission for the app's user"
    if "malformed" in text:
        return f"the database is damaged ({text})"
    return text
