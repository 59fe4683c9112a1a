"""A job database of an app, in a real file."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

TABLES = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, status TEXT NOT NULL, celery_task_id TEXT, error_message TEXT,
    started_at TIMESTAMP, data BLOB, number REAL,
    twice GENERATED ALWAYS AS (number * 2));
CREATE TABLE links (
    id INTEGER PRIMARY KEY, job_id TEXT NOT NULL REFERENCES jobs (id), status TEXT NOT NULL,
    celery_task_id TEXT);
"""
Row = Dict[str, Any]


ELSEWHERE = """
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for line in sys.stdin:
    print(json.dumps(database.execute(line).fetchall()), flush=True)
database.close()
"""


class Elsewhere:
    """A connection of another process that commits each statement."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def execute(self, sql: str) -> List[List[Any]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()
        found: List[List[Any]] = json.loads(self.process.stdout.readline())
        return found


class AppDatabase:
    """Jobs "one", "two" and "alive", each with two links."""

    def __init__(self, path: Path, mode: str = "WAL") -> None:
        self.path = path
        with self.open() as database:
            database.execute(f"PRAGMA journal_mode = {mode}")
            database.executescript(TABLES)
            for at, name in enumerate(("one", "two", "alive")):
                database.execute(
                    "INSERT INTO jobs (id, status, celery_task_id, started_at, data, number)"
                    " VALUES (?, 'processing', ?, '2026-01-18 11:02:03', x'00ff', 1.5)",
                    (name, f"task-{name}"),
                )
                for number in (1, 2):
                    link = (10 * at + number, name, "processing" if number == 1 else "completed")
                    database.execute("INSERT INTO links VALUES (?, ?, ?, NULL)", link)

    def open(self) -> Any:
        """A connection that commits each statement."""
        return closing(sqlite3.connect(str(self.path), isolation_level=None, timeout=60))

    @contextmanager
    def open_elsewhere(self) -> Iterator[Elsewhere]:
        """The same in another process, as the app has it open.

        A fork of the process that has it open must not open it again: sqlite.org/howtocorrupt.html.
        """
        argv = [sys.executable, "-I", "-c", ELSEWHERE, str(self.path)]
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        ) as process:
            yield Elsewhere(process)
            assert process.stdin is not None
            process.stdin.close()

    def execute(self, sql: str) -> List[Tuple[Any, ...]]:
        with self.open() as database:
            found: List[Tuple[Any, ...]] = database.execute(sql).fetchall()
            return found

    def look(self) -> List[Tuple[Any, ...]]:
        """Every row, with the SQLite type of each value."""
        jobs = "SELECT *, typeof(data), hex(error_message) FROM jobs ORDER BY id"
        return [*self.execute(jobs), *self.execute("SELECT * FROM links ORDER BY id")]

    def statuses(self) -> Dict[str, str]:
        return dict(self.execute("SELECT id, status FROM jobs ORDER BY id"))


def update(table: str, ident: Any, group: str, was: str, **values: Any) -> Row:
    change = {"kind": "update", "set": values}
    return {**_row(table, ident, group, was), "change": change}


def delete(table: str, ident: Any, group: str, was: str) -> Row:
    return {**_row(table, ident, group, was), "change": {"kind": "delete"}}


def _row(table: str, ident: Any, group: str, was: str) -> Row:
    below = [{"table": "links", "column": "job_id", "rows": 2}] if table == "jobs" else []
    words = {"table": table, "key": "id", "id": ident, "group": group}
    return {**words, "seen": {"status": was}, "below": below}


def failing() -> List[Row]:
    """Fails jobs one and two with their open links: children before parents."""
    rows = []
    for name, link in (("one", 1), ("two", 11)):
        rows.append(update("links", link, name, "processing", status="failed"))
        why = {"status": "failed", "error_message": "nobody had it"}
        rows.append(update("jobs", name, name, "processing", **why))
    return rows


def deleting() -> List[Row]:
    """Deletes the same two jobs."""
    rows = []
    for name, first in (("one", 1), ("two", 11)):
        rows.append(delete("links", first, name, "processing"))
        rows.append(delete("links", first + 1, name, "completed"))
        rows.append({**delete("jobs", name, name, "processing"), "below": []})
    return rows
