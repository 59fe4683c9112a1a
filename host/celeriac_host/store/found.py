"""Databases that are named, or found below a unit's directory and in its environment."""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from typing import Any

from celeriac_host.code.sources import is_skipped, working_directory
from celeriac_host.store import postgres_url, sqlite_child
from celeriac_host.store.sqlite_child import Channel, Work
from celeriac_host.store.store import Columns
from celeriac_host.store.stores import open_store
from celeriac_host.system import unit_context
from celeriac_host.system.app_user import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

ENDINGS = (".db", ".sqlite", ".sqlite3")
DEPTH = 3
FOUND_LIMIT = 20
LONGEST_SECONDS = 30.0
HEADER = b"SQLite format 3\0"
# Celery writes `db+sqlite:///`, SQLAlchemy `sqlite+pysqlite:///`.
SQLITE_URL = re.compile(
    r"(?:db\+|sqla\+)?sqlite3?(?:\+\w+)?:///(?P<path>[^?#]+)(?:\?.*)?", re.DOTALL
)
PATH_LIMIT = 4096
NAMED_LIMIT = 100


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    """`user` opens the databases, or if None the user of the unit."""
    named, unit, user = args["databases"], args["unit"], args.get("user")
    wanted = Columns(args.get("statusColumns", []))
    paths, unread = found(host, unit, user) if named is None else (named, [])
    described = [_describe(path, host, unit, user, wanted) for path in paths]
    return [*described, *map(_unread, unread)]


def _describe(
    path: str, host: System, unit: str, user: str | None, wanted: Columns
) -> dict[str, Any]:
    try:
        return open_store(path, host, unit, user).describe(wanted)
    except OperationError as error:
        shown = "a PostgreSQL URL" if postgres_url.is_url(path) else path
        return {"kind": "unreadable", "path": shown, "problem": error.message}


def found(host: System, unit: str, user: str | None) -> tuple[list[str], list[str]]:
    """Files below the unit's directory and in its environment, and PostgreSQL databases in its
    environment, without their passwords; and the variables whose URLs cannot be read.
    """
    try:
        environment = unit_context.context(host, unit).environment
    except OperationError:
        environment = {}
    urls, unread = postgres_url.in_environment(environment)
    plain = dict.fromkeys(url.plain() for url in urls)
    return [*_files(host, unit, user, environment), *plain], unread


def _unread(variable: str) -> dict[str, Any]:
    path = f"the PostgreSQL URL in {variable}"
    expected = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
    how = "with the special characters of its password percent-encoded"
    problem = f"cannot be read: expected {expected}, {how}; or name it in the input `database`"
    return {"kind": "unreadable", "path": path, "problem": f"{path} {problem}"}


def _files(host: System, unit: str, user: str | None, environment: dict[str, str]) -> list[str]:
    directory = working_directory(host, unit)
    named = named_files(environment, directory)
    if not directory and not named:
        return []
    try:
        whom = app_user(host, unit, user)
    except OperationError:
        return []

    def listed(channel: Channel) -> list[str]:
        below = discover(directory) if directory else []
        return _once([*filter(_is_sqlite, named), *below])

    # As the app's user: where a folder of the app or a variable leads is not for root to see.
    work = Work(directory or "/", listed, LONGEST_SECONDS, own=False)
    try:
        seen = sqlite_child.look(host, whom, work)
    except OperationError:
        return []
    paths = [each for each in seen if isinstance(each, str)] if isinstance(seen, list) else []
    return paths[:FOUND_LIMIT]


def named_files(environment: dict[str, str], directory: str) -> list[str]:
    """Values that are the URL of a SQLite file; whether it is one, is open.

    Not paths: a variable may as well name a backup, or the database of another app.
    """
    named = []
    for value in map(str.strip, environment.values()):
        url = SQLITE_URL.fullmatch(value)
        # As SQLAlchemy reads it: after three slashes, a path that begins with none is relative.
        path = os.path.join(directory or "/", url["path"]) if url else ""
        if path and len(path) <= PATH_LIMIT and "\0" not in path:
            named.append(os.path.normpath(path))
    return list(dict.fromkeys(named))[:NAMED_LIMIT]


def _is_sqlite(path: str) -> bool:
    """In the child: a regular file that begins as a SQLite database does."""
    try:
        # A device may react to being opened.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(handle).st_mode) and os.read(handle, len(HEADER)) == HEADER
    except OSError:
        return False
    finally:
        os.close(handle)


def _once(paths: list[str]) -> list[str]:
    """In the child: several names of one file are one database."""
    found: dict[tuple[int, int], str] = {}
    for path in paths:
        try:
            about = os.stat(path)
        except OSError:
            continue
        found.setdefault((about.st_dev, about.st_ino), path)
    return list(found.values())


def discover(directory: str) -> list[str]:
    """Files below a directory that are named like a SQLite database."""
    found: list[str] = []
    folders = deque([(directory, 1)])
    while folders and len(found) < FOUND_LIMIT:
        folder, depth = folders.popleft()
        try:
            with os.scandir(folder) as opened:
                entries = sorted(opened, key=lambda entry: entry.name)
        except OSError:
            continue
        if any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            if entry.is_file() and entry.name.endswith(ENDINGS):
                found.append(entry.path)
            elif depth < DEPTH and entry.is_dir(follow_symlinks=False):
                folders.extend([] if is_skipped(entry.name) else [(entry.path, depth + 1)])
    return found[:FOUND_LIMIT]
