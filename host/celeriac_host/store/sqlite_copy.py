"""Copies whole SQLite databases and restores them, by the online backup API."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import contextmanager
from typing import Callable, Iterator

from celeriac_host.store.copies import TooLarge, folder_for_copy, forget
from celeriac_host.store.sqlite import (
    READ_BUSY_SECONDS,
    Locked,
    ask,
    find,
    is_busy,
    opened,
    read_unchanged,
    size_of,
)
from celeriac_host.store.sqlite_locks import files_of
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

# sqlite3.h; the module has names for them only since Python 3.11.
SQLITE_BUSY, SQLITE_LOCKED = 5, 6


@contextmanager
def copied(path: str, host: System, limit_bytes: int | None) -> Iterator[str]:
    """Path of a consistent copy by the online backup API, removed after the block.

    Raises OperationError: not a database, larger than the limit, no room, locked.
    """
    about = find(path)
    # -wal adds to the size, and deleted rows may reduce it: the child checks again.
    companions = sum(_size(each) for each in files_of(path))
    with folder_for_copy(companions, about) as folder:
        target = os.path.join(folder, "copy.db")
        ask(path, host, lambda: _copy(path, target, limit_bytes))
        yield target


def _copy(path: str, target: str, limit_bytes: int | None) -> None:
    read_unchanged(
        path,
        lambda mode: _copy_by(mode, path, target, limit_bytes),
        lambda: forget(target),
    )


def _copy_by(mode: str, path: str, target: str, limit_bytes: int | None) -> None:
    with opened(path, mode, READ_BUSY_SECONDS) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        size = size_of(database)
        if limit_bytes is not None and size > limit_bytes:
            raise TooLarge(
                f"its {size} bytes exceed the limit of {limit_bytes} bytes (snapshot-limit)"
            )
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous = OFF")
            database.backup(copy, progress=_refuse_waiting(READ_BUSY_SECONDS))
        finally:
            copy.close()


def restore(backup: str, path: str, host: System, busy_seconds: float) -> None:
    """Replaces the content of the database by a backup. Raises OperationError.

    Runs as the owner of the database, who cannot read our backups: so it uses a copy.
    """
    about = find(path)
    size = os.lstat(backup).st_size
    with folder_for_copy(size) as folder:
        copy = os.path.join(folder, "copy.db")
        shutil.copyfile(backup, copy)
        if os.geteuid() == 0:
            for each in (copy, folder):
                os.chown(each, about.st_uid, about.st_gid)
        ask(path, host, lambda: _copy_over(copy, path, busy_seconds))


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
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
