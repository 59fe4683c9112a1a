"""Describes a SQLite file: its owner and tables. Never changes it."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import Any

from celeriac_host.store import checks, sqlite, sqlite_child
from celeriac_host.store.sqlite import quoted
from celeriac_host.store.sqlite_child import Absent, Locked, Work
from celeriac_host.store.store import Columns
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import group_name, user_name
from celeriac_host.system.system import System

HEADER = b"SQLite format 3\0"
BUSY_SECONDS = 3.0
LONGEST_SECONDS = 45.0
TABLES_LIMIT = 500
WORDS_LIMIT = 50
# What SQLite says → what it means to a person.
PROBLEMS = (
    ("file is not a database", "is not a SQLite database, or an encrypted one"),
    ("malformed", "is damaged: SQLite reports a malformed image"),
    ("locked", f"is still locked by another process after {BUSY_SECONDS:g} s"),
    ("unable to open", "cannot be opened by the app's user"),
    ("readonly", "has an unfinished write, and cannot be read before that is rolled back"),
)


def describe(path: str, host: System, whom: AppUser, wanted: Columns) -> dict[str, Any]:
    """The fact; for an unreadable file, with the reason."""
    work = Work(path, lambda channel: _describe(path, whom, wanted), LONGEST_SECONDS)
    try:
        found = sqlite_child.look(host, whom, work)
    except Absent:
        return {"kind": "absent", "path": path}
    except OperationError as error:
        return unreadable(path, error.message)
    if not isinstance(found, dict):
        return unreadable(path, "cannot be read: the process that read it sent invalid data")
    if "problem" in found:
        return unreadable(path, str(found["problem"]))
    names = ("file", "owner", "group", "sizeBytes", "tables")
    told = {name: found.get(name) for name in names}
    return {"kind": "sqlite", "path": path, "user": whom.name, **told}


def unreadable(path: str, problem: str) -> dict[str, Any]:
    told = problem if problem.startswith(path) else f"{path} {problem}"
    return {"kind": "unreadable", "path": path, "problem": told}


def _describe(path: str, whom: AppUser, wanted: Columns) -> dict[str, Any]:
    """In the child."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            return {"problem": "is not a regular file"}
        with open(path, "rb") as file:
            header = file.read(100)
    except (FileNotFoundError, NotADirectoryError):
        raise Absent(f"{path}: no such file") from None
    except PermissionError:
        return {"problem": f"cannot be opened by {whom.name}, as whom {whom.what} runs"}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return {"problem": f"cannot be opened: {reason}"}
    if header and not header.startswith(HEADER):
        return {"problem": "is not a SQLite database (or an encrypted one): its header differs"}
    return {
        "file": f"{about.st_dev}:{about.st_ino}",
        "owner": user_name(about.st_uid),
        "group": group_name(about.st_gid),
        "sizeBytes": about.st_size,
        **_read(path, wanted),
    }


def _read(path: str, wanted: Columns) -> dict[str, Any]:
    """In the child: its tables, or the problem."""
    try:
        return sqlite.read_unchanged(
            path, lambda mode: {"tables": _tables(path, mode, wanted)}, lambda: None
        )
    except Locked:
        said = "locked"
    except PermissionError:
        said = "unable to open"
    except sqlite3.Error as error:
        said = str(error)
    meanings = (meaning for words, meaning in PROBLEMS if words in said)
    return {"problem": next(meanings, f"cannot be read: {said}")}


def _tables(path: str, mode: str, wanted: Columns) -> list[dict[str, Any]]:
    with sqlite.opened(path, mode, BUSY_SECONDS) as database:
        database.text_factory = lambda raw: raw.decode("utf-8", "replace")
        names = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
            f" AND substr(name, 1, 7) != 'sqlite_' ORDER BY name LIMIT {TABLES_LIMIT}"
        ).fetchall()
        tables = []
        primary = {}
        for name, sql in names:
            columns = database.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
            primary[name.lower()] = next((row[1] for row in columns if row[5] == 1), "")
            keys = database.execute(f"PRAGMA foreign_key_list({quoted(name)})").fetchall()
            table: dict[str, Any] = {
                "name": name,
                "columns": [
                    checks.tell(row[1], row[2], bool(row[3]), row[4], sql or "") for row in columns
                ],
                "foreignKeys": [{"column": row[3], "table": row[2], "to": row[4]} for row in keys],
            }
            own = [row[1] for row in columns]
            statuses = _statuses(database, name, own, wanted.status)
            if statuses is not None:
                table["statuses"] = statuses
            tables.append(table)
        for table in tables:
            for key in table["foreignKeys"]:
                # A foreign key without a column refers to the parent's primary key.
                key["to"] = key["to"] or primary.get(key["table"].lower(), "")
        return tables


def _statuses(
    database: sqlite3.Connection, table: str, columns: list[str], wanted: list[str]
) -> list[str | int] | None:
    """Distinct values of its status column; None: it has none, or it cannot be read."""
    names = [name for word in wanted for name in columns if name.lower() == word.lower()]
    if not names:
        return None
    one = f"SELECT * FROM (SELECT {quoted(names[0])} AS s FROM {quoted(table)}"
    # Only the newest and oldest rows, for the few distinct values.
    newest = f"{one} ORDER BY rowid DESC LIMIT 5000)"
    oldest = f"{one} ORDER BY rowid LIMIT 1000)"
    for some in (f"{newest} UNION ALL {oldest}", f"{one} LIMIT 5000)"):
        words = f"SELECT DISTINCT s FROM ({some}) WHERE typeof(s) IN ('text', 'integer')"
        try:
            found = database.execute(f"{words} LIMIT {WORDS_LIMIT}").fetchall()
        except sqlite3.Error:
            continue  # WITHOUT ROWID; or it cannot be read, and then is left out
        return [word[:100] if isinstance(word, str) else word for (word,) in found]
    return None
