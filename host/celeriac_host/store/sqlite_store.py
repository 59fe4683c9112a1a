"""A SQLite file of the app."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Iterator

from celeriac_host.store import (
    sqlite,
    sqlite_copy,
    sqlite_differences,
    sqlite_extract,
    sqlite_repair,
    sqlite_tables,
)
from celeriac_host.store.copies import Copy, TooLarge
from celeriac_host.store.sqlite import quoted
from celeriac_host.store.store import Columns, Keep, Restored, Row, Store
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


class SqliteStore(Store):
    """Reached through a child process that is the file's owner."""

    def __init__(self, path: str, host: System) -> None:
        super().__init__(path)
        self.host = host

    def describe(self, wanted: Columns) -> dict[str, Any]:
        return sqlite_tables.describe(self.url, self.host, wanted)

    @contextmanager
    def copied(self, limit_bytes: int | None, extract: dict[str, Any] | None) -> Iterator[Copy]:
        """The whole database if it is within the limit, otherwise the rows of the extract."""
        begun = time.time()
        fits = limit_bytes is None or sqlite.find(self.url).st_size <= limit_bytes
        if extract is None or fits:
            try:
                with sqlite_copy.copied(self.url, self.host, limit_bytes) as path:
                    yield Copy(path, "everything", time.time())
                    return
            except TooLarge:
                # The content of -wal adds to its size.
                if extract is None:
                    raise
        assert extract is not None and limit_bytes is not None
        with sqlite_extract.extracted(self.url, self.host, extract, limit_bytes) as path:
            yield Copy(path, "rows", begun)

    def replace(self, backup: str, busy_seconds: float) -> None:
        sqlite_copy.restore(backup, self.url, self.host, busy_seconds)

    def compare(self, backup: str) -> list[dict[str, Any]]:
        return sqlite_differences.compare(backup, self.url, self.host)

    def is_so(self, rows: list[Row], busy_seconds: float) -> bool:
        def work() -> bool:
            return sqlite_repair.is_so(self.url, rows, busy_seconds)

        return bool(sqlite.ask(self.url, self.host, work))

    def change(
        self, rows: list[Row], alive: dict[str, str], busy_seconds: float, keep: Keep
    ) -> dict[str, Any]:
        return sqlite_repair.change(self.url, self.host, rows, alive, busy_seconds, keep)

    def rehearse(self, rows: list[Row], busy_seconds: float) -> dict[str, Any]:
        """On a copy, by this host's own SQLite: in the database it would keep the app waiting."""
        with sqlite_copy.copied(self.url, self.host, None) as path:
            try:
                found = sqlite_repair.change(path, self.host, rows, {}, busy_seconds, _forget)
            except sqlite.NoAnswer:
                raise
            except OperationError as error:
                why = error.message.replace(path, "", 1).lstrip(": ")
                return {"problems": [why.replace("; nothing was changed", "")], "skipped": []}
        return {"problems": [], "skipped": found["skipped"]}

    def restore_rows(self, kept: list[Row], busy_seconds: float) -> Restored:
        def work() -> Restored:
            return sqlite_repair.restore_rows(self.url, kept, busy_seconds)

        return Restored(*sqlite.ask(self.url, self.host, work))

    def rows_of_calls(self, calls: list[dict[str, Any]], busy_seconds: float) -> dict[str, str]:
        def work() -> dict[str, str]:
            return _rows_of_calls(self.url, calls, busy_seconds)

        found: dict[str, str] = sqlite.ask(self.url, self.host, work)
        return found


def _forget(_name: str, _value: Any) -> None:
    """Of a rehearsal nothing is kept."""


def _rows_of_calls(path: str, calls: list[dict[str, Any]], busy_seconds: float) -> dict[str, str]:
    found = {}
    with sqlite.opened(path, "mode=ro", busy_seconds) as database:
        for call in calls:
            row = call["row"]
            where = f"{quoted(row['key'])} = ? AND {quoted(row['column'])} = ?"
            rows = database.execute(
                f"SELECT * FROM {quoted(row['table'])} WHERE {where}", (row["id"], call["id"])
            ).fetchall()
            if len(rows) == 1:
                found[call["id"]] = repr(rows[0])
    return found
