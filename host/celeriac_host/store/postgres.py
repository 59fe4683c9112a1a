"""A PostgreSQL database of the app, through the host's own psql, as the app's user.

Nothing is ever asked for: the password is where libpq looks for it (PGPASSWORD, PGPASSFILE,
~/.pgpass), or in a URL of the unit's environment that names the same database.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Callable, Iterable, NamedTuple

from celeriac_host.store import checks, postgres_url
from celeriac_host.system import unit_context, units
from celeriac_host.system.app_user import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Budget, follow
from celeriac_host.system.system import System

CONNECT_SECONDS = 10
READ_SECONDS = 600.0
# Of all that psql prints; an extract has a limit of its own.
MOST_BYTES = 256 * 1024 * 1024
# Read only so many rows for the few distinct values.
STATUS_ROWS = 5000
STATUS_BUSY_SECONDS = 1.0
# What libpq or the server says → what it means to a person.
PROBLEMS = (
    (
        "no password supplied",
        "asks for a password, which is neither in PGPASSWORD, PGPASSFILE or a URL of the unit's "
        "environment, nor in ~/.pgpass of its user",
    ),
    ("password authentication failed", "rejects the password"),
    (
        "Peer authentication failed",
        "rejects the unit's user: peer authentication expects the user of the URL",
    ),
    ("no pg_hba.conf entry", "does not admit this host and user (pg_hba.conf)"),
    ("Connection refused", "cannot be reached: connection refused"),
    ("No such file or directory", "cannot be reached: its socket does not exist"),
    ("could not translate host name", "cannot be reached: its host name does not resolve"),
    ("timeout expired", "cannot be reached within %d s" % CONNECT_SECONDS),
    ("lock timeout", "is locked by another session"),
)

# Lists every table that can be named without its schema. A domain, also one of a domain, is told as
# the type below it. A partition is read through its parent,
# as is a table that only inherits: whoever reads the parent reads its rows as well.
TABLES = """
SELECT json_build_object(
  'name', c.relname,
  'readable', has_table_privilege(c.oid, 'SELECT'),
  'columns', (
    SELECT json_agg(json_build_array(
      a.attname, format_type(y.base, y.mod), a.attnotnull OR y.required,
      pg_get_expr(d.adbin, d.adrelid), (
        SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = y.base), y.checks) ORDER BY a.attnum)
    FROM pg_attribute a
    CROSS JOIN LATERAL (
      WITH RECURSIVE below (type, mod, depth) AS (
        SELECT a.atttypid, a.atttypmod, 0
        UNION ALL SELECT t.typbasetype, t.typtypmod, depth + 1
        FROM below JOIN pg_type t ON t.oid = below.type WHERE t.typtype = 'd')
      SELECT
        (array_agg(below.type ORDER BY depth DESC))[1] AS base,
        (array_agg(below.mod ORDER BY depth DESC))[1] AS mod,
        bool_or(t.typnotnull) AS required,
        coalesce((
          SELECT string_agg(pg_get_constraintdef(k.oid), '; ')
          FROM below b JOIN pg_constraint k ON k.contypid = b.type
          WHERE k.contype = 'c'), '') AS checks
      FROM below JOIN pg_type t ON t.oid = below.type) y
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'checks', coalesce((
    SELECT string_agg(pg_get_constraintdef(k.oid), '; ')
    FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'), ''),
  'foreignKeys', coalesce((
    SELECT json_agg(json_build_object('column', a.attname, 'table', p.relname, 'to', b.attname))
    FROM pg_constraint k
    JOIN pg_class p ON p.oid = k.confrelid
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
    WHERE k.conrelid = c.oid AND k.contype = 'f' AND array_length(k.conkey, 1) = 1
      AND (k.conparentid = 0 OR c.relispartition)), '[]'::json))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (
    SELECT 1 FROM pg_inherits i WHERE i.inhrelid = c.oid AND pg_table_is_visible(i.inhparent)
      AND NOT EXISTS (
        SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
          AND NOT a.attisdropped AND a.attinhcount = 0))
ORDER BY c.relname LIMIT 500;
"""


class Session(NamedTuple):
    """A database, and who connects to it: `user`, or if None the user of the unit."""

    host: System
    unit: str
    url: str
    user: str | None = None

    def context(self) -> unit_context.Context:
        """The unit's context; as another user if the workflow names one. Raises OperationError."""
        whom = app_user(self.host, self.unit, self.user)
        if whom.what == self.unit:
            return unit_context.context(self.host, self.unit)
        person = whom.identity
        own = {"HOME": person.home, "LOGNAME": person.name, "USER": person.name}
        seen = units.show(self.host, self.unit, ["LoadState"]) if self.unit else {}
        loaded = seen.get("LoadState") == "loaded"
        environment = unit_context.context(self.host, self.unit).environment if loaded else {}
        return unit_context.Context(person, "/", {**environment, **own, "SHELL": person.shell})


def tables(session: Session, status_columns: list[str]) -> list[dict[str, Any]]:
    """The tables, each with the distinct values of its status column, if readable.

    Raises OperationError.
    """
    found = ask(session, TABLES)
    wanted = {}
    for table in found:
        said = table.pop("checks")
        table["columns"] = [
            checks.tell(name, kind, required, default, said, words, domain)
            for name, kind, required, default, words, domain in table["columns"] or ()
        ]
        names = [each["name"] for each in table["columns"]]
        named = [name for word in status_columns for name in names if name.lower() == word.lower()]
        if table.pop("readable") and named:
            wanted[table["name"]] = named[0]
    for table, statuses in _statuses(session, wanted):
        next(each for each in found if each["name"] == table)["statuses"] = statuses
    return found


def _statuses(session: Session, wanted: dict[str, str]) -> list[Any]:
    """Pairs of table and its statuses; none for tables that another session has locked."""
    queries = [
        f"SELECT json_build_array({text(table)}, coalesce(json_agg(w), '[]'::json)) FROM (SELECT"
        f" DISTINCT left(s, 100) AS w FROM (SELECT {quoted(column)}::text AS s"
        f" FROM {quoted(table)} LIMIT {STATUS_ROWS}) r WHERE s IS NOT NULL LIMIT 50) d;"
        for table, column in wanted.items()
    ]
    try:
        return ask(session, "\n".join(queries), STATUS_BUSY_SECONDS) if queries else []
    except OperationError:
        said: list[Any] = []
        for query in queries:
            with suppress(OperationError):
                said += ask(session, query, STATUS_BUSY_SECONDS)
        return said


def ask(session: Session, script: str, busy_seconds: float = 10.0) -> list[Any]:
    """The JSON values that a script prints, one per line. Raises OperationError."""
    found: list[Any] = []
    stream(session, script, found.append, busy_seconds)
    return found


def stream(
    session: Session,
    script: str,
    take: Callable[[Any], object],
    busy_seconds: float = 10.0,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Like `ask`, but passes on each value as it comes; psql may print so many bytes."""
    url, where = session.url, session.context()
    argv = ["psql", "-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]
    wrong = 0

    def on_line(line: bytes) -> None:
        text = line.strip()
        if not text:
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            nonlocal wrong
            wrong += 1
            return
        take(value)

    try:
        ended = follow(
            session.host,
            argv,
            on_line,
            timeout=READ_SECONDS,
            whom=where.identity,
            cwd=where.directory,
            env={**where.environment, **_session(where.environment, url, busy_seconds)},
            payload=(script + "\n\\q\n").encode("utf-8"),
            most=Budget(most_bytes),
        )
    except OperationError as error:
        if "No such file" in error.message:
            raise OperationError(f"cannot read {url}: psql is not installed on the host") from None
        raise
    if ended.code is None:
        raise OperationError(f"{url} did not answer within {READ_SECONDS:g} s")
    if ended.code != 0:
        raise _explained(url, ended.lines())
    if wrong:
        # Not quoted: it may be the app's data.
        raise OperationError(f"{url}: psql returned {wrong} lines that are not JSON")


def _session(environment: dict[str, str], url: str, busy_seconds: float) -> dict[str, str | None]:
    options = {
        "standard_conforming_strings": "on",
        "datestyle": "ISO",
        "lock_timeout": str(int(busy_seconds * 1000)),
        "statement_timeout": str(int(READ_SECONDS * 1000)),
        "client_min_messages": "warning",
    }
    given = environment.get("PGOPTIONS", "")
    ours = " ".join(f"-c {name}={value}" for name, value in options.items())
    found: dict[str, str | None] = {
        "LC_ALL": "C.UTF-8",
        "PGAPPNAME": "celeriac",
        "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        "PGCLIENTENCODING": "UTF8",
        "PGTZ": "UTC",
        "PGOPTIONS": f"{given} {ours}".strip(),
    }
    password = None if "PGPASSWORD" in environment else password_for(url, environment)
    return {**found, **({} if password is None else {"PGPASSWORD": password})}


def password_for(url: str, environment: dict[str, str]) -> str | None:
    """The password in a URL of the environment with the same server, database and user."""
    wanted = postgres_url.parse(url)
    for each in postgres_url.in_environment(environment)[0]:
        if wanted is not None and each.server() == wanted.server() and each.password is not None:
            return each.password
    return None


def _explained(url: str, lines: list[str]) -> OperationError:
    said = " ".join(lines)
    for words, meaning in PROBLEMS:
        if words in said:
            return OperationError(f"{url} {meaning}", evidence=lines)
    missing = re.search(r'FATAL: +(database ".*" does not exist|role ".*" does not exist)', said)
    if missing:
        return OperationError(f"{url}: {missing.group(1)}", evidence=lines)
    wrong = re.search(r"(?:ERROR|FATAL): +(.*)", lines[0] if lines else "")
    why = wrong.group(1) if wrong else (lines[-1] if lines else "psql printed no error")
    return OperationError(f"{url}: {why}", evidence=lines)


# --- SQL text -----------------------------------------------------------------------------------


def quoted(name: str) -> str:
    """An identifier; quotes in it are doubled."""
    if "\0" in name:
        raise OperationError("a table or column name must not contain a NUL character")
    return '"' + name.replace('"', '""') + '"' if name.isascii() else _unicode(name)


def constant(value: str) -> str:
    """A string constant without a type: it takes that of the column it is compared with."""
    return "'" + value.replace("'", "''") + "'" if value.isascii() else _unicode(value, "'")


def _unicode(text: str, quote: str = '"') -> str:
    """An identifier or a constant in ASCII: the script contains nothing else."""
    escaped = "".join(
        char if char.isascii() else "!+%06x" % ord(char) for char in text.replace("!", "!!")
    )
    return f"U&{quote}{escaped.replace(quote, quote * 2)}{quote} UESCAPE '!'"


def literal(value: Any) -> str:
    """JSON as an ASCII string constant; with our settings, only quotes are special."""
    return "'" + json.dumps(value).replace("'", "''") + "'"


def text(value: str) -> str:
    """A string constant."""
    return f"({literal([value])}::jsonb ->> 0)"


def names(values: Iterable[str]) -> str:
    return ", ".join(text(value) for value in values)
