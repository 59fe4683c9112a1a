"""The Python sources of an app, and which of them the running worker was started with."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any

from celeriac_host.app.programs import sources as program
from celeriac_host.code import trees
from celeriac_host.state import unit_records
from celeriac_host.system import app_user, files, forked
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.system.units import glance, show

TIMEOUT_SECONDS = 120.0
# In the state folder: unit → what its worker was started with.
FOLDER = "running"

is_skipped = program.is_skipped


def working_directory(host: System, unit: str) -> str:
    """The directory of a unit's processes; empty if none is set."""
    seen = glance(host, unit, ["WorkingDirectory", "User"])
    path = seen.get("WorkingDirectory", "").lstrip("!")
    if path == "~":
        return os.path.expanduser("~" + seen.get("User", ""))
    return path


def remember(host: System, unit: str) -> None:
    """Called when the unit has been started: this is the code that it runs.

    Best effort: without this record, the times of the files decide.
    """
    with suppress(OSError):
        seen = show(host, unit, ["InvocationID"])
        record = {
            "invocation": seen.get("InvocationID", ""),
            "at": time.time(),
            "sources": _fingerprint(read(host, unit, working_directory(host, unit))),
        }
        path = unit_records.path(host.state, FOLDER, unit)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        files.write(path, json.dumps(record).encode("ascii"), 0o600, os.geteuid(), os.getegid())


def started_with_these(host: System, unit: str, now: dict[str, Any] | None) -> bool | None:
    """Whether the worker that runs was started with these sources; None if unknown."""
    try:
        with open(unit_records.path(host.state, FOLDER, unit), encoding="ascii") as file:
            record = json.load(file)
        known, sources = record["invocation"], record["sources"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not known or known != glance(host, unit, ["InvocationID"]).get("InvocationID"):
        return None
    return None if now is None or not sources else bool(sources == now.get("fingerprint"))


def _fingerprint(found: dict[str, Any] | None) -> str:
    return str(found.get("fingerprint")) if found else ""


def read(host: System, unit: str, directory: str) -> dict[str, Any] | None:
    """What the unit's user can read of them: `newest`, `truncated` and `fingerprint`.

    None without a directory, or if they could not be read.
    """
    if not directory:
        return None
    try:
        whom = app_user.of_unit(host, unit)
        asked = {"directory": directory}
        if whom.uid == os.geteuid():
            what = f"reading {directory}"
            found = forked.value(host, what, lambda: program.read(asked), TIMEOUT_SECONDS)
        else:
            found = trees.work(host, whom, "sources", "read", asked, timeout=TIMEOUT_SECONDS)
    except OperationError:
        return None
    return found if isinstance(found, dict) else None
