"""Changes rows of a PostgreSQL database in one transaction, if they are as the plan saw them.

Like `sqlite_repair`: reads and keeps them first, then locks, compares again and changes them. Skips
rows that another session has locked (SKIP LOCKED).
"""

from __future__ import annotations

import json
from typing import Any, Callable

from celeriac_host.store import postgres
from celeriac_host.store import postgres_rows as sql
from celeriac_host.store.postgres import literal, quoted, text
from celeriac_host.store.store import Restored, Row, Skipped, moved_of, result_of
from celeriac_host.system.errors import OperationError

# Each statement of a rehearsal: its locks are not to keep the app waiting.
REHEARSAL_SECONDS = 30
WHY = "SELECT json_build_array('why', n, why) FROM pg_temp.celeriac_seen WHERE why IS NOT NULL;"


class Place:
    """The database, and how long to wait for its locks."""

    def __init__(self, session: postgres.Session, busy_seconds: float) -> None:
        self.session = session
        self.url = session.url
        self.busy_seconds = busy_seconds

    def ask(self, script: str) -> list[Any]:
        return postgres.ask(self.session, script, self.busy_seconds)

    def stream(self, script: str, take: Callable[[Any], object]) -> None:
        postgres.stream(self.session, script, take, self.busy_seconds)


def is_so(place: Place, rows: list[Row]) -> bool:
    """Whether every row already has its new values."""
    queries = []
    for row in rows:
        kind = row["change"]["kind"]
        if kind == "delete":
            queries.append(f"NOT EXISTS ({sql.named(row)})")
        elif kind == "update":
            queries.append(f"EXISTS ({sql.named(row)} AND {sql.equals(row, sql.wanted(row))})")
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
    skipped = _skipped(rows, reasons)
    seen = {(rows[at]["table"], rows[at]["id"]): _moved(rows[at], now) for at, now, *_ in found}
    return taken, [{**each, **seen[each["table"], each["id"]]} for each in skipped]


def _moved(row: Row, now: dict[str, str] | None) -> Row:
    """What the columns that differ from what the plan saw hold now."""
    values = (
        {} if now is None else {name: json.loads(now.get(name, "null")) for name in row["seen"]}
    )
    return moved_of({name: value for name, value in values.items() if value != row["seen"][name]})


def change(place: Place, rows: list[Row]) -> tuple[dict[str, Any], list[str]]:
    """Changes the rows of these groups; the result, and the groups that changed meanwhile."""
    script = [
        _seen(rows),
        "BEGIN;",
        *_compare(place, rows),
        *(sql.apply(row) for row in rows if row["change"]["kind"] != "keep"),
        WHY,
        "SELECT json_build_array('at', extract(epoch FROM clock_timestamp()));",
        "COMMIT;",
    ]
    said = place.ask("\n".join(script))
    moments = [each[1] for each in said if each[0] == "at"]
    reasons = _reasons(rows, said)
    taken = [row for row in rows if row["group"] not in reasons]
    locked_seconds = float(moments[-1]) - float(moments[0])
    result = result_of(taken, _skipped(rows, reasons), locked_seconds)
    return result, sorted(reasons)


def rehearse(place: Place, rows: list[Row]) -> dict[str, Any]:
    """The same in a transaction that is rolled back: what prevents it, and rows it skips.

    Raises OperationError when the database cannot be reached.
    """
    script = [
        "BEGIN;",
        f"SET LOCAL statement_timeout = '{REHEARSAL_SECONDS}s';",
        "SELECT json_build_array('begun');",
        _seen(rows),
        *_compare(place, rows),
        WHY,
        "SELECT json_build_array('compared');",
        *(sql.tried(at, row) for at, row in enumerate(rows) if row["change"]["kind"] != "keep"),
        # Otherwise a deferred constraint would be checked by COMMIT alone.
        "SET CONSTRAINTS ALL IMMEDIATE;",
        "ROLLBACK;",
    ]
    said: list[Any] = []
    try:
        place.stream("\n".join(script), said.append)
    except OperationError as error:
        if ["begun"] not in said:
            raise
        compared = any(each[0] == "compared" for each in said)
        done = {each[1] for each in said if each[0] == "done"}
        changing = [at for at, row in enumerate(rows) if row["change"]["kind"] != "keep"]
        stopped = next((at for at in changing if at not in done), None)
        where = f"{_name(rows[stopped])}: " if stopped is not None and compared else ""
        why = error.message.replace(place.url, "", 1).lstrip(": ")
        return {"problems": [f"{where}{why}"], "skipped": []}
    reasons = _reasons(rows, said)
    problems = [
        f"{_name(rows[at])}: the database changed {count} rows instead of one"
        for at, count in (each[1:] for each in said if each[0] == "done")
        if count != 1 and rows[at]["group"] not in reasons
    ]
    return {"problems": problems, "skipped": _skipped(rows, reasons)}


def _name(row: Row) -> str:
    return f"{row['table']} {row['id']}"


def _seen(rows: list[Row]) -> str:
    """A table of our own, in which stands why a row is skipped."""
    values = [{"at": at, "g": row["group"]} for at, row in enumerate(rows)]
    return (
        "CREATE TEMP TABLE celeriac_seen (n int, g text, why text);\n"
        "INSERT INTO celeriac_seen SELECT (e->>'at')::int, e->>'g', NULL"
        f" FROM jsonb_array_elements({literal(values)}::jsonb) e;"
    )


def _compare(place: Place, rows: list[Row]) -> list[str]:
    """Locks the rows, and notes those that are not as seen."""
    keys = _keys_to(place, {row["table"] for row in rows})
    return [
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
    ]


def _reasons(rows: list[Row], said: list[Any]) -> dict[str, tuple[Row, str]]:
    reasons: dict[str, tuple[Row, str]] = {}
    for each in said:
        if each[0] == "why":
            row = rows[each[1]]
            reasons.setdefault(row["group"], (row, each[2]))
    return reasons


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
        # A key of a partition is that of its parent.
        f" WHERE f.contype = 'f' AND f.conparentid = 0 AND p.oid IN ({wanted})"
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
