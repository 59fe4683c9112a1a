"""Rows of a job database changed in one transaction, only where they are as seen.

Touches: those rows; /var/lib/celeriac/resets.json.
Undo: each row as it was, unless somebody changed it since.
"""

from __future__ import annotations

import base64
import sqlite3
import time
from collections import Counter
from typing import Any, Dict, Iterator, List, NamedTuple

from celeriac_host.facts import tasks
from celeriac_host.state.journal import StepJournal
from celeriac_host.store import postgres, postgres_repair, resets, sqlite
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

UNDO_BUSY_SECONDS = 30.0

Row = Dict[str, Any]
Skipped = List[Dict[str, Any]]


def check(args: dict[str, Any], host: System) -> bool:
    """Whether every row is already what it is to become."""
    path, rows = args["database"], args["rows"]
    if postgres.is_url(path):
        return postgres_repair.is_so(_place(args, host), rows)
    return bool(sqlite.ask(path, host, lambda: _all_so(path, rows)))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path = args["database"]
    alive = _look_again(args, host)
    if postgres.is_url(path):
        result = _change_postgres(args, host, journal, alive)
    else:
        result = _change_sqlite(args, host, journal, alive)
    _count_resets(host, journal, path)
    left = f", {len(result['skipped'])} left alone" if result["skipped"] else ""
    done = f"{result['updated']} updated, {result['deleted']} deleted{left} in {path}"
    return done, result


def _change_postgres(
    args: dict[str, Any], host: System, journal: StepJournal, alive: dict[str, str]
) -> dict[str, Any]:
    place = _place(args, host)
    taken, skipped = postgres_repair.see(place, args["rows"], alive)
    journal.keep("rows", taken)
    groups = {row["group"] for row in taken}
    rows = [row for row in args["rows"] if row["group"] in groups]
    if not rows:
        nothing = {"changed": 0, "updated": 0, "deleted": 0, "lockedSeconds": 0.0}
        return {**nothing, "skipped": skipped}
    result, left = postgres_repair.change(place, rows)
    if left:
        # They were not touched: whoever undoes this compares them, and finds them so.
        journal.keep("left", left)
    return {**result, "skipped": [*skipped, *result["skipped"]]}


def _place(args: dict[str, Any], host: System, busy: float | None = None) -> postgres_repair.Place:
    seconds = args["busyTimeoutSeconds"] if busy is None else busy
    return postgres_repair.Place(host, args["unit"], args["database"], seconds)


def _change_sqlite(
    args: dict[str, Any], host: System, journal: StepJournal, alive: dict[str, str]
) -> dict[str, Any]:
    path, rows = args["database"], args["rows"]
    work = _Repair(path, rows, alive, args["busyTimeoutSeconds"]).work
    with sqlite.as_owner(path, host, work) as child:
        # Nothing is locked yet: it waits until the rows as they were are on the disk.
        journal.keep("rows", child.receive())
        try:
            return _let_go(child, journal)
        except sqlite.NoAnswer:
            raise
        except OperationError:
            journal.keep("unchanged", True)
            raise


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    counted = journal.get("resets")
    if counted and journal.get("resetsUndone") is None:
        journal.keep("resetsUndone", True)
        resets.count(host.state, args["database"], counted, -1)
    kept = _touched(journal)
    if not kept or journal.get("unchanged"):
        return None
    path = args["database"]
    if postgres.is_url(path):
        place = _place(args, host, UNDO_BUSY_SECONDS)
        restored, left = postgres_repair.put_back(place, kept)
    else:
        restored, left = sqlite.ask(path, host, lambda: _put_back(path, kept))
    if left:
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        return f"{restored} rows of {path} restored; changed since, so left as they are: {names}"
    return f"{restored} rows of {path} restored"


def _let_go(child: sqlite.Conversation, journal: StepJournal) -> dict[str, Any]:
    child.send("go")
    said: dict[str, Any] = child.receive()
    if "leave" in said:
        # Those moved just now; whoever undoes this must not take them for ours.
        journal.keep("left", said["leave"])
        child.send("go")
        said = child.receive()
    return said


def _touched(journal: StepJournal) -> list[Row]:
    left = set(journal.get("left", ()))
    return [row for row in journal.get("rows") or () if row.get("group") not in left]


def _look_again(args: dict[str, Any], host: System) -> dict[str, str]:
    """Group → why it lives after all. Raises OperationError when that can't be told."""
    again = args.get("lookAgain")
    if not again:
        return {}
    found = tasks.look({**again, "ids": [each["task"] for each in again["tasks"]]}, host)
    if found["kind"] == "unknown":
        raise OperationError(f"{found['problem']}; nothing was changed")
    held, owed = set(found["held"]), set(found["owed"])
    alive: dict[str, str] = {}
    for each in again["tasks"]:
        if each["task"] in held:
            alive[each["group"]] = f"lives: a worker holds task {each['task']}"
        elif each["task"] in owed:
            alive.setdefault(each["group"], f"lives: task {each['task']} waits in the broker")
    return alive


def _count_resets(host: System, journal: StepJournal, path: str) -> None:
    rows = [f"{row['table']}:{row['id']}" for row in _touched(journal) if row.get("reset")]
    if rows and journal.get("resets") is None:
        journal.keep("resets", rows)
        resets.count(host.state, path, rows, 1)


class _Seen(NamedTuple):
    """What the comparison without a lock found."""

    taken: list[Row]
    skipped: Skipped
    # As PRAGMA data_version tells it: another one means that somebody wrote since.
    version: int
    # Table → its largest rowid, where it has one.
    newest: dict[str, int]


class _Repair:
    """What the child does, as the owner of the file."""

    def __init__(
        self, path: str, rows: list[Row], alive: dict[str, str], busy_seconds: float
    ) -> None:
        self.path = path
        self.rows = rows
        self.alive = alive
        self.busy_seconds = busy_seconds

    def work(self, channel: sqlite.Channel) -> dict[str, Any]:
        """All that takes time is done before the lock: reading, and keeping what was read."""
        with sqlite.opened(self.path, "mode=rw", self.busy_seconds) as database:
            database.execute("PRAGMA foreign_keys = ON")
            schema = _Schema(database, {row["table"] for row in self.rows})
            seen, kept = self._see(schema)
            channel.send({"value": kept})
            if channel.receive() != "go":
                raise OperationError("the rows as they were could not be kept")
            if not seen.taken:
                return _result([], seen.skipped, 0.0)
            return self._change(schema, seen, channel)

    def _see(self, schema: _Schema) -> tuple[_Seen, list[Row]]:
        schema.database.execute("BEGIN")
        try:
            # The first read of it begins the snapshot.
            schema.load()
            version = schema.version()
            newest = schema.newest(self.rows)
            taken, skipped = self._compare(schema, self.rows, schema.count_below(self.rows))
            return _Seen(taken, skipped, version, newest), [schema.keep(row) for row in taken]
        finally:
            schema.database.execute("ROLLBACK")

    def _change(self, schema: _Schema, seen: _Seen, channel: sqlite.Channel) -> dict[str, Any]:
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
                        raise OperationError("what was left alone could not be kept")
            for row in taken:
                schema.change(row)
            database.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            database.execute("ROLLBACK")
            raise OperationError(f"the database refuses it: {error}; nothing was changed") from None
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return _result(taken, skipped, time.monotonic() - locked_at)

    def _compare(
        self, schema: _Schema, rows: list[Row], counts: Below
    ) -> tuple[list[Row], Skipped]:
        """The rows to change, in their order; and those of groups in which one is not as seen."""
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
            skipped.append(
                {"table": row["table"], "id": row["id"], "group": row["group"], "why": why}
            )
        return taken, skipped


def _result(taken: list[Row], skipped: Skipped, locked_seconds: float) -> dict[str, Any]:
    counts = Counter(row["change"]["kind"] for row in taken)
    return {
        "changed": counts["update"] + counts["delete"],
        "updated": counts["update"],
        "deleted": counts["delete"],
        "skipped": skipped,
        "lockedSeconds": round(locked_seconds, 6),
    }


# (table below, its column) → the value of that column → how many rows have it, where that could be
# counted; None: it was not.
Below = Dict[Any, Dict[Any, Any]]
# A statement holds so many values.
VALUES_AT_ONCE = 500


class _Key(NamedTuple):
    """A foreign key of another table to the one whose row is deleted."""

    table: str
    # Its column, and the one that it names (None: the primary key).
    columns: list[tuple[str, str | None]]
    # It changes or deletes the rows that have it; else it keeps what they name.
    acts: bool


class _Schema:
    """The database's own tables and columns: no name reaches SQL that is not one of them."""

    def __init__(self, database: sqlite3.Connection, planned: set[str] | None = None) -> None:
        self.database = database
        # Tables whose rows are changed: those below go before what is above them.
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
        """Name, and whether a value can be given to it (not to a generated one)."""
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
        """Why the row is not as seen; None when it is."""
        ident = row["id"]
        columns = list(row["seen"])
        found = self.read(row, columns)
        if not found:
            return "is gone"
        if len(found) > 1:
            return "is there more than once"
        for column, now in zip(columns, found[0]):
            if not _same(now, row["seen"][column]):
                return f"changed meanwhile: {column} is now {_show(now)}"
        if row["change"]["kind"] == "delete":
            for key, where in self._held_by(row):
                hangs = f"SELECT EXISTS (SELECT 1 FROM {sqlite.quoted(key.table)} AS c {where})"
                if self.database.execute(hangs, (ident,)).fetchone()[0]:
                    what = "which would go with it (ON DELETE)" if key.acts else "which name it"
                    return f"has rows of {key.table}, {what}"
        for child in row.get("below", ()):
            count = counts[child["table"], child["column"]].get(ident, 0)
            if count is not None and count != child["rows"]:
                return f"changed meanwhile: it has {count} {child['table']}, not {child['rows']}"
        return None

    def _held_by(self, row: Row) -> Iterator[tuple[_Key, str]]:
        """Foreign keys, beside those of the plan, by which rows go with it or keep it."""
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
        """Once for all rows: without an index each count would read the whole table."""
        return {tie: self._count(tie, idents) for tie, idents in _ties(rows).items()}

    def count_new_below(self, rows: list[Row], newest: dict[str, int]) -> Below:
        """The same, under the lock. Where no index makes it cheap, only rows that are new count.

        Those that were there are among the rows that are compared one by one.
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
            raise OperationError(f"there is no table {table!r}; the plan was made from another")

    def keep(self, row: Row) -> Row:
        """What undo needs of it: the whole row as it is."""
        names = [name for name, given in self.columns(row["table"]) if given]
        values = self.read(row, names)[0]
        old = {name: _encode(value) for name, value in zip(names, values)}
        told = {name: row[name] for name in ("table", "key", "id", "group", "change")}
        return {**told, **({"reset": True} if row.get("reset") else {}), "old": old}

    def change(self, row: Row) -> None:
        table, key, ident, change = row["table"], row["key"], row["id"], row["change"]
        where = f"WHERE {self.name(table, key)} = ?"
        if change["kind"] == "delete":
            done = self.database.execute(f"DELETE FROM {sqlite.quoted(table)} {where}", (ident,))
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
            where = sqlite.quoted(table)
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
        statement = f"UPDATE {sqlite.quoted(table)} SET {pairs} {where}"
        return self.database.execute(statement, (*values.values(), ident))

    def _restore_texts(self, kept: Row, values: Row) -> None:
        """Text that is not UTF-8 can be bound only as a BLOB: it becomes text again here."""
        table, key, ident = kept["table"], kept.get("key", "id"), kept["id"]
        for name, value in values.items():
            if isinstance(value, sqlite.Bytes):
                column = self.name(table, name)
                self.database.execute(
                    f"UPDATE {sqlite.quoted(table)} SET {column} = CAST({column} AS TEXT)"
                    f" WHERE {self.name(table, key)} = ?",
                    (ident,),
                )


def _all_so(path: str, rows: list[Row]) -> bool:
    with sqlite.opened(path, "mode=ro", sqlite.READ_BUSY_SECONDS) as database:
        schema = _Schema(database)
        schema.load()
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
    with sqlite.opened(path, "mode=rw", UNDO_BUSY_SECONDS) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN IMMEDIATE")
        try:
            schema = _Schema(database)
            schema.load()
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


def _same(one: Any, other: Any) -> bool:
    numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
    return (numbers or type(one) is type(other)) and bool(one == other)


def _show(value: Any) -> str:
    return "empty" if value is None else repr(value)[:60]


def _encode(value: Any) -> Any:
    """JSON has no bytes; and text that is not UTF-8 must come back as it was."""
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
