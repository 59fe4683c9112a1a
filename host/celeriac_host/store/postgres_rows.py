"""A row of a PostgreSQL database in SQL: found, compared, locked, changed and restored."""

from __future__ import annotations

import json
from typing import Any

from celeriac_host.store.postgres import constant, literal, quoted, text
from celeriac_host.store.store import Row


def _typed(value: Any) -> str:
    """A value that takes the type of the column it is compared with, so that an index is used.

    Not by a record of the table: a domain that is NOT NULL admits none with only this column.
    """
    return constant(str(value))


def whole(row: Row) -> str:
    """All its values, each as JSON text."""
    own = quoted(row["table"])
    each = f"{own} t, jsonb_each(to_jsonb(t)) e"
    return f"SELECT json_object_agg(e.key, e.value::text) FROM {each} WHERE {key(row)}"


def key(row: Row) -> str:
    return f"t.{quoted(row['key'])} = {_typed(row['id'])}"


def named(row: Row) -> str:
    return f"SELECT 1 FROM {quoted(row['table'])} t WHERE {key(row)}"


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


def matches(row: Row) -> str:
    """Whether the row is as the plan saw it."""
    seen = row["seen"]
    if not seen:
        return f"EXISTS ({named(row)})"
    return f"EXISTS ({named(row)} AND {_object(list(seen), 't')} @> {literal(seen)}::jsonb)"


def equals(row: Row, values: Row, wrote: str = "") -> str:
    """Whether these columns hold these values, read as the columns' own types."""
    if not values:
        return "true"
    wrote = wrote or _record(row, literal(values))
    columns = list(values)
    return f"{_object(columns, 't')} = (SELECT {_object(columns, 'r')} FROM {wrote} r)"


def _counted(row: Row, child: Row) -> str:
    own = quoted(child["table"])
    column = quoted(child["column"])
    return f"(SELECT count(*) FROM {own} c WHERE c.{column} = {_typed(row['id'])})"


def belows(row: Row) -> str:
    return f"json_build_array({', '.join(_counted(row, each) for each in row.get('below', ()))})"


def same_below(row: Row) -> str:
    checks = [f"{_counted(row, each)} = {int(each['rows'])}" for each in row.get("below", ())]
    return " AND ".join(checks) or "true"


def lock(at: int, row: Row) -> str:
    locked = f"{named(row)} FOR UPDATE SKIP LOCKED"
    there = f"EXISTS ({named(row)})"
    return (
        f"WITH l AS ({locked}) UPDATE pg_temp.celeriac_seen SET why ="
        f" CASE WHEN {there} THEN 'is locked by another session' ELSE 'is gone' END"
        f" WHERE n = {at} AND NOT EXISTS (SELECT 1 FROM l);"
    )


def spare(at: int, row: Row, child: Row) -> str:
    """Skips a row, and its group, that rows unknown to the plan depend on."""
    table, columns = child["table"], child["columns"]
    looked_at = {(each["table"], each["column"]) for each in row.get("below", ())}
    if len(columns) == 1 and (table, columns[0]) in looked_at:
        return ""
    ties = " AND ".join(
        f"c.{quoted(column)} = t.{quoted(to)}" for column, to in zip(columns, child["to"])
    )
    hangs = (
        f"SELECT 1 FROM {quoted(child['space'])}.{quoted(table)} c"
        f" JOIN {quoted(row['table'])} t ON {ties} WHERE {key(row)}"
    )
    what = (
        "which would be changed or deleted with it (ON DELETE)"
        if child["acts"]
        else "which refer to it"
    )
    why = text(f"has rows of {table}, {what}")
    return (
        f"UPDATE pg_temp.celeriac_seen SET why = {why}"
        f" WHERE n = {at} AND why IS NULL AND EXISTS ({hangs});"
    )


def apply(row: Row) -> str:
    own = quoted(row["table"])
    good = (
        "NOT EXISTS (SELECT 1 FROM pg_temp.celeriac_seen WHERE why IS NOT NULL"
        f" AND g = {text(row['group'])})"
    )
    if row["change"]["kind"] == "delete":
        return f"DELETE FROM {own} t WHERE {key(row)} AND {good};"
    values = wanted(row)
    return f"{_assign(row, values, _record(row, literal(values)))} WHERE {key(row)} AND {good};"


def wanted(row: Row) -> Row:
    """What an update writes; JSON into a column of that type is no string."""
    as_json = row["change"].get("json", ())
    return {
        name: json.loads(value) if name in as_json and isinstance(value, str) else value
        for name, value in row["change"]["set"].items()
    }


def tried(at: int, row: Row) -> str:
    """The same, with how many rows it changes."""
    change = apply(row).rstrip(";")
    count = "(SELECT count(*) FROM u)"
    return f"WITH u AS ({change} RETURNING 1) SELECT json_build_array('done', {at}, {count});"


def _record(row: Row, values: str, there: bool = True) -> str:
    """The row `t` with other values; or, if it is not there, one of these values alone."""
    others = "t" if there else f"NULL::{quoted(row['table'])}"
    return f"jsonb_populate_record({others}, {values}::jsonb)"


def _kept(old: dict[str, str]) -> str:
    """The kept values, exact to the last digit: JSON as the database itself wrote it."""
    pairs = ", ".join(f"{json.dumps(name)}: {value}" for name, value in old.items())
    return "'{" + pairs.replace("'", "''") + "}'"


def _assign(row: Row, values: Row, wrote: str) -> str:
    own = quoted(row["table"])
    pairs = ", ".join(f"{quoted(name)} = ({wrote}).{quoted(name)}" for name in values)
    return f"UPDATE {own} t SET {pairs}"


def restore(at: int, row: Row) -> str:
    old = row["old"]
    gone = row["change"]["kind"] == "delete"
    kept = _record(row, _kept(old), there=not gone)
    if gone:
        own = quoted(row["table"])
        columns = ", ".join(quoted(name) for name in old)
        values = ", ".join(f"r.{quoted(name)}" for name in old)
        same = f"EXISTS ({named(row)} AND {equals(row, old, kept)})"
        return (
            f"WITH there AS (SELECT {same} AS already), i AS (INSERT INTO {own} ({columns})"
            f" OVERRIDING SYSTEM VALUE SELECT {values} FROM {kept} r"
            f" WHERE NOT EXISTS ({named(row)}) RETURNING 1)"
            f" SELECT json_build_array({at}, CASE WHEN EXISTS (SELECT 1 FROM i) THEN 'restored'"
            " WHEN (SELECT already FROM there) THEN 'already' ELSE 'left' END);"
        )
    wrote = wanted(row)
    was = {name: old[name] for name in wrote}
    already = f"EXISTS ({named(row)} AND {equals(row, was, kept)})"
    back = f"{_assign(row, was, kept)} WHERE {key(row)}"
    return (
        f"WITH there AS (SELECT {already} AS already), u AS ({back}"
        f" AND {equals(row, wrote)} RETURNING 1)"
        f" SELECT json_build_array({at}, CASE WHEN (SELECT already FROM there) THEN 'already'"
        " WHEN EXISTS (SELECT 1 FROM u) THEN 'restored' ELSE 'left' END);"
    )
