"""Compares rows of a SQLite database with the plan, keeps, changes and restores them."""

from __future__ import annotations

import base64
import sqlite3
from typing import Any, Dict, Iterator, NamedTuple

from celeriac_host.store import sqlite
from celeriac_host.store.store import Row, moved_of
from celeriac_host.system.errors import OperationError

# (table below, its column) → value of that column → number of rows with it; None: not counted.
Below = Dict[Any, Dict[Any, Any]]
# The maximum number of values in one statement.
VALUES_AT_ONCE = 500


class _Key(NamedTuple):
    """A foreign key of another table to the one whose row is deleted."""

    table: str
    # Its column, and the one that it names (None: the primary key).
    columns: list[tuple[str, str | None]]
    # Deleting the row changes or deletes its rows; otherwise its rows prevent that.
    acts: bool


class Schema:
    """The tables and columns of the database; no other name is put into SQL."""

    def __init__(self, database: sqlite3.Connection, planned: set[str] | None = None) -> None:
        self.database = database
        # Tables whose rows are changed; children are deleted before their parents.
        self.planned = planned or set()
        self.tables: set[str] = set()
        self._columns: dict[str, list[tuple[str, bool]]] = {}
        self._keys: dict[str, list[_Key]] = {}

    def load(self) -> None:
        names = self.database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = {str(name) for (name,) in names}

    def version(self) -> int:
        return int(self.database.execute("PRAGMA data_version").fetchone()[0])

    def columns(self, table: str) -> list[tuple[str, bool]]:
        """Name, and whether it can be written; a generated column cannot."""
        self._require(table)
        if table not in self._columns:
            found = self.database.execute(f"PRAGMA table_xinfo({sqlite.quoted(table)})")
            self._columns[table] = [(str(row[1]), row[6] == 0) for row in found]
        return self._columns[table]

    def name(self, table: str, column: str) -> str:
        if all(column.lower() != known.lower() for known, _ in self.columns(table)):
            raise OperationError(f"table {table!r} has no column {column!r}")
        return sqlite.quoted(column)

    def read(self, row: Row, columns: list[str]) -> list[tuple[Any, ...]]:
        table, key, ident = row["table"], row["key"], row["id"]
        what = ", ".join(self.name(table, column) for column in columns) or "1"
        where = f"{sqlite.quoted(table)} WHERE {self.name(table, key)} = ?"
        return self.database.execute(f"SELECT {what} FROM {where}", (ident,)).fetchmany(2)

    def difference(self, row: Row, counts: Below) -> str | None:
        """How the row differs from what the plan saw; None if it does not."""
        ident = row["id"]
        columns = list(row["seen"])
        found = self.read(row, columns)
        if not found:
            return "is gone"
        if len(found) > 1:
            return "exists more than once"
        for column, now in zip(columns, found[0]):
            if not same(now, row["seen"][column]):
                return f"changed meanwhile: {column} is now {_show(now)}"
        if row["change"]["kind"] == "delete":
            for key, where in self._held_by(row):
                hangs = f"SELECT EXISTS (SELECT 1 FROM {sqlite.quoted(key.table)} AS c {where})"
                if self.database.execute(hangs, (ident,)).fetchone()[0]:
                    what = (
                        "which would be changed or deleted with it (ON DELETE)"
                        if key.acts
                        else "which refer to it"
                    )
                    return f"has rows of {key.table}, {what}"
        for child in row.get("below", ()):
            count = counts[child["table"], child["column"]].get(ident, 0)
            if count is not None and count != child["rows"]:
                return f"changed meanwhile: it has {count} {child['table']}, not {child['rows']}"
        return None

    def moved(self, row: Row) -> dict[str, Any]:
        """What the columns that differ from what the plan saw hold now."""
        columns = list(row["seen"])
        found = self.read(row, columns)
        if len(found) != 1:
            return {}
        return moved_of(
            {
                column: now
                for column, now in zip(columns, found[0])
                if not same(now, row["seen"][column])
            }
        )

    def _held_by(self, row: Row) -> Iterator[tuple[_Key, str]]:
        """Foreign keys unknown to the plan whose rows are deleted with it, or prevent that."""
        below = {(each["table"], each["column"]) for each in row.get("below", ())}
        own, name = row["table"], self.name(row["table"], row["key"])
        if own not in self._keys:
            self._keys[own] = self._find_keys(own)
        for key in self._keys[own]:
            if len(key.columns) == 1 and (key.table, key.columns[0][0]) in below:
                continue
            ties = " AND ".join(
                f"c.{sqlite.quoted(column)} = t.{sqlite.quoted(to)}"
                if to
                else f"c.{sqlite.quoted(column)} = t.{name}"
                for column, to in key.columns
            )
            yield key, f"JOIN {sqlite.quoted(own)} AS t ON {ties} WHERE t.{name} = ?"

    def _find_keys(self, own: str) -> list[_Key]:
        found = []
        for table in self.tables:
            keys: dict[int, list[tuple[str, str | None]]] = {}
            acting = set()
            listed = self.database.execute(f"PRAGMA foreign_key_list({sqlite.quoted(table)})")
            for number, _, parent, column, to, _, on_delete, _ in listed.fetchall():
                acts = on_delete not in ("NO ACTION", "RESTRICT")
                if parent.lower() == own.lower() and (acts or table not in self.planned):
                    keys.setdefault(number, []).append((column, to))
                    acting.update([number] if acts else [])
            found += [_Key(table, columns, number in acting) for number, columns in keys.items()]
        return found

    def newest(self, rows: list[Row]) -> dict[str, int]:
        found = {}
        for table, _ in _ties(rows):
            self._require(table)
            try:
                asked = self.database.execute(f"SELECT max(rowid) FROM {sqlite.quoted(table)}")
                found[table] = int(asked.fetchone()[0] or 0)
            except sqlite3.OperationalError:
                pass  # WITHOUT ROWID
        return found

    def count_below(self, rows: list[Row]) -> Below:
        """One query for all rows: without an index each count reads the whole table."""
        return {tie: self._count(tie, idents) for tie, idents in _ties(rows).items()}

    def count_new_below(self, rows: list[Row], newest: dict[str, int]) -> Below:
        """The same, under the lock. Without an index only new rows are counted.

        The older ones are among the rows that are compared one by one.
        """
        found: Below = {}
        for tie, idents in _ties(rows).items():
            table, _ = tie
            if table not in newest or self._has_index(*tie):
                found[tie] = self._count(tie, idents)
                continue
            added = self._count(tie, idents, f" AND rowid > {newest[table]}")
            expected = _expected(rows, tie)
            found[tie] = {ident: expected[ident] + added.get(ident, 0) for ident in expected}
        return found

    def _count(self, tie: tuple[str, str], idents: list[Any], more: str = "") -> dict[Any, Any]:
        table, column = tie
        self._require(table)
        name = self.name(table, column)
        found: dict[Any, Any] = {}
        for start in range(0, len(idents), VALUES_AT_ONCE):
            some = idents[start : start + VALUES_AT_ONCE]
            marks = ", ".join("?" for _ in some)
            where = f"{name} IN ({marks}){more}"
            asked = self.database.execute(
                f"SELECT {name}, count(*) FROM {sqlite.quoted(table)} WHERE {where} GROUP BY 1",
                some,
            )
            found.update(dict(asked.fetchall()))
        return found

    def _has_index(self, table: str, column: str) -> bool:
        listed = self.database.execute(f"PRAGMA index_list({sqlite.quoted(table)})").fetchall()
        for index in listed:
            info = f"PRAGMA index_info({sqlite.quoted(str(index[1]))})"
            first = self.database.execute(info).fetchone()
            if first is not None and str(first[2]).lower() == column.lower():
                return True
        return False

    def _require(self, table: str) -> None:
        if table not in self.tables:
            raise OperationError(
                f"table {table!r} does not exist: the schema changed after the plan was made"
            )

    def keep(self, row: Row) -> Row:
        """What an undo needs: the whole row as it is."""
        names = [name for name, given in self.columns(row["table"]) if given]
        values = self.read(row, names)[0]
        old = {name: _encode(value) for name, value in zip(names, values)}
        told = {name: row[name] for name in ("table", "key", "id", "group", "change")}
        return {**told, **({"reset": row["reset"]} if "reset" in row else {}), "old": old}

    def change(self, row: Row) -> None:
        table, key, ident, change = row["table"], row["key"], row["id"], row["change"]
        where = f"WHERE {self.name(table, key)} = ?"
        if change["kind"] == "delete":
            done = self.database.execute(f"DELETE FROM {sqlite.quoted(table)} {where}", (ident,))
        else:
            done = self._set(table, change["set"], where, ident)
        if done.rowcount != 1:
            raise OperationError(f"{table} {ident}: changed {done.rowcount} rows instead of one")

    def restore(self, kept: Row) -> str:
        """`restored`, `already` restored, or `left` because it changed since."""
        # Rows kept by the first releases have no key: it was always `id`.
        kept = {"key": "id", **kept}
        table, key, ident = kept["table"], kept["key"], kept["id"]
        old = {name: _decode(value) for name, value in kept["old"].items()}
        found = self.read(kept, list(old))
        now = dict(zip(old, found[0])) if len(found) == 1 else None
        if kept["change"]["kind"] == "delete":
            if now is not None:
                return "already" if now == old else "left"
            names = ", ".join(self.name(table, name) for name in old)
            marks = ", ".join("?" for _ in old)
            values = [_bound(value) for value in old.values()]
            where = sqlite.quoted(table)
            self.database.execute(f"INSERT INTO {where} ({names}) VALUES ({marks})", values)
            self._restore_texts(kept, old)
            return "restored"
        wrote = kept["change"]["set"]
        lower = {name.lower(): name for name in old}
        was = {lower[name.lower()]: old[lower[name.lower()]] for name in wrote}
        if now is None:
            return "left"
        if all(same(now[name], value) for name, value in was.items()):
            return "already"
        if not all(same(now[lower[name.lower()]], value) for name, value in wrote.items()):
            return "left"
        where = f"WHERE {self.name(table, key)} = ?"
        self._set(table, {name: _bound(value) for name, value in was.items()}, where, ident)
        self._restore_texts(kept, was)
        return "restored"

    def _set(self, table: str, values: Row, where: str, ident: Any) -> sqlite3.Cursor:
        pairs = ", ".join(f"{self.name(table, column)} = ?" for column in values)
        statement = f"UPDATE {sqlite.quoted(table)} SET {pairs} {where}"
        return self.database.execute(statement, (*values.values(), ident))

    def _restore_texts(self, kept: Row, values: Row) -> None:
        """Casts text that is not UTF-8, which can be bound only as a BLOB, back to text."""
        table, key, ident = kept["table"], kept["key"], kept["id"]
        for name, value in values.items():
            if isinstance(value, sqlite.Bytes):
                column = self.name(table, name)
                self.database.execute(
                    f"UPDATE {sqlite.quoted(table)} SET {column} = CAST({column} AS TEXT)"
                    f" WHERE {self.name(table, key)} = ?",
                    (ident,),
                )


def _ties(rows: list[Row]) -> dict[tuple[str, str], list[Any]]:
    """(table below, its column) → the rows above."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        for child in row.get("below", ()):
            found.setdefault((child["table"], child["column"]), []).append(row["id"])
    return found


def _expected(rows: list[Row], tie: tuple[str, str]) -> dict[Any, int]:
    return {
        row["id"]: child["rows"]
        for row in rows
        for child in row.get("below", ())
        if (child["table"], child["column"]) == tie
    }


def same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
    return (numbers or type(one) is type(other)) and bool(one == other)


def _show(value: Any) -> str:
    return "empty" if value is None else repr(value)[:60]


def _encode(value: Any) -> Any:
    """JSON has no bytes, and text that is not UTF-8 must be restored exactly."""
    if isinstance(value, sqlite.Bytes):
        return {"text": base64.b64encode(value).decode("ascii")}
    if isinstance(value, bytes):
        return {"blob": base64.b64encode(value).decode("ascii")}
    return value


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "text" in value:
        return sqlite.Bytes(base64.b64decode(value["text"]))
    return base64.b64decode(value["blob"])


def _bound(value: Any) -> Any:
    return bytes(value) if isinstance(value, sqlite.Bytes) else value
