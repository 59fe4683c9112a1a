"""A PostgreSQL database of the app."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import Any, Iterator

from celeriac_host.store import postgres, postgres_extract, postgres_repair
from celeriac_host.store.copies import Copy
from celeriac_host.store.store import Columns, Keep, Restored, Row, Store, result_of
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


class PostgresStore(Store):
    """Reached through the host's own psql, as the app's user."""

    def __init__(self, url: str, host: System, unit: str, user: str | None) -> None:
        super().__init__(url)
        self.host = host
        self.session = postgres.Session(host, unit, url, user)

    def describe(self, wanted: Columns) -> dict[str, Any]:
        try:
            user = self.session.context().identity.name
            tables = postgres.tables(self.session, wanted.status)
        except OperationError as error:
            return {"kind": "unreadable", "path": self.url, "problem": error.message}
        return {"kind": "postgresql", "path": self.url, "user": user, "tables": tables}

    @contextmanager
    def copied(self, limit_bytes: int | None, extract: dict[str, Any] | None) -> Iterator[Copy]:
        """Only what the extract asks for: a server's database is not copied whole."""
        if extract is None or limit_bytes is None:
            raise self._refusal("copied whole")
        begun = time.time()
        with postgres_extract.extracted(self.session, extract, limit_bytes) as file:
            size = os.fstat(file.fileno()).st_size
            yield Copy("rows", begun, size, iter(lambda: file.read(1024 * 1024), b""))

    def replace(self, backup: str, busy_seconds: float) -> None:
        raise self._refusal("replaced by a backup")

    def compare(self, backup: str) -> list[dict[str, Any]]:
        raise self._refusal("compared with a backup")

    def is_so(self, rows: list[Row], busy_seconds: float) -> bool:
        return postgres_repair.is_so(self._place(busy_seconds), rows)

    def change(
        self, rows: list[Row], alive: dict[str, str], busy_seconds: float, keep: Keep
    ) -> dict[str, Any]:
        place = self._place(busy_seconds)
        taken, skipped = postgres_repair.see(place, rows, alive)
        keep("rows", taken)
        groups = {row["group"] for row in taken}
        wanted = [row for row in rows if row["group"] in groups]
        if not wanted:
            return result_of([], skipped, 0.0)
        result, left = postgres_repair.change(place, wanted)
        if left:
            # These were not changed: an undo compares them and finds that out.
            keep("left", left)
        return {**result, "skipped": [*skipped, *result["skipped"]]}

    def rehearse(self, rows: list[Row], busy_seconds: float) -> dict[str, Any]:
        return postgres_repair.rehearse(self._place(busy_seconds), rows)

    def restore_rows(self, kept: list[Row], busy_seconds: float) -> Restored:
        return postgres_repair.restore_rows(self._place(busy_seconds), kept)

    def rows_of_calls(self, calls: list[dict[str, Any]], busy_seconds: float) -> dict[str, str]:
        return postgres_repair.named(self._place(busy_seconds), calls)

    def _place(self, busy_seconds: float) -> postgres_repair.Place:
        return postgres_repair.Place(self.session, busy_seconds)

    def _refusal(self, what: str) -> OperationError:
        return OperationError(f"{self.url} is a PostgreSQL database, which cannot be {what} here")
