"""The interface of a database of the app for operations and facts, whatever its kind."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, Callable, ContextManager, Dict, List, NamedTuple

from celeriac_host.store.copies import Copy

# A row of the plan: where it is, what was seen of it, and what it becomes.
Row = Dict[str, Any]
Skipped = List[Dict[str, Any]]
# No time is written with more characters.
TIME_LIMIT = 40
# Writes a value into the journal before the change that it is needed for.
Keep = Callable[[str, Any], object]


class Columns(NamedTuple):
    """Columns whose values the fact includes: of `status`, the first that exists."""

    status: list[str]


class Restored(NamedTuple):
    """The result of restoring kept rows."""

    restored: int
    # Rows that changed since, by table and id.
    left: list[str]


class Store(ABC):
    """One database; opened by `stores.open_store`. Its methods raise OperationError."""

    def __init__(self, url: str) -> None:
        # A path, or a URL without a password.
        self.url = url

    @abstractmethod
    def describe(self, wanted: Columns) -> dict[str, Any]:
        """The fact `stores`: what kind it is and which tables it has. Does not raise."""

    @abstractmethod
    def copied(
        self, limit_bytes: int | None, extract: dict[str, Any] | None
    ) -> ContextManager[Copy]:
        """A copy of all of it, or of the rows of the extract if it exceeds the limit."""

    @abstractmethod
    def replace(self, backup: str, busy_seconds: float) -> None:
        """Replaces its content by a backup."""

    @abstractmethod
    def compare(self, backup: str) -> list[dict[str, Any]]:
        """How its tables differ from a backup, by `table`: rows `newer`, `changed`, `gone`."""

    @abstractmethod
    def is_so(self, rows: list[Row], busy_seconds: float) -> bool:
        """Whether every row already has its new values."""

    @abstractmethod
    def change(
        self, rows: list[Row], alive: dict[str, str], busy_seconds: float, keep: Keep
    ) -> dict[str, Any]:
        """Changes the rows whose groups are as seen, in one transaction; the step's result.

        `alive`: group → why to skip it. Kept for `restore_rows`, before the first change: `rows` as
        they were; `left`, groups that changed meanwhile; `unchanged`, if the transaction failed.
        """

    @abstractmethod
    def rehearse(self, rows: list[Row], busy_seconds: float) -> dict[str, Any]:
        """The fact `rehearsal`: makes these changes, and nothing stays of them."""

    @abstractmethod
    def restore_rows(self, kept: list[Row], busy_seconds: float) -> Restored:
        """Restores rows that `change` kept, unless they changed since."""

    @abstractmethod
    def rows_of_calls(self, calls: list[dict[str, Any]], busy_seconds: float) -> dict[str, str]:
        """Task id → its row as text; only rows that still name it."""


def moved_of(values: dict[str, Any]) -> dict[str, Any]:
    """Of a row that is skipped: the new values that may be times, and when they were seen."""
    plain = {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= TIME_LIMIT)
    }
    return {"moved": plain, "seenAt": time.time()} if plain else {}


def result_of(taken: list[Row], skipped: Skipped, locked_seconds: float) -> dict[str, Any]:
    """The result of a step that changed these rows."""
    counts = Counter(row["change"]["kind"] for row in taken)
    return {
        "changed": counts["update"] + counts["delete"],
        "updated": counts["update"],
        "deleted": counts["delete"],
        "skipped": skipped,
        "lockedSeconds": round(locked_seconds, 6),
    }
