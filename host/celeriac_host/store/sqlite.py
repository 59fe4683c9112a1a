"""SQLite files of the app: looked into, copied and changed as their owner, never as root.

Root would leave -wal and -shm files behind that the app can't write. So whatever touches a
database runs in a forked child that has become the file's owner; it speaks with its parent in
JSON lines.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import sqlite3
import stat
import sys
import tempfile
import time
import urllib.parse
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, NamedTuple

from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import SLICE_SECONDS, System

COPY_FOLDERS = ("/var/tmp", "/tmp")
MARGIN_BYTES = 16 * 1024 * 1024
READ_BUSY_SECONDS = 10.0
# A child that does not come back within this time is stuck in the kernel or in a damaged file.
LONGEST_SECONDS = 900.0
# sqlite3.h; the module has names for them only since Python 3.11.
SQLITE_BUSY, SQLITE_LOCKED = 5, 6
COMPANIONS = ("", "-wal", "-shm", "-journal")


class Owner(NamedTuple):
    uid: int
    gid: int
    groups: list[int]


class NoAnswer(OperationError):
    """The child is gone without a last word: whether it had ended its work is not known."""


class TooLarge(OperationError):
    """A database is larger than its copy may be."""


class Locked(Exception):
    """Somebody else holds the database; raised in the child, explained by the parent."""


def find(path: str) -> os.stat_result:
    """OperationError unless it is a regular file (a symbolic link to one will do)."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        raise OperationError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OperationError(f"{path!r} can't be read: {reason}") from None
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
    """One end of the pipe between parent and child: JSON values, one a line."""

    def __init__(self, end: socket.socket, heed: Callable[[], None] | None = None) -> None:
        self.end = end
        self.heed = heed
        self.unread = bytearray()

    def send(self, value: Any) -> None:
        self.end.sendall(json.dumps(value).encode("ascii") + b"\n")

    def receive(self) -> Any:
        """None when the other side is gone."""
        deadline = time.monotonic() + LONGEST_SECONDS
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
def as_owner(path: str, host: System, work: Callable[[Channel], Any]) -> Iterator[Conversation]:
    """Runs `work` as the owner of the database; it ends when the block does, whatever happens."""
    owner = owner_of(find(path))
    if os.geteuid() not in (0, owner.uid):
        raise OperationError(f"only root or the owner of {path} can work on it")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _be_child(path, owner, work, theirs)
    theirs.close()
    try:
        yield Conversation(path, Channel(ours, host.heed))
    finally:
        ours.close()
        _end(child)


class Conversation:
    """What the parent has of its child."""

    def __init__(self, path: str, channel: Channel) -> None:
        self.path = path
        self.send = channel.send
        self._channel = channel

    def receive(self) -> Any:
        """Its next word. Raises OperationError with what went wrong there."""
        said = self._channel.receive()
        if said is None:
            raise NoAnswer(f"the work on {self.path} ended without an answer")
        if "locked" in said:
            raise OperationError(_explain_lock(self.path, said["locked"]))
        if "tooLarge" in said:
            raise TooLarge(f"{self.path}: {said['tooLarge']}")
        if "error" in said:
            raise OperationError(f"{self.path}: {said['error']}", evidence=said["evidence"])
        return said["value"]


def ask(path: str, host: System, work: Callable[[], Any]) -> Any:
    """One question, one answer."""
    with as_owner(path, host, lambda channel: work()) as child:
        return child.receive()


def _be_child(path: str, owner: Owner, work: Callable[[Channel], Any], end: socket.socket) -> None:
    """Never returns: no handler, thread or buffer of the agent is this process's business."""
    channel = Channel(end)
    try:
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        os.setsid()
        if os.geteuid() == 0:
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
    """It has said all it had to say, or nobody listens any more."""
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
        return "it can't be opened: it is on a read-only file system, or closed to its owner"
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
        raise OperationError("it can't be written: it is read-only, or on a file system that is")
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
    """Text of a row that is not UTF-8."""


def _text(raw: bytes) -> str | Bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return Bytes(raw)


def quoted(name: str) -> str:
    """An identifier is data: a quote in it is doubled."""
    if "\0" in name:
        raise OperationError("a name with a NUL character is no table or column")
    return '"' + name.replace('"', '""') + '"'


def size_of(database: sqlite3.Connection) -> int:
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    size = database.execute("PRAGMA page_size").fetchone()[0]
    return int(pages) * int(size)


@contextmanager
def copied(path: str, host: System, limit_bytes: int | None) -> Iterator[str]:
    """Path of a consistent copy, made by the online backup API; gone after the block.

    Raises OperationError: not a database, larger than the limit, no room, locked.
    """
    about = find(path)
    # What is in -wal comes on top, and what was deleted may come off: the child looks again.
    companions = sum(_size(each) for each in _files_of(path))
    with folder_for_copy(companions, about) as folder:
        target = os.path.join(folder, "copy.db")
        ask(path, host, lambda: _copy(path, target, limit_bytes))
        yield target


def _copy(path: str, target: str, limit_bytes: int | None) -> None:
    """A WAL database that nobody has open is read without making -wal and -shm beside it."""
    before = resting(path)
    if before is not None:
        try:
            _copy_by("immutable=1", path, target, limit_bytes)
        except sqlite3.Error:
            # Damaged; or somebody wrote just then, and a copy under its locks will be sound.
            if resting(path) == before:
                raise
        if resting(path) == before:
            return
        os.unlink(target)
    _copy_by("mode=ro", path, target, limit_bytes)


def resting(path: str) -> tuple[int, int] | None:
    """Size and time of a WAL database all of which is in its one file; None: it is not so."""
    with open(path, "rb") as file:
        in_wal_mode = file.read(20)[18:] == b"\2\2"
    if not in_wal_mode or any(os.path.exists(each) for each in _files_of(path)[1:]):
        return None
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def _copy_by(mode: str, path: str, target: str, limit_bytes: int | None) -> None:
    deadline = time.monotonic() + READ_BUSY_SECONDS

    def refuse_waiting(status: int, remaining: int, total: int) -> None:
        # Connection.backup tries again for ever while the database is locked.
        if status in (SQLITE_BUSY, SQLITE_LOCKED) and time.monotonic() > deadline:
            raise Locked(f"waited {READ_BUSY_SECONDS:g} s")

    with opened(path, mode, READ_BUSY_SECONDS) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        size = size_of(database)
        if limit_bytes is not None and size > limit_bytes:
            raise TooLarge(
                f"it is {size} bytes large; a copy may have {limit_bytes} bytes (snapshot-limit)"
            )
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous = OFF")
            database.backup(copy, progress=refuse_waiting)
        finally:
            copy.close()


def open_copy(target: str) -> int:
    """A descriptor of the copy: its folder was the owner's, so nothing in it is trusted."""
    handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OperationError("the copy is not a regular file")
    return handle


@contextmanager
def folder_for_copy(needed: int, owner: os.stat_result | None = None) -> Iterator[str]:
    """A folder with so much room, the owner's where one is given; gone after the block."""
    _remove_left_folders()
    folder = tempfile.mkdtemp(prefix=f"celeriac-{os.getpid()}-", dir=roomy_folder(needed))
    try:
        if owner is not None and os.geteuid() == 0:
            os.chown(folder, owner.st_uid, owner.st_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_folders() -> None:
    """Of runs that were killed: copies of somebody's data lie about no longer than that."""
    for parent in COPY_FOLDERS:
        for path in glob.glob(os.path.join(parent, "celeriac-[0-9]*-*")):
            match = re.fullmatch(r"celeriac-([0-9]+)-\w+", os.path.basename(path))
            if match and not os.path.isdir(f"/proc/{match.group(1)}"):
                shutil.rmtree(path, ignore_errors=True)


def roomy_folder(needed: int) -> str:
    for folder in COPY_FOLDERS:
        if os.path.isdir(folder) and free_bytes(folder) >= needed + MARGIN_BYTES:
            return folder
    wanted = (needed + MARGIN_BYTES) // (1024 * 1024)
    raise OperationError(
        f"no room for a copy of the database: {wanted} MiB are needed in "
        + " or ".join(COPY_FOLDERS)
    )


def free_bytes(folder: str) -> int:
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize


def _files_of(path: str) -> list[str]:
    """The database and what SQLite keeps beside it."""
    return [os.path.realpath(path) + suffix for suffix in COMPANIONS]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _explain_lock(path: str, waited: str) -> str:
    holders = lock_holders(path)
    who = f" by {', '.join(holders)}" if holders else ""
    return f"{path} is locked{who}; {waited}, nothing was changed"


def lock_holders(path: str) -> list[str]:
    """Who holds a write lock on it; else who has it open. Empty when nobody can be seen."""
    inodes = set()
    for each in _files_of(path):
        with suppress(OSError):
            inodes.add(os.stat(each).st_ino)
    with_file_open = [pid for pid in _pids() if _has_open(pid, inodes)]
    writing = [pid for pid in _locking(inodes) if pid in with_file_open]
    return [_describe_process(pid) for pid in (writing or with_file_open)[:5]]


def _locking(inodes: set[int]) -> list[int]:
    """`1: POSIX  ADVISORY  WRITE 4711 fe:01:131085 120 120` in /proc/locks."""
    found = []
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    for row in rows:
        if "WRITE" not in row or "->" in row:
            continue
        at = row.index("WRITE")
        inode = row[at + 2].rpartition(":")[2]
        if row[at + 1].isdigit() and inode.isdigit() and int(inode) in inodes:
            found.append(int(row[at + 1]))
    return found


def _pids() -> list[int]:
    ours = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != ours]


def _has_open(pid: int, inodes: set[int]) -> bool:
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.stat(os.path.join(folder, name)).st_ino in inodes:
                    return True
    return False


def _describe_process(pid: int) -> str:
    process = processes.read(pid)
    if process is None:
        return f"pid {pid}"
    command = " ".join(process.argv)[:80] or "?"
    return f"pid {pid} ({command}, user {process.user})"
