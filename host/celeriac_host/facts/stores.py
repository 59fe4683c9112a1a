"""The databases of the app: their kinds and tables."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from celeriac_host.code.sources import is_skipped, working_directory
from celeriac_host.store import postgres
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
    paths = found(host, unit) if named is None else named
    wanted = Columns(args.get("statusColumns", []))
    return [_describe(path, host, unit, wanted) for path in paths]


def _describe(path: str, host: System, unit: str, wanted: Columns) -> dict[str, Any]:
    try:
        return open_store(path, host, unit).describe(wanted)
    except OperationError as error:
        return {"kind": "unreadable", "path": path, "problem": error.message}


def found(host: System, unit: str) -> list[str]:
    """Files below the unit's directory, and PostgreSQL databases in its environment."""
    try:
        urls = postgres.named_in(units.context(host, unit).environment)
    except OperationError:
        urls = []
    return [*discover(host, unit), *urls]


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
