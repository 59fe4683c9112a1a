"""Extracts rows that may need repair, with their ancestors and descendants, as a database.

For one that is too large to be copied whole. A row is judged by all that is above and below it, so
all of that comes along: what is decided on the part is what would be decided on the whole. Which
rows, ties and columns are meant is the plan's: `Extract` in src/model/job-store.ts.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Dict

from celeriac_host.store import sqlite
from celeriac_host.store.copies import forget
from celeriac_host.store.sqlite import quoted
from celeriac_host.system.errors import OperationError

# A table of the extract.
Table = Dict[str, Any]
BATCH = 1000
# Of a table, the most frequent ones; what has more of them, or longer ones, is no status.
STATUSES_LIMIT = 100
STATUS_LENGTH = 100


def extract_to(path: str, target: str, extract: dict[str, Any], limit_bytes: int) -> None:
    """In the child: writes the extract to a file of its own. Raises OperationError."""
    sqlite.read_unchanged(
        path,
        lambda mode: _extract(path, mode, target, extract, limit_bytes),
        lambda: forget(target),
    )


def _extract(path: str, mode: str, target: str, extract: dict[str, Any], limit_bytes: int) -> None:
    """One read transaction: no row is from another moment than its parent."""
    with sqlite.opened(path, mode, sqlite.READ_BUSY_SECONDS) as database:
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute("PRAGMA journal_mode = OFF")
            database.execute("BEGIN")
            counts = _Families(database, extract).gather()
            for at, table in enumerate(extract["tables"]):
                key = f"{quoted(table['id'])} IN temp.k{at}"
                _copy(database, copy, table["table"], None, key, limit_bytes)
            for name, (columns, where) in _bystanders(extract["tables"]).items():
                _copy(database, copy, name, columns, where, limit_bytes)
            _count(database, copy, extract)
            if sqlite.size_of(copy) > limit_bytes:
                raise _TooLarge
        except _TooLarge:
            rows = ", ".join(f"{count} {table}" for table, count in counts.items() if count)
            raise OperationError(
                f"the rows that may need repair are more than {limit_bytes} bytes "
                f"(snapshot-limit): {rows}, with all rows above and below them"
            ) from None
        finally:
            copy.close()


class _TooLarge(Exception):
    pass


class _Families:
    """Tables of ids: first of the suspects, then of all that is above them, then of all below."""

    def __init__(self, database: sqlite3.Connection, extract: dict[str, Any]) -> None:
        self.database = database
        self.most_unknown: int = extract["mostUnknown"]
        self.tables: list[Table] = extract["tables"]
        self.at = {table["table"]: index for index, table in enumerate(self.tables)}

    def gather(self) -> dict[str, int]:
        """Table → how many suspects. The rows wanted are in temp.k0, temp.k1… by then."""
        for index in range(len(self.tables)):
            self.database.execute(f"CREATE TEMP TABLE k{index} (id UNIQUE)")
        for table in self.tables:
            self._suspect(table)
        counts = {
            table["table"]: self.database.execute(f"SELECT count(*) FROM temp.k{at}").fetchone()[0]
            for at, table in enumerate(self.tables)
        }
        for table in reversed(self.tables):
            self._add_own_parents(table)
            self._add_parents(table)
        for table in self.tables:
            self._add_children(table)
            self._add_own_children(table)
        return counts

    def _suspect(self, table: Table) -> None:
        key = quoted(table["id"])
        self._add_any(table, quoted(table["status"]), table["statuses"])
        self._add_any(table, key, table["ids"])
        for status in table["unknown"]:
            some = f"{quoted(table['status'])} = ? LIMIT ?"
            self._add(table, some, [status, self.most_unknown])
        for text in table["beginnings"]:
            # By an index, where LIKE would read the whole table; but any number is below any text.
            among = f"{key} >= ? AND {key} < ? AND substr({key}, 1, ?) = ?"
            self._add(table, among, [text, text + "\U0010ffff", len(text), text])
        for tie in table["orphanedBy"]:
            column, above = quoted(tie["column"]), self.tables[self.at[tie["table"]]]
            there = f"SELECT {quoted(above['id'])} FROM {quoted(above['table'])}"
            known = f"{there} WHERE {quoted(above['id'])} IS NOT NULL"
            self._add(table, f"{column} IS NOT NULL AND {column} NOT IN ({known})", [])

    def _add_any(self, table: Table, column: str, values: list[Any]) -> None:
        marks = ", ".join("?" for _ in values)
        self._add(table, f"{column} IN ({marks})", values)

    def _add(self, table: Table, where: str, values: list[Any]) -> int:
        """How many were not among the wanted yet."""
        added = self.database.execute(
            f"INSERT OR IGNORE INTO temp.k{self.at[table['table']]}"
            f" SELECT {quoted(table['id'])} FROM {quoted(table['table'])}"
            f" WHERE {quoted(table['id'])} IS NOT NULL AND {where}",
            values,
        )
        return added.rowcount

    def _add_parents(self, table: Table) -> None:
        if table["parent"] is None:
            return
        parent = self.tables[self.at[table["parent"]["table"]]]
        column, own = quoted(table["parent"]["column"]), quoted(table["table"])
        named = f"SELECT {column} FROM {own} WHERE {quoted(table['id'])} IN temp.k%d"
        self._add(parent, f"{quoted(parent['id'])} IN ({named % self.at[table['table']]})", [])

    def _add_own_parents(self, table: Table) -> None:
        if table["own"]:
            column, own, key = (
                quoted(name) for name in (table["own"]["column"], table["table"], table["id"])
            )
            named = f"SELECT {column} FROM {own} WHERE {key} IN temp.k{self.at[table['table']]}"
            while self._add(table, f"{key} IN ({named})", []):
                pass

    def _add_own_children(self, table: Table) -> None:
        if table["own"]:
            wanted = f"temp.k{self.at[table['table']]}"
            while self._add(table, f"{quoted(table['own']['column'])} IN {wanted}", []):
                pass

    def _add_children(self, table: Table) -> None:
        if table["parent"] is None:
            return
        above = self.at[table["parent"]["table"]]
        self._add(table, f"{quoted(table['parent']['column'])} IN temp.k{above}", [])


def _bystanders(tables: list[Table]) -> dict[str, tuple[list[str], str]]:
    """Tables that hold no jobs → the columns that are needed, and which rows name wanted ones."""
    found: dict[str, tuple[list[str], str]] = {}
    for at, table in enumerate(tables):
        for tie in table["bystanders"]:
            above, key, to = (quoted(name) for name in (table["table"], table["id"], tie["to"]))
            named = f"SELECT {to} FROM {above} WHERE {key} IN temp.k{at}"
            where = f"{quoted(tie['column'])} IN ({named})"
            columns, before = found.get(tie["table"], ([], ""))
            columns = list(dict.fromkeys([*columns, *tie["columns"]]))
            found[tie["table"]] = columns, f"{before} OR {where}" if before else where
    return found


def _count(database: sqlite3.Connection, copy: sqlite3.Connection, extract: dict[str, Any]) -> None:
    """All rows of each table by status: one that is not copied may be worth a word."""
    counts = quoted(extract["counts"])
    copy.execute(f'CREATE TABLE {counts} ("table" TEXT, status, "rows" INTEGER)')
    for table in extract["tables"]:
        status = quoted(table["status"])
        found = database.execute(
            f"SELECT {status}, count(*) FROM {quoted(table['table'])}"
            f" GROUP BY 1 ORDER BY 2 DESC LIMIT {STATUSES_LIMIT}"
        )
        copy.executemany(
            f"INSERT INTO {counts} VALUES (?, ?, ?)",
            [(table["table"], _short(word), rows) for word, rows in found],
        )


def _short(word: Any) -> Any:
    if isinstance(word, bytes):
        return None
    return word[:STATUS_LENGTH] if isinstance(word, str) else word


def _copy(
    database: sqlite3.Connection,
    copy: sqlite3.Connection,
    table: str,
    wanted: list[str] | None,
    where: str,
    limit_bytes: int,
) -> None:
    """The columns as they are declared; what ties them to tables that are not here is left out."""
    columns = [
        row
        for row in database.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
        if row[6] != 1 and (wanted is None or row[1] in wanted)
    ]
    declared = ", ".join(
        f"{quoted(name)} {kind}{' NOT NULL' if required else ''}"
        for _, name, kind, required, *_ in columns
    )
    names = ", ".join(quoted(row[1]) for row in columns)
    marks = ", ".join("?" for _ in columns)
    copy.execute(f"CREATE TABLE {quoted(table)} ({declared})")
    copy.execute("BEGIN")
    found = database.execute(f"SELECT {names} FROM {quoted(table)} WHERE {where}")
    for rows in iter(lambda: found.fetchmany(BATCH), []):
        copy.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", rows)
        if sqlite.size_of(copy) > limit_bytes:
            raise _TooLarge
    copy.execute("COMMIT")
