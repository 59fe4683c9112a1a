"""What a SQLite database has that a backup of it lacks, and the other way round."""

from __future__ import annotations

import sqlite3
from typing import Any

from celeriac_host.store.sqlite import READ_BUSY_SECONDS, opened, quoted
from celeriac_host.store.sqlite_child import Channel, NoAnswer, Work, working
from celeriac_host.store.sqlite_copy import backup_for_child, copy_of_backup
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.system import System

COUNTS = ("newer", "changed", "gone")


def compare(backup: str, path: str, host: System, whom: AppUser) -> list[dict[str, Any]]:
    """One entry per table that differs. Raises OperationError."""
    with backup_for_child(backup) as (handle, size):

        def run(channel: Channel) -> list[dict[str, Any]]:
            with copy_of_backup(handle, size) as copy:
                return _compare(copy, path)

        with working(host, whom, Work(path, run, files=[handle])) as child:
            found = child.receive()
    if not isinstance(found, list) or not all(map(_is_entry, found)):
        raise NoAnswer(f"the process that compared {path} sent invalid data")
    return found


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"table", *COUNTS}
        and isinstance(entry["table"], str)
        and all(isinstance(entry[name], int) for name in COUNTS)
    )


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
