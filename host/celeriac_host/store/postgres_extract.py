"""Extracts rows of a PostgreSQL database that may need repair, with all related, as a SQLite file.

One statement is one snapshot: no row is from another moment than its parent. What comes along is
what `sqlite_extract` takes of a SQLite database: the rows that the plan's `Extract` asks for.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from typing import Any, BinaryIO, Dict, Iterator

from celeriac_host.store import postgres, sqlite
from celeriac_host.store.copies import folder_for_copy
from celeriac_host.store.postgres import quoted, text
from celeriac_host.store.sqlite_extract import STATUSES_LIMIT
from celeriac_host.system.errors import OperationError

# A table of the extract, or a tie of one.
Table = Dict[str, Any]
BATCH = 1000
BATCH_BYTES = 4 * 1024 * 1024
# In JSON the same rows may be so many times as large.
JSON_FACTOR = 8


@contextmanager
def extracted(
    session: postgres.Session, extract: dict[str, Any], limit_bytes: int
) -> Iterator[BinaryIO]:
    """The SQLite file, removed after the block. Raises OperationError."""
    with folder_for_copy(0) as folder:
        target = os.path.join(folder, "copy.db")
        Extract(session, extract, limit_bytes).write(target)
        with open(target, "rb") as file:
            yield file


class Extract:
    def __init__(
        self, session: postgres.Session, extract: dict[str, Any], limit_bytes: int
    ) -> None:
        self.session = session
        self.url = session.url
        self.extract = extract
        self.limit_bytes = limit_bytes
        self.tables: list[Table] = extract["tables"]
        self.at = {table["table"]: index for index, table in enumerate(self.tables)}
        self.bystanders = _bystanders(self.tables)
        # The tables of the copy with their columns, in the order in which rows name them.
        self.copied = [(table["table"], table["columns"]) for table in self.tables]
        self.copied += [(name, columns) for name, (columns, _) in self.bystanders.items()]
        self.copied.append((extract["counts"], ["table", "status", "rows"]))

    def write(self, target: str) -> None:
        copy = sqlite3.connect(target, isolation_level=None)
        unsaved: list[list[tuple[Any, ...]]] = [[] for _ in self.copied]
        sizes = [0] * len(self.copied)

        def save(index: int) -> None:
            name, columns = self.copied[index]
            marks = ", ".join("?" for _ in columns)
            into = sqlite.quoted(name)
            copy.executemany(f"INSERT INTO {into} VALUES ({marks})", unsaved[index])
            unsaved[index].clear()
            sizes[index] = 0
            if sqlite.size_of(copy) > self.limit_bytes:
                raise OperationError(
                    f"the rows of {self.url} that may need repair, with all rows above and "
                    f"below them, are more than {self.limit_bytes} bytes (snapshot-limit)"
                )

        def take(row: Any) -> None:
            index, values = row
            row = tuple(_plain(value) for value in values)
            unsaved[index].append(row)
            sizes[index] += sum(len(value) for value in row if isinstance(value, (str, bytes)))
            if len(unsaved[index]) >= BATCH or sizes[index] >= BATCH_BYTES:
                save(index)

        try:
            copy.execute("PRAGMA synchronous = OFF")
            for name, columns in self.copied:
                # Without types: each value keeps its own.
                names = ", ".join(map(sqlite.quoted, columns))
                copy.execute(f"CREATE TABLE {sqlite.quoted(name)} ({names})")
            copy.execute("BEGIN")
            most = postgres.MOST_BYTES + JSON_FACTOR * self.limit_bytes
            postgres.stream(self.session, self.script(), take, most_bytes=most)
            for index in range(len(self.copied)):
                save(index)
            copy.execute("COMMIT")
        finally:
            copy.close()

    def script(self) -> str:
        parts = []
        for index, table in enumerate(self.tables):
            parts.append(f"s{index} AS ({self._suspects(table)})")
        for index in reversed(range(len(self.tables))):
            parts.append(f"u{index} AS ({self._with_parents(index)})")
        for index, table in enumerate(self.tables):
            parts.append(f"d{index} AS ({self._with_children(index, table)})")
        selects = [self._rows(index) for index in range(len(self.tables))]
        for at, (name, (columns, where)) in enumerate(self.bystanders.items()):
            values = ", ".join(f"c.{quoted(column)}" for column in columns)
            selects.append(
                f"SELECT json_build_array({len(self.tables) + at}, json_build_array({values}))"
                f" FROM {quoted(name)} c WHERE {where}"
            )
        selects += [self._counts(table) for table in self.tables]
        rows = " UNION ALL ".join(selects)
        return (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
            f"WITH RECURSIVE {', '.join(parts)} {rows};\nCOMMIT;"
        )

    def _suspects(self, table: Table) -> str:
        own, key, status = (quoted(table[name]) for name in ("table", "id", "status"))
        wheres = [
            _is_orphan(tie, self.tables[self.at[tie["table"]]]) for tie in table["orphanedBy"]
        ]
        # An index can find text as stored, but not the words of an enum.
        wheres += _is_any(f"t.{status}", table["statuses"])
        wheres += _is_any(f"t.{key}", table["ids"])
        for begin in table["beginnings"]:
            wheres.append(f"left(t.{key}::text, {len(begin)}) = {text(begin)}")
        ids = f"SELECT t.{key} AS id FROM {own} t"
        found = [f"{ids} WHERE {where}" for where in wheres or ["false"]]
        most = int(self.extract["mostUnknown"])
        for word in table["unknown"]:
            found.append(f"({ids} WHERE t.{status}::text = {text(word)} LIMIT {most})")
        # Apart, so that each may have its index.
        return " UNION ".join(found)

    def _with_parents(self, index: int) -> str:
        found = [f"SELECT id FROM s{index}"]
        upper = self.tables[index]
        for below, table in enumerate(self.tables):
            if table["parent"] and table["parent"]["table"] == upper["table"]:
                found.append(_parents(table, table["parent"], upper, f"u{below}"))
        base = " UNION ".join(found)
        if not upper["own"]:
            return base
        return f"({base}) UNION {_parents(upper, upper['own'], upper, f'u{index}')}"

    def _with_children(self, index: int, table: Table) -> str:
        found = [f"SELECT id FROM u{index}"]
        if table["parent"]:
            above = self.at[table["parent"]["table"]]
            found.append(_children(table, table["parent"], f"d{above}"))
        base = " UNION ".join(found)
        if not table["own"]:
            return base
        return f"({base}) UNION {_children(table, table['own'], f'd{index}')}"

    def _counts(self, table: Table) -> str:
        """All its rows by status: one that is not copied may be worth a word."""
        # As JSON, a status of any type can be grouped.
        words = f"SELECT to_jsonb(t.{quoted(table['status'])}) AS s, count(*) AS n"
        some = f"{words} FROM {quoted(table['table'])} t GROUP BY 1 ORDER BY 2 DESC"
        values = f"{text(table['table'])}, s, n"
        return (
            f"SELECT json_build_array({len(self.copied) - 1}, json_build_array({values}))"
            f" FROM ({some} LIMIT {STATUSES_LIMIT}) g"
        )

    def _rows(self, index: int) -> str:
        table = self.tables[index]
        values = ", ".join(f"t.{quoted(name)}" for name in table["columns"])
        where = f"t.{quoted(table['id'])} IN (SELECT id FROM d{index})"
        return (
            f"SELECT json_build_array({index}, json_build_array({values}))"
            f" FROM {quoted(table['table'])} t WHERE {where}"
        )


def _bystanders(tables: list[Table]) -> dict[str, tuple[list[str], str]]:
    """Tables that hold no jobs → the columns that are needed, and which rows name wanted ones."""
    found: dict[str, tuple[list[str], str]] = {}
    for at, table in enumerate(tables):
        for tie in table["bystanders"]:
            cast = "" if tie["foreignKey"] else "::text"
            same = f"p.{quoted(tie['to'])}{cast} = c.{quoted(tie['column'])}{cast}"
            wanted = f"p.{quoted(table['id'])} IN (SELECT id FROM d{at})"
            above = f"SELECT 1 FROM {quoted(table['table'])} p WHERE {same} AND {wanted}"
            columns, before = found.get(tie["table"], ([], ""))
            columns = list(dict.fromkeys([*columns, *tie["columns"]]))
            where = f"EXISTS ({above})"
            found[tie["table"]] = columns, f"{before} OR {where}" if before else where
    return found


def _is_any(column: str, values: list[Any]) -> list[str]:
    texts = dict.fromkeys(str(value) for value in values)
    return [f"{column}::text IN ({postgres.names(texts)})"] if texts else []


# A foreign key ties columns of one kind; a name alone may not: then both are compared as text.


def _is_orphan(tie: Table, parent: Table) -> str:
    column, cast = quoted(tie["column"]), "" if tie["foreignKey"] else "::text"
    there = f"SELECT 1 FROM {quoted(parent['table'])} p"
    same = f"p.{quoted(parent['id'])}{cast} = t.{column}{cast}"
    return f"(t.{column} IS NOT NULL AND NOT EXISTS ({there} WHERE {same}))"


def _parents(table: Table, tie: Table, upper: Table, wanted: str) -> str:
    """The ids of the rows above those of `table` that are in a part of the statement."""
    own, column, key = quoted(table["table"]), quoted(tie["column"]), quoted(table["id"])
    named = f"FROM {own} c JOIN {wanted} w ON c.{key} = w.id"
    if tie["foreignKey"]:
        return f"SELECT c.{column} AS id {named} WHERE c.{column} IS NOT NULL"
    above = quoted(upper["id"])
    joined = f"JOIN {quoted(upper['table'])} p ON p.{above}::text = c.{column}::text"
    return f"SELECT p.{above} AS id {named} {joined}"


def _children(table: Table, tie: Table, wanted: str) -> str:
    own, column, key = quoted(table["table"]), quoted(tie["column"]), quoted(table["id"])
    cast = "" if tie["foreignKey"] else "::text"
    joined = f"JOIN {wanted} w ON c.{column}{cast} = w.id{cast}"
    return f"SELECT c.{key} AS id FROM {own} c {joined}"


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return json.dumps(value) if isinstance(value, (dict, list)) else value
