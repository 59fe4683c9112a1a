"""Changes rows of a PostgreSQL database in one transaction, if they are as the plan saw them.

Like `sqlite_repair`: reads and keeps them first, then locks, compares again and changes them. Skips
rows that another session has locked (SKIP LOCKED).
"""

from __future__ import annotations

import json
from typing import Any

from celeriac_host.store import postgres
from celeriac_host.store import postgres_rows as sql
from celeriac_host.store.postgres import literal, quoted, text
from celeriac_host.store.store import Restored, Row, Skipped, result_of
from celeriac_host.system.system import System


class Place:
    """The database, and the unit whose user connects to it."""

    def __init__(self, host: System, unit: str, url: str, busy_seconds: float) -> None:
        self.host = host
        self.unit = unit
        self.url = url
        self.busy_seconds = busy_seconds

    def ask(self, script: str) -> list[Any]:
        return postgres.ask(self.host, self.unit, self.url, script, self.busy_seconds)


def is_so(place: Place, rows: list[Row]) -> bool:
    """Whether every row already has its new values."""
    queries = []
    for row in rows:
        kind = row["change"]["kind"]
        if kind == "delete":
            queries.append(f"NOT EXISTS ({sql.named(row)})")
        elif kind == "update":
            queries.append(f"EXISTS ({sql.named(row)} AND {sql.equals(row, row['change']['set'])})")
    if not queries:
        return True
    return bool(place.ask(f"SELECT to_json({' AND '.join(queries)});")[0])


def see(place: Place, rows: list[Row], alive: dict[str, str]) -> tuple[list[Row], Skipped]:
    """The rows to change, each with all its values; and those to skip, with the reason."""
    parts = [
        f"SELECT json_build_array({at}, ({sql.whole(row)}),"
        f" ({sql.matches(row)}), {sql.belows(row)});"
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
    """Changes the rows of these groups; the result, and the groups that changed meanwhile."""
    keys = _keys_to(place, {row["table"] for row in rows})
    values = [{"at": at, "g": row["group"]} for at, row in enumerate(rows)]
    script = [
        "BEGIN;",
        # One statement per row locks in the order of the plan: two repairs cannot deadlock.
        *(sql.lock(at, row) for at, row in enumerate(rows)),
        "SELECT json_build_array('at', extract(epoch FROM clock_timestamp()));",
        *(
            f"UPDATE pg_temp.celeriac_seen SET why = 'changed meanwhile' WHERE n = {at} AND why"
            f" IS NULL AND NOT ({sql.matches(row)} AND {sql.same_below(row)});"
            for at, row in enumerate(rows)
        ),
        *(
            sql.spare(at, row, child)
            for at, row in enumerate(rows)
            if row["change"]["kind"] == "delete"
            for child in keys.get(row["table"], [])
        ),
        *(sql.apply(row) for row in rows if row["change"]["kind"] != "keep"),
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
    locked_seconds = float(moments[-1]) - float(moments[0])
    result = result_of(taken, _skipped(rows, reasons), locked_seconds)
    return result, sorted(reasons)


def restore_rows(place: Place, kept: list[Row]) -> Restored:
    """Restores kept rows, except those that changed since."""
    script = ["BEGIN;"]
    # Parents were changed last, so they are restored first.
    backwards = list(reversed(kept))
    for at, row in enumerate(backwards):
        script.append(sql.restore(at, row))
    said = place.ask("\n".join([*script, "COMMIT;"]))
    ends = dict(said)
    left = [
        f"{row['table']} {row['id']}"
        for at, row in enumerate(backwards)
        if ends.get(at, "left") == "left"
    ]
    return Restored(sum(how == "restored" for how in ends.values()), left)


def named(place: Place, calls: list[dict[str, Any]]) -> dict[str, str]:
    """Task id → its row as text; only rows that still name it."""
    parts = []
    for call in calls:
        row = call["row"]
        task = f"t.{quoted(row['column'])}::text = {text(call['id'])}"
        parts.append(
            f"SELECT json_build_array({literal(call['id'])}::json, to_json(t)::text)"
            f" FROM {quoted(row['table'])} t WHERE {sql.key(row)} AND {task};"
        )
    return dict(place.ask("\n".join(parts)))


def _computed(place: Place, tables: set[str]) -> dict[str, list[str]]:
    """Generated columns, which cannot be written."""
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
    """Table → foreign keys whose rows are deleted or changed with a row of it, or prevent that.

    Those that only prevent it are left out for tables in the plan: their rows are deleted first.
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
