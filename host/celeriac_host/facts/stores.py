"""The databases of the app: their kinds and tables."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from celeriac_host.code.sources import is_skipped, working_directory
from celeriac_host.store import postgres_url
from celeriac_host.store.store import Columns
from celeriac_host.store.stores import open_store
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

ENDINGS = (".db", ".sqlite", ".sqlite3")
DEPTH = 3
FOUND_LIMIT = 20


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    named, unit = args["databases"], args["unit"]
    wanted = Columns(args.get("statusColumns", []))
    if named is not None:
        return [_describe(path, host, unit, wanted) for path in named]
    urls, unread = _named_in_environment(host, unit)
    found = [_describe(path, host, unit, wanted) for path in [*discover(host, unit), *urls]]
    return [*found, *map(_unread, unread)]


def _describe(path: str, host: System, unit: str, wanted: Columns) -> dict[str, Any]:
    try:
        return open_store(path, host, unit).describe(wanted)
    except OperationError as error:
        shown = "a PostgreSQL URL" if postgres_url.is_url(path) else path
        return {"kind": "unreadable", "path": shown, "problem": error.message}


def _named_in_environment(host: System, unit: str) -> tuple[list[str], list[str]]:
    """URLs without passwords, and the variables whose URLs cannot be read."""
    try:
        environment = units.context(host, unit).environment
    except OperationError:
        return [], []
    urls, unread = postgres_url.in_environment(environment)
    return list(dict.fromkeys(url.plain() for url in urls)), unread


def _unread(variable: str) -> dict[str, Any]:
    path = f"the PostgreSQL URL in {variable}"
    expected = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
    how = "with the special characters of its password percent-encoded"
    problem = f"cannot be read: expected {expected}, {how}; or name it in the input `database`"
    return {"kind": "unreadable", "path": path, "problem": f"{path} {problem}"}


def discover(host: System, unit: str) -> list[str]:
    """Files below the unit's WorkingDirectory that are named like a SQLite database."""
    directory = working_directory(host, unit)
    found: list[str] = []
    folders = deque([(directory, 1)] if directory else [])
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
