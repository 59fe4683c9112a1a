"""SQLite files of the app: opened by a child process that is their owner, never as root.

Root would leave -wal and -shm files behind that the app cannot write. So whatever opens a database
runs in a forked child that has become the file's owner; the two exchange JSON lines.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import socket
import sqlite3
import stat
import sys
import time
import urllib.parse
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, NamedTuple, TypeVar

from celeriac_host.store.copies import TooLarge
from celeriac_host.store.sqlite_locks import explain_lock, files_of
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import SLICE_SECONDS, System

Found = TypeVar("Found")

READ_BUSY_SECONDS = 10.0
# A child that takes longer hangs in the kernel or on a damaged file.
LONGEST_SECONDS = 900.0


class Owner(NamedTuple):
    uid: int
    gid: int
    groups: list[int]


class NoAnswer(OperationError):
    """The child exited without an answer: whether it finished its work is not known."""


class Locked(Exception):
    """Another process has locked the database; raised in the child, explained by the parent."""


def find(path: str) -> os.stat_result:
    """Raises OperationError unless it is a regular file or a link to one."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        raise OperationError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OperationError(f"cannot read {path!r}: {reason}") from None
    if not stat.S_ISREG(about.st_mode):
        raise OperationError(f"{path} is not a regular file; expected a SQLite database")
    return about


def owner_of(about: os.stat_result) -> Owner:
    groups = {about.st_gid}
    # A number without a name has no other groups.
    with suppress(KeyError):
        entry = pwd.getpwuid(about.st_uid)
        groups.update(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Owner(about.st_uid, about.st_gid, sorted(groups))


class Channel:
    """One end of the socket between parent and child: JSON values, one per line."""

    def __init__(
        self,
        end: socket.socket,
        heed: Callable[[], None] | None = None,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self.end = end
        self.heed = heed
        self.longest_seconds = longest_seconds
        self.unread = bytearray()

    def send(self, value: Any) -> None:
        self.end.sendall(json.dumps(value).encode("ascii") + b"\n")

    def receive(self) -> Any:
        """None when the other side has exited, or does not answer in time."""
        deadline = time.monotonic() + self.longest_seconds
        while True:
            line, newline, rest = self.unread.partition(b"\n")
            if newline:
                self.unread = rest
                return json.loads(line)
            if self.heed is not None:
                self.heed()
            if time.monotonic() > deadline:
                return None
            if not select.select([self.end], [], [], SLICE_SECONDS)[0]:
                continue
            piece = self.end.recv(1024 * 1024)
            if not piece:
                return None
            self.unread += piece


@contextmanager
def as_owner(
    path: str,
    host: System,
    work: Callable[[Channel], Any],
    longest_seconds: float = LONGEST_SECONDS,
) -> Iterator[Conversation]:
    """Runs `work` in a child as the owner of the database; the child ends with the block."""
    owner = owner_of(find(path))
    if os.geteuid() not in (0, owner.uid):
        raise OperationError(f"only root or the owner of {path} can open it")
    with _in_child(path, host, owner, work, longest_seconds) as child:
        yield child


@contextmanager
def _in_child(
    path: str,
    host: System,
    owner: Owner | None,
    work: Callable[[Channel], Any],
    longest_seconds: float,
) -> Iterator[Conversation]:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _be_child(owner, work, theirs)
    theirs.close()
    try:
        yield Conversation(path, Channel(ours, host.heed, longest_seconds))
    finally:
        ours.close()
        _end(child)


class Conversation:
    """The parent's side of the exchange with its child."""

    def __init__(self, path: str, channel: Channel) -> None:
        self.path = path
        self.send = channel.send
        self._channel = channel

    def receive(self) -> Any:
        """The next value from the child. Raises OperationError when the child failed."""
        said = self._channel.receive()
        if said is None:
            raise NoAnswer(f"the process that worked on {self.path} exited without an answer")
        if "locked" in said:
            raise OperationError(explain_lock(self.path, said["locked"]))
        if "tooLarge" in said:
            raise TooLarge(f"{self.path}: {said['tooLarge']}")
        if "error" in said:
            raise OperationError(f"{self.path}: {said['error']}", evidence=said["evidence"])
        return said["value"]


def ask(path: str, host: System, work: Callable[[], Any]) -> Any:
    """Runs `work` as the owner of the database and returns its result."""
    with as_owner(path, host, lambda channel: work()) as child:
        return child.receive()


def look(
    path: str,
    host: System,
    work: Callable[[], Any],
    longest_seconds: float,
    as_ourselves: bool = False,
) -> Any:
    """The same for work that only reads; as the current user if that is not root."""
    owner = None if as_ourselves or os.geteuid() != 0 else owner_of(find(path))
    with _in_child(path, host, owner, lambda channel: work(), longest_seconds) as child:
        return child.receive()


def _be_child(owner: Owner | None, work: Callable[[Channel], Any], end: socket.socket) -> None:
    """Never returns: the handlers, threads and buffers of the agent stay with the parent."""
    channel = Channel(end)
    try:
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        os.setsid()
        if owner is not None and os.geteuid() == 0:
            os.setgroups(owner.groups)
            os.setgid(owner.gid)
            os.setuid(owner.uid)
        os.chdir("/")
        channel.send({"value": work(channel)})
    except Locked as error:
        channel.send({"locked": str(error)})
    except TooLarge as error:
        channel.send({"tooLarge": error.message})
    except OperationError as error:
        channel.send({"error": error.message, "evidence": list(error.evidence)})
    except sqlite3.Error as error:
        channel.send({"error": _plain(error), "evidence": []})
    except BaseException as error:
        channel.send({"error": f"{type(error).__name__}: {error}", "evidence": []})
    finally:
        with suppress(OSError):
            end.close()
        sys.stderr.flush()
        os._exit(0)


def _end(child: int) -> None:
    """Waits a moment for the child to exit, then kills it."""
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _plain(error: sqlite3.Error) -> str:
    text = str(error)
    if "not a database" in text:
        return "this is not a SQLite database"
    if "unable to open" in text:
        return "cannot open it: read-only file system, or no permission for its owner"
    if "malformed" in text:
        return f"the database is damaged ({text})"
    return text


def is_busy(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error) or "busy" in str(error)


@contextmanager
def opened(path: str, mode: str, busy_seconds: float) -> Iterator[sqlite3.Connection]:
    """In the child: `mode` is `mode=ro`, `mode=rw` or `immutable=1`. Raises Locked.

    Transactions are the caller's. A reader by `mode=ro` never checkpoints: the file's bytes stay.
    """
    if mode == "mode=rw" and not os.access(path, os.W_OK):
        raise OperationError("cannot write it: the file or its file system is read-only")
    where = f"file:{urllib.parse.quote(path)}?{mode}"
    database = sqlite3.connect(where, uri=True, isolation_level=None, timeout=busy_seconds)
    try:
        database.text_factory = _text
        database.execute("PRAGMA trusted_schema = OFF")
        yield database
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise Locked(f"waited {busy_seconds:g} s") from None
        raise
    finally:
        with suppress(sqlite3.Error):
            database.close()


class Bytes(bytes):
    """Text in a row that is not valid UTF-8."""


def _text(raw: bytes) -> str | Bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return Bytes(raw)


def quoted(name: str) -> str:
    """An identifier; quotes in it are doubled."""
    if "\0" in name:
        raise OperationError("a table or column name must not contain a NUL character")
    return '"' + name.replace('"', '""') + '"'


def size_of(database: sqlite3.Connection) -> int:
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    size = database.execute("PRAGMA page_size").fetchone()[0]
    return int(pages) * int(size)


def resting(path: str) -> tuple[int, int] | None:
    """Size and time of a WAL database that is complete in its one file; None: it is not."""
    with open(path, "rb") as file:
        in_wal_mode = file.read(20)[18:] == b"\2\2"
    if not in_wal_mode or any(os.path.exists(each) for each in files_of(path)[1:]):
        return None
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def read_unchanged(path: str, read: Callable[[str], Found], forget: Callable[[], object]) -> Found:
    """In the child: reads, by a mode for `opened`, without making -wal and -shm beside the file.

    A WAL database that no process has open needs neither. If a process writes meanwhile, the result
    is discarded and read again under SQLite's locks.
    """
    before = resting(path)
    if before is not None:
        try:
            found = read("immutable=1")
        except sqlite3.Error:
            # Damaged; or changed by a writer, and then the second read succeeds.
            if resting(path) == before:
                raise
        else:
            if resting(path) == before:
                return found
        forget()
    return read("mode=ro")
