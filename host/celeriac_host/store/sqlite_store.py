"""A SQLite file of the app."""

from __future__ import annotations

from typing import Any, Callable, ContextManager

from celeriac_host.store import (
    sqlite,
    sqlite_child,
    sqlite_copy,
    sqlite_differences,
    sqlite_repair,
    sqlite_tables,
)
from celeriac_host.store.copies import Copy
from celeriac_host.store.sqlite import quoted
from celeriac_host.store.store import Columns, Keep, Restored, Row, Store
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.system import System


class SqliteStore(Store):
    """Reached through a child process that is the app's user."""

    def __init__(self, path: str, host: System, whom: AppUser) -> None:
        super().__init__(path)
        self.host = host
        self.whom = whom

    def describe(self, wanted: Columns) -> dict[str, Any]:
        return sqlite_tables.describe(self.url, self.host, self.whom, wanted)

    def copied(
        self, limit_bytes: int | None, extract: dict[str, Any] | None
    ) -> ContextManager[Copy]:
        """The whole database if it is within the limit, otherwise the rows of the extract."""
        return sqlite_copy.copied(self.url, self.host, self.whom, limit_bytes, extract)

    def replace(self, backup: str, busy_seconds: float) -> None:
        sqlite_copy.restore(backup, self.url, self.host, self.whom, busy_seconds)

    def compare(self, backup: str) -> list[dict[str, Any]]:
        return sqlite_differences.compare(backup, self.url, self.host, self.whom)

    def is_so(self, rows: list[Row], busy_seconds: float) -> bool:
        return bool(self._ask(lambda: sqlite_repair.is_so(self.url, rows, busy_seconds)))

    def change(
        self, rows: list[Row], alive: dict[str, str], busy_seconds: float, keep: Keep
    ) -> dict[str, Any]:
        return sqlite_repair.change(self.url, self.host, self.whom, rows, alive, busy_seconds, keep)

    def rehearse(self, rows: list[Row], busy_seconds: float) -> dict[str, Any]:
        """On a copy, by this host's own SQLite: in the database it would keep the app waiting."""
        found = self._ask(lambda: sqlite_repair.rehearse(self.url, rows, busy_seconds))
        return dict(found)

    def restore_rows(self, kept: list[Row], busy_seconds: float) -> Restored:
        said = self._ask(lambda: sqlite_repair.restore_rows(self.url, kept, busy_seconds))
        return Restored(int(said[0]), [str(name) for name in said[1]])

    def rows_of_calls(self, calls: list[dict[str, Any]], busy_seconds: float) -> dict[str, str]:
        found = self._ask(lambda: _rows_of_calls(self.url, calls, busy_seconds))
        return {str(ident): str(row) for ident, row in found.items()}

    def _ask(self, work: Callable[[], Any]) -> Any:
        return sqlite_child.ask(self.url, self.host, self.whom, work)


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
