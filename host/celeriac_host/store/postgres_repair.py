"""Rows of a PostgreSQL database changed in one transaction, only where they are as seen.

As `repair_jobs` does it with a SQLite database: read and kept first, then locked, compared again
and changed. Rows that another session has locked are left alone (SKIP LOCKED).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Dict, List

from celeriac_host.store import postgres
from celeriac_host.store.postgres import literal, quoted, text
from celeriac_host.system.system import System

Row = Dict[str, Any]
Skipped = List[Dict[str, Any]]


class Place:
    """Where the database is, and as whom it is reached."""

    def __init__(self, host: System, unit: str, url: str, busy_seconds: float) -> None:
        self.host = host
        self.unit = unit
        self.url = url
        self.busy_seconds = busy_seconds

    def ask(self, script: str) -> list[Any]:
        return postgres.ask(self.host, self.unit, self.url, script, self.busy_seconds)


def is_so(place: Place, rows: list[Row]) -> bool:
    """Whether every row is already what it is to become."""
    queries = []
    for row in rows:
        kind = row["change"]["kind"]
        if kind == "delete":
            queries.append(f"NOT EXISTS ({_named(row)})")
        elif kind == "update":
            queries.append(f"EXISTS ({_named(row)} AND {_equals(row, row['change']['set'])})")
    if not queries:
        return True
    return bool(place.ask(f"SELECT to_json({' AND '.join(queries)});")[0])


def see(place: Place, rows: list[Row], alive: dict[str, str]) -> tuple[list[Row], Skipped]:
    """What would be changed, each row with all that it holds now; and what would not, and why."""
    parts = [
        f"SELECT json_build_array({at}, ({_whole(row)}), ({_matches(row)}), {_belows(row)});"
        for at, row in enumerate(rows)
    ]
    found = place.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n" + "\n".join(parts))
    computed = _computed(place, {row["table"] for row in rows})
    reasons: dict[str, tuple[Row, str]] = {}
    for at, now, matches, belows in found:
        row = rows[at]
        why = alive.get(row["group"]) or _why(row, now, matches, belows)
        if why is not None:
            reasons.setdefault(row["group"], (row, why))
    taken = [
        {**row, "old": _given(found[at][1], computed.get(row["table"], []))}
        for at, row in enumerate(rows)
        if row["group"] not in reasons and row["change"]["kind"] != "keep"
    ]
    return taken, _skipped(rows, reasons)


def change(place: Place, rows: list[Row]) -> tuple[dict[str, Any], list[str]]:
    """Changes the rows of these groups; the result, and the groups that had moved by then."""
    keys = _keys_to(place, {row["table"] for row in rows})
    values = [{"at": at, "g": row["group"]} for at, row in enumerate(rows)]
    script = [
        "BEGIN;",
        # One statement a row locks in the order of the plan: two repairs can't wait for each other.
        *(_lock(at, row) for at, row in enumerate(rows)),
        "SELECT json_build_array('at', extract(epoch FROM clock_timestamp()));",
        *(
            f"UPDATE pg_temp.celeriac_seen SET why = 'changed meanwhile' WHERE n = {at} AND why"
            f" IS NULL AND NOT ({_matches(row)} AND {_same_below(row)});"
            for at, row in enumerate(rows)
        ),
        *(
            _spare(at, row, child)
            for at, row in enumerate(rows)
            if row["change"]["kind"] == "delete"
            for child in keys.get(row["table"], [])
        ),
        *(_apply(row) for row in rows if row["change"]["kind"] != "keep"),
        "SELECT json_build_array('why', n, why) FROM pg_temp.celeriac_seen WHERE why IS NOT NULL;",
        "SELECT json_build_array('at', extract(epoch FROM clock_timestamp()));",
        "COMMIT;",
    ]
    setup = (
        "CREATE TEMP TABLE celeriac_seen (n int, g text, why text);\n"
        "INSERT INTO celeriac_seen SELECT (e->>'at')::int, e->>'g', NULL"
        f" FROM jsonb_array_elements({literal(values)}::jsonb) e;"
    )
    said = place.ask("\n".join([setup, *script]))
    moments = [each[1] for each in said if each[0] == "at"]
    reasons: dict[str, tuple[Row, str]] = {}
    for each in said:
        if each[0] == "why":
            row = rows[each[1]]
            reasons.setdefault(row["group"], (row, each[2]))
    taken = [row for row in rows if row["group"] not in reasons]
    counts = Counter(row["change"]["kind"] for row in taken)
    result = {
        "changed": counts["update"] + counts["delete"],
        "updated": counts["update"],
        "deleted": counts["delete"],
        "skipped": _skipped(rows, reasons),
        "lockedSeconds": round(float(moments[-1]) - float(moments[0]), 6),
    }
    return result, sorted(reasons)


def put_back(place: Place, kept: list[Row]) -> tuple[int, list[str]]:
    """How many are as they were again; and those that somebody changed since."""
    script = ["BEGIN;"]
    # Parents were changed last, so they come back first.
    backwards = list(reversed(kept))
    for at, row in enumerate(backwards):
        script.append(_restore(at, row))
    said = place.ask("\n".join([*script, "COMMIT;"]))
    ends = dict(said)
    left = [
        f"{row['table']} {row['id']}"
        for at, row in enumerate(backwards)
        if ends.get(at, "left") == "left"
    ]
    return sum(how == "restored" for how in ends.values()), left


def named(place: Place, calls: list[dict[str, Any]]) -> dict[str, str]:
    """Id of a task → its row as text; only of rows that name it."""
    parts = []
    for call in calls:
        row = call["row"]
        task = f"t.{quoted(row['column'])}::text = {text(call['id'])}"
        parts.append(
            f"SELECT json_build_array({literal(call['id'])}::json, to_json(t)::text)"
            f" FROM {quoted(row['table'])} t WHERE {_key(row)} AND {task};"
        )
    return dict(place.ask("\n".join(parts)))


def _computed(place: Place, tables: set[str]) -> dict[str, list[str]]:
    """Columns that the database fills by itself, and lets nobody else."""
    wanted = ", ".join(f"to_regclass(quote_ident({text(table)}))" for table in sorted(tables))
    return dict(
        place.ask(
            "SELECT json_build_array(c.relname, json_agg(a.attname)) FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid"
            f" WHERE c.oid IN ({wanted}) AND a.attgenerated <> '' GROUP BY c.relname;"
        )
    )


def _given(row: Row, computed: list[str]) -> Row:
    return {name: value for name, value in row.items() if name not in computed}


def _keys_to(place: Place, tables: set[str]) -> dict[str, list[Row]]:
    """Table → foreign keys by which rows go with a deleted row of it, are changed, or keep it.

    Of those that only keep it not those of tables in the plan: their rows go first.
    """
    wanted = ", ".join(f"to_regclass(quote_ident({text(table)}))" for table in sorted(tables))
    found: dict[str, list[Row]] = {}
    for above, space, table, acts, columns, to in place.ask(
        "SELECT json_build_array(p.relname, n.nspname, c.relname,"
        " f.confdeltype IN ('c', 'n', 'd'),"
        " (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(f.conkey) WITH ORDINALITY k (n, i)"
        "  JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.n),"
        " (SELECT json_agg(a.attname ORDER BY k.i) FROM unnest(f.confkey) WITH ORDINALITY k (n, i)"
        "  JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.n))"
        " FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid"
        " JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        f" WHERE f.contype = 'f' AND p.oid IN ({wanted})"
        f" AND (f.confdeltype IN ('c', 'n', 'd') OR c.oid NOT IN ({wanted}));"
    ):
        key = {"space": space, "table": table, "acts": acts, "columns": columns, "to": to}
        found.setdefault(above, []).append(key)
    return found


# --- a row in SQL -------------------------------------------------------------------------------


def _typed(table: str, column: str, value: Any) -> str:
    """A JSON value as the column's own type: so an index on it can be used."""
    own = quoted(table)
    return (
        f"(jsonb_populate_record(NULL::{own}, {literal({column: value})}::jsonb)).{quoted(column)}"
    )


def _whole(row: Row) -> str:
    """All that it holds, each value as JSON text."""
    own = quoted(row["table"])
    each = f"{own} t, jsonb_each(to_jsonb(t)) e"
    return f"SELECT json_object_agg(e.key, e.value::text) FROM {each} WHERE {_key(row)}"


def _key(row: Row) -> str:
    return f"t.{quoted(row['key'])} = {_typed(row['table'], row['key'], row['id'])}"


def _named(row: Row) -> str:
    return f"SELECT 1 FROM {quoted(row['table'])} t WHERE {_key(row)}"


def _object(columns: list[str], of: str) -> str:
    """The columns as JSON, as the extract gave them: of a boolean, 0 or 1."""
    pairs = []
    for name in columns:
        value = f"{of}.{quoted(name)}"
        pairs.append(
            f"{text(name)}, CASE jsonb_typeof(to_jsonb({value})) WHEN 'boolean'"
            f" THEN to_jsonb(({value}::text = 'true')::int) ELSE to_jsonb({value}) END"
        )
    return f"jsonb_build_object({', '.join(pairs)})"


def _matches(row: Row) -> str:
    """Whether the row is as the plan saw it."""
    seen = row["seen"]
    if not seen:
        return f"EXISTS ({_named(row)})"
    return f"EXISTS ({_named(row)} AND {_object(list(seen), 't')} @> {literal(seen)}::jsonb)"


def _equals(row: Row, values: Row, wrote: str = "") -> str:
    """Whether these columns hold these values, read as the columns' own types."""
    if not values:
        return "true"
    wrote = wrote or _record(row, literal(values))
    columns = list(values)
    return f"{_object(columns, 't')} = (SELECT {_object(columns, 'r')} FROM {wrote} r)"


def _counted(row: Row, child: Row) -> str:
    own = quoted(child["table"])
    column = quoted(child["column"])
    value = _typed(child["table"], child["column"], row["id"])
    return f"(SELECT count(*) FROM {own} c WHERE c.{column} = {value})"


def _belows(row: Row) -> str:
    return f"json_build_array({', '.join(_counted(row, each) for each in row.get('below', ()))})"


def _same_below(row: Row) -> str:
    checks = [f"{_counted(row, each)} = {int(each['rows'])}" for each in row.get("below", ())]
    return " AND ".join(checks) or "true"


def _lock(at: int, row: Row) -> str:
    locked = f"{_named(row)} FOR UPDATE SKIP LOCKED"
    there = f"EXISTS ({_named(row)})"
    return (
        f"WITH l AS ({locked}) UPDATE pg_temp.celeriac_seen SET why ="
        f" CASE WHEN {there} THEN 'is locked by another session' ELSE 'is gone' END"
        f" WHERE n = {at} AND NOT EXISTS (SELECT 1 FROM l);"
    )


def _spare(at: int, row: Row, child: Row) -> str:
    """A row that others, at which nobody looked, hang on stays; and so does its group."""
    table, columns = child["table"], child["columns"]
    looked_at = {(each["table"], each["column"]) for each in row.get("below", ())}
    if len(columns) == 1 and (table, columns[0]) in looked_at:
        return ""
    ties = " AND ".join(
        f"c.{quoted(column)} = t.{quoted(to)}" for column, to in zip(columns, child["to"])
    )
    hangs = (
        f"SELECT 1 FROM {quoted(child['space'])}.{quoted(table)} c"
        f" JOIN {quoted(row['table'])} t ON {ties} WHERE {_key(row)}"
    )
    what = "which would go with it (ON DELETE)" if child["acts"] else "which name it"
    why = text(f"has rows of {table}, {what}")
    return (
        f"UPDATE pg_temp.celeriac_seen SET why = {why}"
        f" WHERE n = {at} AND why IS NULL AND EXISTS ({hangs});"
    )


def _apply(row: Row) -> str:
    own = quoted(row["table"])
    good = (
        "NOT EXISTS (SELECT 1 FROM pg_temp.celeriac_seen WHERE why IS NOT NULL"
        f" AND g = {text(row['group'])})"
    )
    if row["change"]["kind"] == "delete":
        return f"DELETE FROM {own} t WHERE {_key(row)} AND {good};"
    values = row["change"]["set"]
    return f"{_assign(row, values, _record(row, literal(values)))} WHERE {_key(row)} AND {good};"


def _record(row: Row, values: str) -> str:
    return f"jsonb_populate_record(NULL::{quoted(row['table'])}, {values}::jsonb)"


def _kept(old: dict[str, str]) -> str:
    """What was kept, to the last digit: each value is JSON as the database itself wrote it."""
    pairs = ", ".join(f"{json.dumps(name)}: {value}" for name, value in old.items())
    return "'{" + pairs.replace("'", "''") + "}'"


def _assign(row: Row, values: Row, wrote: str) -> str:
    own = quoted(row["table"])
    pairs = ", ".join(f"{quoted(name)} = ({wrote}).{quoted(name)}" for name in values)
    return f"UPDATE {own} t SET {pairs}"


def _restore(at: int, row: Row) -> str:
    old = row["old"]
    kept = _record(row, _kept(old))
    if row["change"]["kind"] == "delete":
        own = quoted(row["table"])
        columns = ", ".join(quoted(name) for name in old)
        values = ", ".join(f"r.{quoted(name)}" for name in old)
        same = f"EXISTS ({_named(row)} AND {_equals(row, old, kept)})"
        return (
            f"WITH there AS (SELECT {same} AS already), i AS (INSERT INTO {own} ({columns})"
            f" OVERRIDING SYSTEM VALUE SELECT {values} FROM {kept} r"
            f" WHERE NOT EXISTS ({_named(row)}) RETURNING 1)"
            f" SELECT json_build_array({at}, CASE WHEN EXISTS (SELECT 1 FROM i) THEN 'restored'"
            " WHEN (SELECT already FROM there) THEN 'already' ELSE 'left' END);"
        )
    wrote = row["change"]["set"]
    was = {name: old[name] for name in wrote}
    already = f"EXISTS ({_named(row)} AND {_equals(row, was, kept)})"
    back = f"{_assign(row, was, kept)} WHERE {_key(row)}"
    return (
        f"WITH there AS (SELECT {already} AS already), u AS ({back}"
        f" AND {_equals(row, wrote)} RETURNING 1)"
        f" SELECT json_build_array({at}, CASE WHEN (SELECT already FROM there) THEN 'already'"
        " WHEN EXISTS (SELECT 1 FROM u) THEN 'restored' ELSE 'left' END);"
    )


# --- words --------------------------------------------------------------------------------------


def _why(row: Row, now: dict[str, str] | None, matches: bool, belows: list[int]) -> str | None:
    if now is None:
        return "is gone"
    if not matches:
        for column, seen in row["seen"].items():
            value = now.get(column, "null")
            if json.loads(value) != seen:
                return f"changed meanwhile: {column} is now {value[:60]}"
        return "changed meanwhile"
    for child, count in zip(row.get("below", ()), belows):
        if count != child["rows"]:
            return f"changed meanwhile: it has {count} {child['table']}, not {child['rows']}"
    return None


def _skipped(rows: list[Row], reasons: dict[str, tuple[Row, str]]) -> Skipped:
    found: Skipped = []
    for row in rows:
        if row["group"] not in reasons:
            continue
        first, first_why = reasons[row["group"]]
        own = first["table"] == row["table"] and first["id"] == row["id"]
        if not own and row["change"]["kind"] == "keep":
            continue
        why = first_why if own else f"belongs to {first['table']} {first['id']}, which {first_why}"
        found.append({"table": row["table"], "id": row["id"], "group": row["group"], "why": why})
    return found
