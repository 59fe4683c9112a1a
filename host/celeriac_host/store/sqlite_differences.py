"""What a SQLite database has that a backup of it lacks, and the other way round."""

from __future__ import annotations

import os
import shutil
import sqlite3
from typing import Any

from celeriac_host.store.copies import folder_for_copy
from celeriac_host.store.sqlite import READ_BUSY_SECONDS, ask, find, opened, quoted
from celeriac_host.system.system import System


def compare(backup: str, path: str, host: System) -> list[dict[str, Any]]:
    """One entry per table that differs. Raises OperationError.

    Runs as the owner of the database, who cannot read our backups: so it uses a copy.
    """
    about = find(path)
    with folder_for_copy(os.lstat(backup).st_size) as folder:
        copy = os.path.join(folder, "copy.db")
        shutil.copyfile(backup, copy)
        if os.geteuid() == 0:
            for each in (copy, folder):
                os.chown(each, about.st_uid, about.st_gid)
        found: list[dict[str, Any]] = ask(path, host, lambda: _compare(copy, path))
        return found


def _compare(copy: str, path: str) -> list[dict[str, Any]]:
    with opened(path, "mode=ro", READ_BUSY_SECONDS) as database:
        database.execute("ATTACH ? AS earlier", (copy,))
        database.execute("BEGIN")
        both = _tables(database, "main"), _tables(database, "earlier")
        entries = (_differ(database, name, *both) for name in sorted({**both[0], **both[1]}))
        return [entry for entry in entries if entry["newer"] or entry["changed"] or entry["gone"]]


def _tables(database: sqlite3.Connection, schema: str) -> dict[str, list[tuple[str, int]]]:
    """Name → its columns, each with its place in the primary key (0: none)."""
    rows = database.execute(
        f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%'"
    ).fetchall()
    return {
        name: [
            (row[1], row[5])
            for row in database.execute(f"PRAGMA {schema}.table_info({quoted(name)})")
        ]
        for (name,) in rows
    }


def _differ(
    database: sqlite3.Connection,
    name: str,
    now: dict[str, list[tuple[str, int]]],
    earlier: dict[str, list[tuple[str, int]]],
) -> dict[str, Any]:
    def count(query: str) -> int:
        return int(database.execute(f"SELECT count(*) FROM ({query})").fetchone()[0])

    here, there = f"main.{quoted(name)}", f"earlier.{quoted(name)}"
    if name not in earlier or name not in now:
        rows = count(f"SELECT 1 FROM {here if name in now else there}")
        in_now = name in now
        return _entry(name, newer=rows if in_now else 0, gone=0 if in_now else rows)
    if sorted(now[name]) != sorted(earlier[name]):
        # Other columns: all of its rows would get another shape.
        return _entry(name, changed=max(1, count(f"SELECT 1 FROM {here}")))
    columns = ", ".join(quoted(column) for column, _ in now[name])
    keys = ", ".join(quoted(column) for column, place in now[name] if place) or columns
    newer = count(f"SELECT {keys} FROM {here} EXCEPT SELECT {keys} FROM {there}")
    gone = count(f"SELECT {keys} FROM {there} EXCEPT SELECT {keys} FROM {here}")
    other = count(f"SELECT {columns} FROM {here} EXCEPT SELECT {columns} FROM {there}")
    return _entry(name, newer, max(other - newer, 0), gone)


def _entry(name: str, newer: int = 0, changed: int = 0, gone: int = 0) -> dict[str, Any]:
    return {"table": name, "newer": newer, "changed": changed, "gone": gone}
