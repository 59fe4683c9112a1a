"""Opens SQLite files, in a child that is the app's user (see `sqlite_child`)."""

from __future__ import annotations

import os
import sqlite3
import urllib.parse
from contextlib import contextmanager, suppress
from typing import Callable, Iterator, TypeVar

from celeriac_host.store.sqlite_child import Locked
from celeriac_host.store.sqlite_locks import files_of
from celeriac_host.system.errors import OperationError

Found = TypeVar("Found")

READ_BUSY_SECONDS = 10.0


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
        # Trusted as by the app: otherwise SQLite 3.40 rejects CHECKs with json_valid(), as Django
        # writes them. A child that is the app's user, without extensions, has nothing to misuse.
        database.execute("PRAGMA trusted_schema = ON")
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
