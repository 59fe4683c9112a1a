"""Rows of a job database changed in one transaction, only where they are as seen.

Touches: those rows.
Undo: each row as it was, unless somebody changed it since.
"""

from __future__ import annotations

import base64
import sqlite3
from collections import Counter
from typing import Any, Dict, List, Tuple

from celeriac_host import databases
from celeriac_host.errors import OperationError
from celeriac_host.journal import StepJournal
from celeriac_host.system import System

UNDO_BUSY_SECONDS = 30.0

Row = Dict[str, Any]
Skipped = List[Dict[str, Any]]


def check(args: dict[str, Any], host: System) -> bool:
    """Whether every row is already what it is to become."""
    path, rows = args["database"], args["rows"]
    return bool(databases.ask(path, host, lambda: _all_so(path, rows)))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path, rows = args["database"], args["rows"]
    busy = args["busyTimeoutSeconds"]
    work = _Repair(path, rows, busy).work
    with databases.as_owner(path, host, work) as child:
        # The database is locked now, and waits until the rows as they were are on the disk.
        journal.keep("rows", child.receive())
        child.send("go")
        result: dict[str, Any] = child.receive()
    left = f", {len(result['skipped'])} left alone" if result["skipped"] else ""
    done = f"{result['updated']} updated, {result['deleted']} deleted{left} in {path}"
    return done, result


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    kept = journal.get("rows")
    if not kept:
        return None
    path = args["database"]
    restored, left = databases.ask(path, host, lambda: _put_back(path, kept))
    if left:
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        return f"{restored} rows of {path} restored; changed since, so left as they are: {names}"
    return f"{restored} rows of {path} restored"


class _Repair:
    """What the child does, as the owner of the file."""

    def __init__(self, path: str, rows: list[Row], busy_seconds: float) -> None:
        self.path = path
        self.rows = rows
        self.busy_seconds = busy_seconds

    def work(self, channel: databases.Channel) -> dict[str, Any]:
        with databases.opened(self.path, "mode=rw", self.busy_seconds) as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("BEGIN IMMEDIATE")
            try:
                schema = _Schema(database)
                broken = _broken_keys(database)
                taken, skipped = self._compare(schema)
                channel.send({"value": [schema.keep(row) for row in taken]})
                if channel.receive() != "go":
                    raise OperationError("the rows as they were could not be kept")
                counts = Counter(row["change"]["kind"] for row in taken)
                for row in taken:
                    schema.change(row)
                _refuse_left_behind(broken, _broken_keys(database))
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
        return {
            "changed": counts["update"] + counts["delete"],
            "updated": counts["update"],
            "deleted": counts["delete"],
            "skipped": skipped,
        }

    def _compare(self, schema: _Schema) -> tuple[list[Row], Skipped]:
        """The rows to change, in their order; and those of groups in which one is not as seen."""
        reasons: dict[str, list[tuple[Row, str]]] = {}
        for row in self.rows:
            why = schema.difference(row)
            if why is not None:
                reasons.setdefault(row["group"], []).append((row, why))
        taken: list[Row] = []
        skipped: Skipped = []
        for row in self.rows:
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
            skipped.append({"table": row["table"], "id": row["id"], "why": why})
        return taken, skipped


class _Schema:
    """The database's own tables and columns: no name reaches SQL that is not one of them."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables: set[str] = {str(name) for (name,) in names}
        self._columns: dict[str, list[tuple[str, bool]]] = {}

    def columns(self, table: str) -> list[tuple[str, bool]]:
        """Name, and whether a value can be given to it (not to a generated one)."""
        if table not in self.tables:
            raise OperationError(f"there is no table {table!r}; the plan was made from another")
        if table not in self._columns:
            found = self.database.execute(f"PRAGMA table_xinfo({databases.quoted(table)})")
            self._columns[table] = [(str(row[1]), row[6] == 0) for row in found]
        return self._columns[table]

    def name(self, table: str, column: str) -> str:
        if all(column.lower() != known.lower() for known, _ in self.columns(table)):
            raise OperationError(f"table {table!r} has no column {column!r}")
        return databases.quoted(column)

    def read(self, row: Row, columns: list[str]) -> list[tuple[Any, ...]]:
        table, key, ident = row["table"], row["key"], row["id"]
        what = ", ".join(self.name(table, column) for column in columns) or "1"
        where = f"{databases.quoted(table)} WHERE {self.name(table, key)} = ?"
        return self.database.execute(f"SELECT {what} FROM {where}", (ident,)).fetchmany(2)

    def difference(self, row: Row) -> str | None:
        """Why the row is not as seen; None when it is."""
        table, ident = row["table"], row["id"]
        columns = list(row["seen"])
        found = self.read(row, columns)
        if not found:
            return "is gone"
        if len(found) > 1:
            return "is there more than once"
        for column, now in zip(columns, found[0]):
            if not _same(now, row["seen"][column]):
                return f"changed meanwhile: {column} is now {_show(now)}"
        for child in row.get("below", ()):
            below = databases.quoted(child["table"]) if child["table"] in self.tables else None
            if below is None:
                raise OperationError(f"there is no table {child['table']!r}")
            column = self.name(child["table"], child["column"])
            counting = f"SELECT count(*) FROM {below} WHERE {column} = ?"
            count = self.database.execute(counting, (ident,)).fetchone()[0]
            if count != child["rows"]:
                return f"changed meanwhile: it has {count} {child['table']}, not {child['rows']}"
        return None

    def keep(self, row: Row) -> Row:
        """What undo needs of it: the whole row as it is."""
        names = [name for name, given in self.columns(row["table"]) if given]
        values = self.read(row, names)[0]
        old = {name: _encode(value) for name, value in zip(names, values)}
        return {**{name: row[name] for name in ("table", "key", "id", "change")}, "old": old}

    def change(self, row: Row) -> None:
        table, key, ident, change = row["table"], row["key"], row["id"], row["change"]
        where = f"WHERE {self.name(table, key)} = ?"
        if change["kind"] == "delete":
            done = self.database.execute(f"DELETE FROM {databases.quoted(table)} {where}", (ident,))
        else:
            done = self._set(table, change["set"], where, ident)
        if done.rowcount != 1:
            raise OperationError(f"{table} {ident}: {done.rowcount} rows changed instead of one")

    def restore(self, kept: Row) -> str:
        """`restored`, `already`, or `left` when somebody changed it since."""
        # What an older version kept names no key: it knew of `id` alone.
        table, key, ident = kept["table"], kept.get("key", "id"), kept["id"]
        old = {name: _decode(value) for name, value in kept["old"].items()}
        found = self.read(kept, list(old))
        now = dict(zip(old, found[0])) if len(found) == 1 else None
        if kept["change"]["kind"] == "delete":
            if now is not None:
                return "already" if now == old else "left"
            names = ", ".join(self.name(table, name) for name in old)
            marks = ", ".join("?" for _ in old)
            values = [_bound(value) for value in old.values()]
            where = databases.quoted(table)
            self.database.execute(f"INSERT INTO {where} ({names}) VALUES ({marks})", values)
            self._restore_texts(kept, old)
            return "restored"
        wrote = kept["change"]["set"]
        lower = {name.lower(): name for name in old}
        was = {lower[name.lower()]: old[lower[name.lower()]] for name in wrote}
        if now is None:
            return "left"
        if all(_same(now[name], value) for name, value in was.items()):
            return "already"
        if not all(_same(now[lower[name.lower()]], value) for name, value in wrote.items()):
            return "left"
        where = f"WHERE {self.name(table, key)} = ?"
        self._set(table, {name: _bound(value) for name, value in was.items()}, where, ident)
        self._restore_texts(kept, was)
        return "restored"

    def _set(self, table: str, values: Row, where: str, ident: Any) -> sqlite3.Cursor:
        pairs = ", ".join(f"{self.name(table, column)} = ?" for column in values)
        statement = f"UPDATE {databases.quoted(table)} SET {pairs} {where}"
        return self.database.execute(statement, (*values.values(), ident))

    def _restore_texts(self, kept: Row, values: Row) -> None:
        """Text that is not UTF-8 can be bound only as a BLOB: it becomes text again here."""
        table, key, ident = kept["table"], kept.get("key", "id"), kept["id"]
        for name, value in values.items():
            if isinstance(value, databases.Bytes):
                column = self.name(table, name)
                self.database.execute(
                    f"UPDATE {databases.quoted(table)} SET {column} = CAST({column} AS TEXT)"
                    f" WHERE {self.name(table, key)} = ?",
                    (ident,),
                )


def _all_so(path: str, rows: list[Row]) -> bool:
    with databases.opened(path, "mode=ro", databases.READ_BUSY_SECONDS) as database:
        schema = _Schema(database)
        return all(_is_so(schema, row) for row in rows)


def _is_so(schema: _Schema, row: Row) -> bool:
    change = row["change"]
    if change["kind"] == "keep":
        return True
    wrote = change.get("set", {})
    found = schema.read(row, list(wrote))
    if change["kind"] == "delete":
        return not found
    return len(found) == 1 and all(map(_same, found[0], wrote.values()))


def _put_back(path: str, kept: list[Row]) -> tuple[int, list[str]]:
    restored, left = 0, []
    with databases.opened(path, "mode=rw", UNDO_BUSY_SECONDS) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN IMMEDIATE")
        try:
            schema = _Schema(database)
            # Parents were changed last, so they come back first.
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
    return restored, left


def _broken_keys(database: sqlite3.Connection) -> Counter[Tuple[str, str]]:
    found = database.execute("PRAGMA foreign_key_check")
    return Counter((str(row[0]), str(row[2])) for row in found)


def _refuse_left_behind(before: Counter[Tuple[str, str]], after: Counter[Tuple[str, str]]) -> None:
    for (table, parent), count in (after - before).items():
        raise OperationError(
            f"{count} rows of {table} would be left without their row of {parent}; "
            "nothing was changed"
        )


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
    return (numbers or type(one) is type(other)) and bool(one == other)


def _show(value: Any) -> str:
    return "empty" if value is None else repr(value)[:60]


def _encode(value: Any) -> Any:
    """JSON has no bytes; and text that is not UTF-8 must come back as it was."""
    if isinstance(value, databases.Bytes):
        return {"text": base64.b64encode(value).decode("ascii")}
    if isinstance(value, bytes):
        return {"blob": base64.b64encode(value).decode("ascii")}
    return value


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "text" in value:
        return databases.Bytes(base64.b64decode(value["text"]))
    return base64.b64decode(value["blob"])


def _bound(value: Any) -> Any:
    return bytes(value) if isinstance(value, databases.Bytes) else value
