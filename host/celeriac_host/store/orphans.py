"""Rows that stay "processing" although no worker runs, and what becomes of each.

Only the host can find them, while no worker runs. The plan defines for each table what counts and
what is written: `SettledTable` in src/model/job-store.ts. repair-jobs writes the rows, and compares
each with what was seen here.
"""

from __future__ import annotations

import datetime
import json
import math
import sqlite3
from collections import Counter
from typing import Any, Dict, Iterator, NamedTuple

from celeriac_host.store import sqlite
from celeriac_host.store.sqlite import quoted

# A table as the plan describes it.
Table = Dict[str, Any]


class Candidate(NamedTuple):
    """A row that a task was working on."""

    table: str
    ident: Any
    task: str


def find(path: str, tables: list[Table]) -> list[Candidate]:
    """In the child, as the owner: rows that a task is working on, without rows below.

    A row with others below it depends on them: it has no task that runs as long as it does.
    """
    with sqlite.opened(path, "mode=ro", sqlite.READ_BUSY_SECONDS) as database:
        found = []
        for table in tables:
            if table["task"] is None:
                continue
            own, task = quoted(table["table"]), quoted(table["task"])
            below = " ".join(
                f"AND NOT EXISTS (SELECT 1 FROM {quoted(other['table'])} AS below"
                f" WHERE below.{quoted(column)} = above.{quoted(table['id'])}"
                f"{_not_itself(other, table)})"
                for other, column in _below(table, tables)
            )
            rows = database.execute(
                f"SELECT {quoted(table['id'])}, {task} FROM {own} AS above"
                f" WHERE {quoted(table['status'])} IN ({_marks(table['working'])})"
                f" AND {task} IS NOT NULL {below}",
                table["working"],
            )
            for ident, value in rows:
                if isinstance(ident, (int, str)) and isinstance(value, str) and value:
                    found.append(Candidate(table["table"], ident, value))
        return found


def plan(
    path: str, rules: dict[str, Any], orphans: list[Candidate], now: float
) -> list[dict[str, Any]]:
    """In the child: the changes for repair-jobs, children before parents.

    It makes them in a transaction that is rolled back, so that the database itself counts for the
    rows above. `rules`: the arguments of settle-jobs.
    """
    with sqlite.opened(path, "mode=rw", sqlite.READ_BUSY_SECONDS) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            return _Trial(database, rules, now).run(orphans)
        finally:
            database.execute("ROLLBACK")


class _Trial:
    def __init__(self, database: sqlite3.Connection, rules: dict[str, Any], now: float) -> None:
        self.database = database
        self.all: list[Table] = rules["tables"]
        self.tables = {table["table"]: table for table in self.all}
        self.resets = rules["action"] == "reset"
        self.message: str = rules["message"]
        self.end_message: str = rules["endMessage"]
        self.end_of_table: str = rules["endOfTable"]
        self.now = now
        self.changes: dict[tuple[str, Any], dict[str, Any]] = {}

    def run(self, orphans: list[Candidate]) -> list[dict[str, Any]]:
        for each in orphans:
            table = self.tables[each.table]
            self._settle(table, each.ident, table["becomes"], self.message)
        for each in orphans:
            self._settle_above(self.tables[each.table], each.ident)
        for name, ident in list(self.changes):
            for above, upper in self._ancestors(self.tables[name], ident):
                self._count_again(above, upper, name)
        depth = {name: at for at, name in enumerate(self.tables)}
        ordered = sorted(self.changes.items(), key=lambda each: -depth[each[0][0]])
        return [change for _, change in ordered]

    def _settle(self, table: Table, ident: Any, becomes: str, message: str) -> None:
        values: dict[str, Any] = {}
        for write in table["writes"][becomes]:
            column = write["column"]
            if "now" in write:
                values[column] = written(self.now, write["now"])
            elif "message" not in write:
                values[column] = write["value"]
            elif message:
                before = self._values(table, ident, [column])[column]
                said = isinstance(before, str) and before
                values[column] = message + (write["message"]["before"] + before if said else "")
        self._change(table, ident, values)

    def _settle_above(self, table: Table, ident: Any) -> None:
        """Ends each parent whose children have all ended, with the status of its children.

        A reset includes only a mirror: a parent without a foreign key whose only child this is.
        """
        for above, upper in self._ancestors(table, ident):
            if (
                self._values(above, upper, [above["status"]])[above["status"]]
                not in above["working"]
            ):
                return
            below = list(self._children(above, upper))
            if self.resets:
                if above is table or table["parent"]["foreignKey"] or len(below) != 1:
                    return
                self._settle(above, upper, above["becomes"], "")
            else:
                if any(status not in child["ended"] for child, status in below):
                    return
                if self._expects(above, upper) or self._waits_for_others(above, upper):
                    return
                all_completed = all(status in child["completed"] for child, status in below)
                ends = "all" if all_completed else "some" if _any_completed(below) else "none"
                message = "" if all_completed else self._tell(below)
                self._settle(above, upper, above["endsAs"][ends], message)
                self._count_all(above, upper)
            table = above

    def _tell(self, below: list[tuple[Table, str]]) -> str:
        ends = []
        for table in {child["table"]: child for child, _ in below}.values():
            statuses = [status for child, status in below if child is table]
            failed = sum(status in table["failed"] for status in statuses)
            counts = {"failed": failed, "rows": len(statuses), "table": table["table"]}
            ends.append(_filled(self.end_of_table, counts))
        return _filled(self.end_message, {"ends": ", ".join(ends)})

    def _change(self, table: Table, ident: Any, values: dict[str, Any]) -> None:
        key = (table["table"], ident)
        if key not in self.changes:
            self.changes[key] = {
                "table": table["table"],
                "key": table["id"],
                "id": ident,
                "group": self._group(table, ident),
                "seen": self._seen(table, ident),
                "below": self._counts_below(table, ident),
                "change": {"kind": "update", "set": {}},
            }
        self.changes[key]["change"]["set"].update(values)
        pairs = ", ".join(f"{quoted(column)} = ?" for column in values)
        where = f"WHERE {quoted(table['id'])} = ?"
        statement = f"UPDATE {quoted(table['table'])} SET {pairs} {where}"
        self.database.execute(statement, (*values.values(), ident))

    def _count_again(self, table: Table, ident: Any, counted: str) -> None:
        """The counters of a row for rows of a table below, one of which has changed."""
        news = {}
        for counter in table["counters"]:
            if counter["table"] != counted or self._nests(self.tables[counted]):
                continue
            counts = self._count_below(table, ident, counted)
            value = self._values(table, ident, [counter["column"]])[counter["column"]]
            count = sum(counts[status] for status in counter["statuses"])
            if counts and value != count:
                news[counter["column"]] = count
        if news:
            self._change(table, ident, news)

    def _count_all(self, table: Table, ident: Any) -> None:
        """All counters of a row that ends, whoever ended the rows below it."""
        for counted in {counter["table"] for counter in table["counters"]}:
            self._count_again(table, ident, counted)

    def _expects(self, table: Table, ident: Any) -> bool:
        """Whether its total is larger than the number of rows below it."""
        for each in table["expects"]:
            total = self._values(table, ident, [each["column"]])[each["column"]]
            below = sum(self._count_below(table, ident, each["table"]).values())
            if isinstance(total, (int, float)) and total > below:
                return True
        return False

    def _waits_for_others(self, table: Table, ident: Any) -> bool:
        """Whether an unfinished row of a table that holds no jobs refers to it or to its mirror."""
        rows = [(table, ident)]
        above = self._parent(table, ident)
        if above is not None and above[0] is not table and not table["parent"]["foreignKey"]:
            # A row tied by name only, with this one child, describes the same work.
            rows += [above] if len(list(self._children(*above))) == 1 else []
        return any(
            self._names(tie, self._values(each, key, [tie["to"]])[tie["to"]])
            for each, key in rows
            for tie in each["waitsFor"]
        )

    def _names(self, tie: dict[str, Any], key: Any) -> bool:
        over = f"{quoted(tie['status'])} NOT IN ({_marks(tie['over'])})"
        query = f"SELECT 1 FROM {quoted(tie['table'])} WHERE {quoted(tie['column'])} = ? AND {over}"
        return self.database.execute(f"{query} LIMIT 1", (key, *tie["over"])).fetchone() is not None

    def _count_below(self, table: Table, ident: Any, counted: str) -> Counter[str]:
        """Status → number of rows of that table, at any depth below this row."""
        path = [self.tables[counted]]
        while path[-1]["parent"]["table"] != table["table"]:
            path.append(self.tables[path[-1]["parent"]["table"]])
        joins = " ".join(
            f"JOIN {quoted(upper['table'])} AS t{at + 1}"
            f" ON t{at}.{quoted(lower['parent']['column'])} = t{at + 1}.{quoted(upper['id'])}"
            for at, (lower, upper) in enumerate(zip(path, path[1:]))
        )
        last = f"t{len(path) - 1}.{quoted(path[-1]['parent']['column'])}"
        status = f"t0.{quoted(path[0]['status'])}"
        rows = self.database.execute(
            f"SELECT {status}, count(*) FROM {quoted(counted)} AS t0 {joins}"
            f" WHERE {last} = ?{_not_nested(path[0])} GROUP BY {status}",
            (ident,),
        )
        return Counter({str(name): count for name, count in rows})

    def _nests(self, table: Table) -> bool:
        """Whether its rows are nested: then it is unknown which of them the app counts."""
        if not table["own"]:
            return False
        where = f"{quoted(table['table'])} WHERE {quoted(table['own']['column'])} IS NOT NULL"
        return self.database.execute(f"SELECT 1 FROM {where} LIMIT 1").fetchone() is not None

    def _ancestors(self, table: Table, ident: Any) -> Iterator[tuple[Table, Any]]:
        """The rows above, nearest first, each once."""
        seen = {(table["table"], ident)}
        while True:
            found = self._parent(table, ident)
            if found is None or (found[0]["table"], found[1]) in seen:
                return
            table, ident = found
            seen.add((table["table"], ident))
            yield table, ident

    def _parent(self, table: Table, ident: Any) -> tuple[Table, Any] | None:
        """The row above; one of the same table takes precedence."""
        ties = [(table, table["own"])] if table["own"] else []
        if table["parent"]:
            ties.append((self.tables[table["parent"]["table"]], table["parent"]))
        for upper, tie in ties:
            key = self._values(table, ident, [tie["column"]])[tie["column"]]
            if key is None or (upper is table and key == ident):
                continue
            if self._is_there(upper, key):
                return upper, key
        return None

    def _children(self, table: Table, ident: Any) -> Iterator[tuple[Table, str]]:
        """The table and the status of each row directly below."""
        for other, column in _below(table, self.all):
            itself = f" AND {quoted(other['id'])} <> ?" if other is table else ""
            rows = self.database.execute(
                f"SELECT {quoted(other['status'])} FROM {quoted(other['table'])}"
                f" WHERE {quoted(column)} = ?{itself}",
                (ident, ident) if itself else (ident,),
            )
            yield from ((other, str(status)) for (status,) in rows)

    def _group(self, table: Table, ident: Any) -> str:
        for above, upper in self._ancestors(table, ident):
            table, ident = above, upper
        return json.dumps([table["table"], ident])

    def _counts_below(self, table: Table, ident: Any) -> list[dict[str, Any]]:
        return [
            {
                "table": other["table"],
                "column": column,
                "rows": self.database.execute(
                    f"SELECT count(*) FROM {quoted(other['table'])} WHERE {quoted(column)} = ?",
                    (ident,),
                ).fetchone()[0],
            }
            for other, column in _below(table, self.all)
        ]

    def _seen(self, table: Table, ident: Any) -> dict[str, Any]:
        values = self._values(table, ident, table["vital"])
        plain = (int, float, str, type(None))
        return {name: value for name, value in values.items() if isinstance(value, plain)}

    def _values(self, table: Table, ident: Any, columns: list[str]) -> dict[str, Any]:
        what = ", ".join(quoted(column) for column in columns)
        where = f"{quoted(table['table'])} WHERE {quoted(table['id'])} = ?"
        row = self.database.execute(f"SELECT {what} FROM {where}", (ident,)).fetchone()
        return dict(zip(columns, row or [None] * len(columns)))

    def _is_there(self, table: Table, ident: Any) -> bool:
        where = f"{quoted(table['table'])} WHERE {quoted(table['id'])} = ?"
        return self.database.execute(f"SELECT 1 FROM {where}", (ident,)).fetchone() is not None


def _below(table: Table, tables: list[Table]) -> list[tuple[Table, str]]:
    """The tables whose rows refer to rows of this one, each with its column."""
    found = [
        (other, other["parent"]["column"])
        for other in tables
        if other["parent"] and other["parent"]["table"] == table["table"]
    ]
    return [*found, (table, table["own"]["column"])] if table["own"] else found


def _not_itself(other: Table, table: Table) -> str:
    """Excludes the row itself: the top of a tree may refer to itself."""
    key = quoted(table["id"])
    return f" AND below.{key} <> above.{key}" if other is table else ""


def _not_nested(table: Table) -> str:
    """Leaves out rows that are below another row of their own table."""
    if not table["own"]:
        return ""
    key, own = quoted(table["id"]), quoted(table["own"]["column"])
    upper = f"SELECT 1 FROM {quoted(table['table'])} AS up WHERE up.{key} = t0.{own}"
    return f" AND NOT EXISTS ({upper} AND up.{key} <> t0.{key})"


def _any_completed(below: list[tuple[Table, str]]) -> bool:
    return any(status in table["completed"] + table["partial"] for table, status in below)


def _filled(template: str, values: dict[str, Any]) -> str:
    for name, value in values.items():
        template = template.replace("{" + name + "}", str(value))
    return template


def _marks(values: list[Any]) -> str:
    return ", ".join("?" for _ in values)


def written(now: float, spelling: dict[str, Any]) -> Any:
    """An instant in the format of the plan; the same as `spell` in src/jobs/tables/instants.ts."""
    digits = spelling["fraction"]
    if spelling["kind"] == "epoch":
        micros = math.floor(now * 1e6 + 0.5)
        parts = micros * spelling["perSecond"] // 10 ** (6 - digits)
        if spelling["text"]:
            whole, rest = divmod(parts, 10**digits)
            return f"{whole}.{rest:0{digits}d}" if digits else str(whole)
        return parts / 10**digits if digits else parts
    shifted = now + spelling["offsetSeconds"]
    whole = math.floor(shifted)
    micros = min(999_999, math.floor((shifted - whole) * 1e6 + 0.5))
    fraction = f"{micros:06d}".ljust(9, "0")[:digits]
    at = datetime.datetime.fromtimestamp(whole, datetime.timezone.utc)
    text = at.strftime(f"%Y-%m-%d{spelling['separator']}%H:%M:%S")
    return text + (f".{fraction}" if digits else "") + spelling["zone"]
