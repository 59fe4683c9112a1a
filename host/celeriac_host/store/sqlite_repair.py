"""Changes rows of a SQLite database in one transaction, if they are as the plan saw them.

Reading them and writing the journal takes time, and is done before the database is locked.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from typing import Any, NamedTuple

from celeriac_host.store import sqlite, sqlite_copy
from celeriac_host.store.copies import folder_for_copy
from celeriac_host.store.sqlite_child import (
    Channel,
    Conversation,
    NoAnswer,
    Work,
    plain,
    working,
)
from celeriac_host.store.sqlite_locks import files_of
from celeriac_host.store.sqlite_rows import Below, Schema, same
from celeriac_host.store.store import Keep, Restored, Row, Skipped, result_of
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def is_so(path: str, rows: list[Row], busy_seconds: float) -> bool:
    """In the child: whether every row already has its new values."""
    with sqlite.opened(path, "mode=ro", busy_seconds) as database:
        schema = Schema(database)
        schema.load()
        return all(_is_so(schema, row) for row in rows)


def change(
    path: str,
    host: System,
    whom: AppUser,
    rows: list[Row],
    alive: dict[str, str],
    busy_seconds: float,
    keep: Keep,
) -> dict[str, Any]:
    """Has a child change the rows; records what an undo needs before each step."""
    work = Work(path, _Repair(path, rows, alive, busy_seconds).work)
    with working(host, whom, work) as child:
        # Nothing is locked yet: the child waits until the original rows are on the disk.
        keep("rows", _planned(child.receive(), rows, path))
        try:
            return _let_go(child, keep)
        except NoAnswer:
            raise
        except OperationError:
            keep("unchanged", True)
            raise


def _let_go(child: Conversation, keep: Keep) -> dict[str, Any]:
    child.send("go")
    said = child.receive_dict()
    if "leave" in said:
        # They changed meanwhile, so an undo must not touch them.
        keep("left", [str(group) for group in said["leave"]])
        child.send("go")
        said = child.receive_dict()
    return said


def _planned(kept: Any, rows: list[Row], path: str) -> list[Row]:
    """The rows that the child read: those of the plan, or none at all.

    An undo writes them back as the same user; what is counted of them is root's.
    """
    known = {_name(row) for row in rows}
    if isinstance(kept, list) and all(
        isinstance(row, dict) and _name(row) in known for row in kept
    ):
        return kept
    raise NoAnswer(f"the process that worked on {path} sent invalid data")


def _name(row: Row) -> str:
    names = ("table", "key", "id", "group", "change", "reset")
    return json.dumps([row.get(name) for name in names], sort_keys=True)


def rehearse(path: str, rows: list[Row], busy_seconds: float) -> dict[str, Any]:
    """In the child: makes the changes in a copy of its own; the fact `rehearsal`."""
    needed = sum(os.path.getsize(each) for each in files_of(path) if os.path.exists(each))
    with folder_for_copy(needed) as folder:
        copy = os.path.join(folder, "copy.db")
        sqlite_copy.copy_to(path, copy, None)
        try:
            found = _Repair(copy, rows, {}, busy_seconds).work(_Unheard())
        except OperationError as error:
            return {"problems": [_short(error.message)], "skipped": []}
        except sqlite3.Error as error:
            return {"problems": [_short(plain(error))], "skipped": []}
    return {"problems": [], "skipped": found["skipped"]}


def _short(problem: str) -> str:
    return problem.replace("; nothing was changed", "")


class _Unheard:
    """A parent that lets every change pass: of a rehearsal nothing is kept."""

    def send(self, value: Any) -> None:
        pass

    def receive(self) -> Any:
        return "go"


def restore_rows(path: str, kept: list[Row], busy_seconds: float) -> Restored:
    """In the child: restores rows that were kept."""
    restored, left = 0, []
    with sqlite.opened(path, "mode=rw", busy_seconds) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN IMMEDIATE")
        try:
            schema = Schema(database)
            schema.load()
            # Parents were changed last, so they are restored first.
            for row in reversed(kept):
                how = schema.restore(row)
                restored += how == "restored"
                if how == "left":
                    left.append(f"{row['table']} {row['id']}")
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
    return Restored(restored, left)


def _is_so(schema: Schema, row: Row) -> bool:
    change = row["change"]
    if change["kind"] == "keep":
        return True
    wrote = change.get("set", {})
    found = schema.read(row, list(wrote))
    if change["kind"] == "delete":
        return not found
    return len(found) == 1 and all(map(same, found[0], wrote.values()))


def _change_one(schema: Schema, row: Row) -> None:
    """A deferred foreign key is checked at the end alone."""
    try:
        schema.change(row)
    except sqlite3.IntegrityError as error:
        raise OperationError(
            f"the database rejected the change of {row['table']} {row['id']}: {error};"
            " nothing was changed"
        ) from None


class _Seen(NamedTuple):
    """The result of the comparison before the lock."""

    taken: list[Row]
    skipped: Skipped
    # PRAGMA data_version, which changes whenever another connection writes.
    version: int
    # Table → its largest rowid, where it has one.
    newest: dict[str, int]


class _Repair:
    """The work of the child, which is the app's user."""

    def __init__(
        self, path: str, rows: list[Row], alive: dict[str, str], busy_seconds: float
    ) -> None:
        self.path = path
        self.rows = rows
        self.alive = alive
        self.busy_seconds = busy_seconds

    def work(self, channel: Channel | _Unheard) -> dict[str, Any]:
        """Reads and keeps the rows, then locks the database, compares again and changes them."""
        with sqlite.opened(self.path, "mode=rw", self.busy_seconds) as database:
            database.execute("PRAGMA foreign_keys = ON")
            schema = Schema(database, {row["table"] for row in self.rows})
            seen, kept = self._see(schema)
            channel.send({"value": kept})
            if channel.receive() != "go":
                raise OperationError("the original rows could not be written to the journal")
            if not seen.taken:
                return result_of([], seen.skipped, 0.0)
            return self._change(schema, seen, channel)

    def _see(self, schema: Schema) -> tuple[_Seen, list[Row]]:
        schema.database.execute("BEGIN")
        try:
            # The first read starts the snapshot.
            schema.load()
            version = schema.version()
            newest = schema.newest(self.rows)
            taken, skipped = self._compare(schema, self.rows, schema.count_below(self.rows))
            return _Seen(taken, skipped, version, newest), [schema.keep(row) for row in taken]
        finally:
            schema.database.execute("ROLLBACK")

    def _change(self, schema: Schema, seen: _Seen, channel: Channel | _Unheard) -> dict[str, Any]:
        database = schema.database
        database.execute("BEGIN IMMEDIATE")
        locked_at = time.monotonic()
        try:
            taken, skipped = seen.taken, list(seen.skipped)
            if schema.version() != seen.version:
                groups = {row["group"] for row in taken}
                rows = [row for row in self.rows if row["group"] in groups]
                counts = schema.count_new_below(rows, seen.newest)
                taken, moved = self._compare(schema, rows, counts)
                skipped += moved
                if moved:
                    channel.send({"value": {"leave": sorted({row["group"] for row in moved})}})
                    if channel.receive() != "go":
                        raise OperationError("the skipped rows could not be written to the journal")
            for row in taken:
                _change_one(schema, row)
            database.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            database.execute("ROLLBACK")
            raise OperationError(
                f"the database rejected the change: {error}; nothing was changed"
            ) from None
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return result_of(taken, skipped, time.monotonic() - locked_at)

    def _compare(self, schema: Schema, rows: list[Row], counts: Below) -> tuple[list[Row], Skipped]:
        """The rows to change, in order; and those of groups in which a row differs."""
        reasons: dict[str, list[tuple[Row, str]]] = {}
        for row in rows:
            why = self.alive.get(row["group"]) or schema.difference(row, counts)
            if why is not None:
                reasons.setdefault(row["group"], []).append((row, why))
        taken: list[Row] = []
        skipped: Skipped = []
        for row in rows:
            found = reasons.get(row["group"])
            changes = row["change"]["kind"] != "keep"
            if found is None:
                if changes:
                    taken.append(row)
                continue
            own = next((why for other, why in found if other is row), None)
            if own is None and not changes:
                continue
            first, first_why = found[0]
            why = own or f"belongs to {first['table']} {first['id']}, which {first_why}"
            name = {"table": row["table"], "id": row["id"], "group": row["group"]}
            skipped.append({**name, "why": why, **schema.moved(row)})
        return taken, skipped
