"""Rows that stay "processing" though no worker is left to end them, and what becomes of each.

Which rows they are is known only while no worker runs, and then nobody but the host can look. What
they are is the plan's: the mapping says which columns tell it, and the action what to write. The
rules are those of src/jobs/repair, for the one case that needs no judgement by age. The writing
is repair-jobs' own: it compares each row with what was seen here.
"""

from __future__ import annotations

import datetime
import re
import sqlite3
from collections import Counter
from typing import Any, Dict, Iterator, NamedTuple

from celeriac_host.store import sqlite
from celeriac_host.store.sqlite import quoted

PROCESSING = "processing"
# Of a parent the first that one of its rows is.
ENDED = ("completed", "failed", "cancelled")
SAMPLES = 50
CALENDAR = re.compile(
    r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d(?::\d\d(?:[.,](\d{1,9}))?)?"
    r"( ?(?:Z|z|UTC)|[+-]\d\d(?::?\d\d)?)?"
)

# A table of the plan's mapping: src/jobs/tables/mapping.ts.
Table = Dict[str, Any]


class Candidate(NamedTuple):
    """A row that a task was at work on."""

    table: str
    ident: Any
    task: str


def find(path: str, mapping: list[Table]) -> list[Candidate]:
    """In the child, as the owner: rows with a task id and nothing below, in "processing".

    A row with others below it is as alive as they are: it has no task that runs as long as it.
    """
    with sqlite.opened(path, "mode=ro", sqlite.READ_BUSY_SECONDS) as database:
        found = []
        for table in mapping:
            if table["task"] is None:
                continue
            own, task = quoted(table["table"]), quoted(table["task"])
            below = " ".join(
                f"AND NOT EXISTS (SELECT 1 FROM {quoted(other['table'])} AS below"
                f" WHERE below.{quoted(column)} = above.{quoted(table['id'])}"
                f"{_not_itself(other, table)})"
                for other, column in _below(table, mapping)
            )
            rows = database.execute(
                f"SELECT {quoted(table['id'])}, {task} FROM {own} AS above"
                f" WHERE {quoted(table['status'])} = ? AND {task} IS NOT NULL {below}",
                (PROCESSING,),
            )
            for ident, value in rows:
                if isinstance(ident, (int, str)) and isinstance(value, str) and value:
                    found.append(Candidate(table["table"], ident, value))
        return found


def plan(
    path: str,
    mapping: list[Table],
    orphans: list[Candidate],
    action: str,
    message: str,
    now: float,
) -> list[dict[str, Any]]:
    """In the child: the changes for repair-jobs, children before parents.

    They are tried inside a transaction that is rolled back: so the counters of the rows above are
    counted by the database itself.
    """
    with sqlite.opened(path, "mode=rw", sqlite.READ_BUSY_SECONDS) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            return _Trial(database, mapping, action, message, now).run(orphans)
        finally:
            database.execute("ROLLBACK")


class _Trial:
    def __init__(
        self,
        database: sqlite3.Connection,
        mapping: list[Table],
        action: str,
        message: str,
        now: float,
    ) -> None:
        self.database = database
        self.tables = {table["table"]: table for table in mapping}
        self.mapping = mapping
        self.action = action
        self.becomes = "failed" if action == "fail" else "pending"
        self.message = message
        self.now = now
        self.changes: dict[tuple[str, Any], dict[str, Any]] = {}

    def run(self, orphans: list[Candidate]) -> list[dict[str, Any]]:
        for each in orphans:
            self._settle(self.tables[each.table], each.ident, self.message, self.becomes)
        for each in orphans:
            self._settle_above(self.tables[each.table], each.ident)
        for table, ident in list(self.changes):
            for above, upper in self._ancestors(self.tables[table], ident):
                self._count_again(above, upper)
        depth = {name: at for at, name in enumerate(self.tables)}
        ordered = sorted(self.changes.items(), key=lambda each: -depth[each[0][0]])
        return [change for _, change in ordered]

    def _settle(self, table: Table, ident: Any, message: str, becomes: str) -> None:
        ended = becomes in ENDED
        values: dict[str, Any] = {table["status"]: becomes}
        if table["updated"]:
            values[table["updated"]] = self._time(table, table["updated"])
        if ended:
            if table["completed"]:
                values[table["completed"]] = self._time(table, table["completed"])
            if table["error"] and message:
                before = self._values(table, ident, [table["error"]])[table["error"]]
                said = f"; before: {before}" if isinstance(before, str) and before else ""
                values[table["error"]] = message + said
        else:
            names = ("started", "completed", "error", "task")
            values.update({table[name]: None for name in names if table[name]})
        self._change(table, ident, values)

    def _settle_above(self, table: Table, ident: Any) -> None:
        """A parent waits for children that end: it becomes what they did, completed if one is.

        A reset takes only a mirror along: a row tied by its name alone, with this one child.
        """
        for above, upper in self._ancestors(table, ident):
            if self._values(above, upper, [above["status"]])[above["status"]] != PROCESSING:
                return
            statuses = list(self._children(above, upper))
            if self.action == "reset":
                if above is table or table["parent"]["foreignKey"] or len(statuses) != 1:
                    return
                self._settle(above, upper, "", self.becomes)
            else:
                if any(status not in ENDED for status in statuses) or self._expects(above, upper):
                    return
                if self._waits_for_others(above, upper):
                    return
                failed = statuses.count("failed")
                signed = self.message.rpartition("; ")[2]
                what = f"{failed} of {len(statuses)} {table['table']} failed; {signed}"
                becomes = next(status for status in ENDED if status in statuses)
                self._settle(above, upper, what if failed else "", becomes)
            table = above

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

    def _count_again(self, table: Table, ident: Any) -> None:
        news = {}
        for counter in table["counters"]:
            if counter["counts"] == "total" or self._nests(self.tables[counter["table"]]):
                continue
            counts = self._count_below(table, ident, counter["table"])
            value = self._values(table, ident, [counter["column"]])[counter["column"]]
            if counts and value != counts[counter["counts"]]:
                news[counter["column"]] = counts[counter["counts"]]
        if news:
            self._change(table, ident, news)

    def _expects(self, table: Table, ident: Any) -> bool:
        """Its total says that rows are still to be added below it."""
        for counter in table["counters"]:
            if counter["counts"] != "total":
                continue
            total = self._values(table, ident, [counter["column"]])[counter["column"]]
            below = sum(self._count_below(table, ident, counter["table"]).values())
            if isinstance(total, int) and total > below:
                return True
        return False

    def _waits_for_others(self, table: Table, ident: Any) -> bool:
        """Something unfinished hangs on it, or on its mirror, of which nobody knows what it is."""
        rows = [(table, ident)]
        above = self._parent(table, ident)
        if above is not None and above[0] is not table and not table["parent"]["foreignKey"]:
            # A row tied by its name alone, with this one child, says the same about the same work.
            rows += [above] if len(list(self._children(*above))) == 1 else []
        return any(
            self._names(tie, self._values(each, key, [tie["to"]])[tie["to"]])
            for each, key in rows
            for tie in each.get("bystanders", [])
            if tie["status"] is not None
        )

    def _names(self, tie: dict[str, Any], key: Any) -> bool:
        marks = ", ".join("?" for _ in ENDED)
        where = f"{quoted(tie['column'])} = ? AND {quoted(tie['status'])} NOT IN ({marks})"
        query = f"SELECT 1 FROM {quoted(tie['table'])} WHERE {where} LIMIT 1"
        return self.database.execute(query, (key, *ENDED)).fetchone() is not None

    def _count_below(self, table: Table, ident: Any, counted: str) -> Counter[str]:
        """Status → how many rows of that table, at whatever depth below this row."""
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
            f" WHERE {last} = ? GROUP BY {status}",
            (ident,),
        )
        return Counter({str(name): count for name, count in rows})

    def _nests(self, table: Table) -> bool:
        """Whether the app counts rows below others of their own table can't be told."""
        if not table["own"]:
            return False
        where = f"{quoted(table['table'])} WHERE {quoted(table['own']['column'])} IS NOT NULL"
        return self.database.execute(f"SELECT 1 FROM {where} LIMIT 1").fetchone() is not None

    def _ancestors(self, table: Table, ident: Any) -> Iterator[tuple[Table, Any]]:
        """Upwards, as far as there are rows, and no row twice."""
        seen = {(table["table"], ident)}
        while True:
            found = self._parent(table, ident)
            if found is None or (found[0]["table"], found[1]) in seen:
                return
            table, ident = found
            seen.add((table["table"], ident))
            yield table, ident

    def _parent(self, table: Table, ident: Any) -> tuple[Table, Any] | None:
        """A row of its own table comes first."""
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

    def _children(self, table: Table, ident: Any) -> Iterator[str]:
        for other, column in _below(table, self.mapping):
            itself = f" AND {quoted(other['id'])} <> ?" if other is table else ""
            rows = self.database.execute(
                f"SELECT {quoted(other['status'])} FROM {quoted(other['table'])}"
                f" WHERE {quoted(column)} = ?{itself}",
                (ident, ident) if itself else (ident,),
            )
            yield from (str(status) for (status,) in rows)

    def _group(self, table: Table, ident: Any) -> str:
        for above, upper in self._ancestors(table, ident):
            table, ident = above, upper
        return f"{table['table']}:{ident}"

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
            for other, column in _below(table, self.mapping)
        ]

    def _seen(self, table: Table, ident: Any) -> dict[str, Any]:
        ties = [tie["column"] for tie in (table["parent"], table["own"]) if tie]
        counters = [counter["column"] for counter in table["counters"]]
        columns = [table["status"], *ties, table["task"], *table["times"], *counters]
        values = self._values(table, ident, [name for name in columns if name is not None])
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

    def _time(self, table: Table, column: str) -> Any:
        """Now, as the column's own values are written; else as its neighbours' are."""
        named = [table[name] for name in ("completed", "started", "updated", "created")]
        for name in [column, *filter(None, named)]:
            rows = self.database.execute(
                f"SELECT {quoted(name)} FROM {quoted(table['table'])}"
                f" WHERE {quoted(name)} IS NOT NULL ORDER BY rowid DESC LIMIT {SAMPLES}"
            )
            forms = Counter(form for form in (_form(value) for (value,) in rows) if form)
            if forms:
                return _written(self.now, forms.most_common(1)[0][0])
        return _written(self.now, ("text", "T", 6, ""))


def _below(table: Table, mapping: list[Table]) -> list[tuple[Table, str]]:
    """The tables whose rows name rows of this one, each with the column that does."""
    found = [
        (other, other["parent"]["column"])
        for other in mapping
        if other["parent"] and other["parent"]["table"] == table["table"]
    ]
    return [*found, (table, table["own"]["column"])] if table["own"] else found


def _not_itself(other: Table, table: Table) -> str:
    """The top of a tree may name itself."""
    key = quoted(table["id"])
    return f" AND below.{key} <> above.{key}" if other is table else ""


def _form(value: Any) -> tuple[Any, ...] | None:
    """How an instant is written; None when it is none."""
    if isinstance(value, (int, float)):
        whole = isinstance(value, int)
        if 1e9 <= value < 1e10:
            return ("number", 1, whole)
        return ("number", 1000, whole) if 1e12 <= value < 1e13 else None
    match = CALENDAR.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    fraction = len(match.group(2) or "")
    return ("text", match.group(1), fraction, match.group(3) or "")


def _written(now: float, form: tuple[Any, ...]) -> Any:
    if form[0] == "number":
        value = now * form[1]
        return int(value) if form[2] else round(value, 6)
    _, separator, fraction, zone = form
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)?", zone)
    shift = 0
    if offset:
        minutes = int(offset.group(2)) * 60 + int(offset.group(3) or 0)
        shift = (-60 if offset.group(1) == "-" else 60) * minutes
    at = datetime.datetime.fromtimestamp(now + shift, datetime.timezone.utc)
    digits = f"{at.microsecond:06d}".ljust(9, "0")[:fraction]
    return at.strftime(f"%Y-%m-%d{separator}%H:%M:%S") + (f".{digits}" if digits else "") + zone
