"""Copies whole SQLite databases and restores them, by the online backup API."""

from __future__ import annotations

import math
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator

from celeriac_host.store import sqlite_extract
from celeriac_host.store.copies import Copy, TooLarge, folder_for_copy, forget
from celeriac_host.store.sqlite import (
    READ_BUSY_SECONDS,
    is_busy,
    opened,
    read_unchanged,
    size_of,
)
from celeriac_host.store.sqlite_child import Channel, Locked, NoAnswer, Work, working
from celeriac_host.store.sqlite_locks import files_of
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

# sqlite3.h; the module has names for them only since Python 3.11.
SQLITE_BUSY, SQLITE_LOCKED = 5, 6


@contextmanager
def copied(
    path: str,
    host: System,
    whom: AppUser,
    limit_bytes: int | None,
    extract: dict[str, Any] | None = None,
) -> Iterator[Copy]:
    """A consistent copy, of what the extract asks for if all of it is larger than the limit.

    Raises OperationError: not a database, larger than the limit, no room, locked.
    """
    begun = time.time()
    work = Work(path, lambda channel: _send_copy(channel, path, limit_bytes, extract))
    with working(host, whom, work) as child:
        said = child.receive_dict()
        holds, size = said.get("holds"), said.get("size")
        if holds not in ("everything", "rows") or not isinstance(size, int) or size < 0:
            raise NoAnswer(f"the process that copied {path} sent invalid data")
        if limit_bytes is not None and size > limit_bytes:
            raise TooLarge(f"{path}: {_too_large(size, limit_bytes)}")
        written = said.get("written")
        if not isinstance(written, float) or not math.isfinite(written):
            written = None
        taken_at = time.time() if holds == "everything" else begun
        yield Copy(holds, taken_at, size, child.pieces(size), written)


def _send_copy(
    channel: Channel, path: str, limit_bytes: int | None, extract: dict[str, Any] | None
) -> None:
    """In the child: the size, then the bytes."""
    companions = _companions(path)
    # One that is larger than the limit is not copied whole.
    needed = companions if limit_bytes is None else min(companions, limit_bytes)
    with folder_for_copy(needed) as folder:
        target = os.path.join(folder, "copy.db")
        holds = "everything"
        try:
            copy_to(path, target, limit_bytes)
        except TooLarge:
            if extract is None or limit_bytes is None:
                raise
            forget(target)
            holds = "rows"
            sqlite_extract.extract_to(path, target, extract, limit_bytes)
        handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    # The copy has no name any more: nothing of it stays, however this ends.
    size = os.fstat(handle).st_size
    channel.send({"value": {"holds": holds, "size": size, "written": _written_at(path)}})
    channel.send_file(handle, size)


def copy_to(path: str, target: str, limit_bytes: int | None) -> None:
    """In the child: copies the database to a file of its own. Raises TooLarge, Locked."""
    read_unchanged(
        path,
        lambda mode: _copy_by(mode, path, target, limit_bytes),
        lambda: forget(target),
    )


def _written_at(path: str) -> float | None:
    """When the last transaction was committed; a checkpoint writes to the file later."""
    for each in (path + "-wal", path):
        with suppress(OSError):
            about = os.stat(each)
            if about.st_size > 0:
                return about.st_mtime
    return None


def _companions(path: str) -> int:
    # -wal adds to the size, and deleted rows may reduce it.
    return sum(_size(each) for each in files_of(path))


def _too_large(size: int, limit_bytes: int) -> str:
    return f"its {size} bytes exceed the limit of {limit_bytes} bytes (snapshot-limit)"


def _copy_by(mode: str, path: str, target: str, limit_bytes: int | None) -> None:
    with opened(path, mode, READ_BUSY_SECONDS) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        size = size_of(database)
        if limit_bytes is not None and size > limit_bytes:
            raise TooLarge(_too_large(size, limit_bytes))
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous = OFF")
            database.backup(copy, progress=_refuse_waiting(READ_BUSY_SECONDS))
        finally:
            copy.close()


@contextmanager
def backup_for_child(backup: str) -> Iterator[tuple[int, int]]:
    """A backup, open for a child that may not open it itself; and its size."""
    handle = os.open(backup, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle, os.fstat(handle).st_size
    finally:
        os.close(handle)


@contextmanager
def copy_of_backup(handle: int, size: int) -> Iterator[str]:
    """In the child: SQLite opens files by their path, so it gets its own copy of the backup."""
    with folder_for_copy(size) as folder:
        target = os.path.join(folder, "copy.db")
        with open(target, "xb") as file:
            while file.tell() < size:
                piece = os.pread(handle, 1024 * 1024, file.tell())
                if not piece:
                    break
                file.write(piece)
        yield target


def restore(backup: str, path: str, host: System, whom: AppUser, busy_seconds: float) -> None:
    """Replaces the content of the database by a backup. Raises OperationError."""
    with backup_for_child(backup) as (handle, size):

        def run(channel: Channel) -> None:
            with copy_of_backup(handle, size) as copy:
                _copy_over(copy, path, busy_seconds)

        with working(host, whom, Work(path, run, files=[handle])) as child:
            child.receive()


def _copy_over(copy: str, path: str, busy_seconds: float) -> None:
    with opened(copy, "mode=ro", busy_seconds) as source:
        said = source.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":
            raise OperationError(f"the backup is damaged: {said}; nothing was changed")
        with opened(path, "mode=rw", busy_seconds) as target:
            try:
                source.backup(target, progress=_refuse_waiting(busy_seconds))
            except sqlite3.OperationalError as error:
                if is_busy(error):
                    raise Locked(f"waited {busy_seconds:g} s") from None
                raise


def _refuse_waiting(seconds: float) -> Callable[[int, int, int], None]:
    """Stops Connection.backup, which otherwise retries for ever while the database is locked."""
    deadline = time.monotonic() + seconds

    def progress(status: int, remaining: int, total: int) -> None:
        if status in (SQLITE_BUSY, SQLITE_LOCKED) and time.monotonic() > deadline:
            raise Locked(f"waited {seconds:g} s")

    return progress


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0
