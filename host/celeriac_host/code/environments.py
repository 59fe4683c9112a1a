"""The Python environment that an app runs in, its user, and what was installed last."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, Sequence

from celeriac_host.code import trees
from celeriac_host.state import unit_records
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.system import System

FOLDER = "dependencies"


class Environment(NamedTuple):
    """A virtual environment; `user` is the app's, who owns it."""

    prefix: str
    python: str
    user: Identity


def find(host: System, unit: str, interpreter: Sequence[str], user: Identity) -> Environment:
    """The environment of the unit's interpreter, by its path: the app is not asked.

    Raises NotOwn if it does not belong to the user, OperationError for the system's Python.
    """
    python = _python(unit, interpreter)
    found = trees.work(host, user, "environment", "find", {"python": python})
    if found is None:
        raise OperationError(
            f"{unit} runs on the system's Python ({python}), which belongs to the "
            "system's packages; create a virtual environment (python3 -m venv), and use its celery "
            "in ExecStart="
        )
    return Environment(found["prefix"], found["python"], user)


def _python(unit: str, interpreter: Sequence[str]) -> str:
    """The path in `/usr/bin/env PYTHONPATH=… /srv/venv/bin/python -E`."""
    for word in interpreter:
        if word.startswith("/") and os.path.basename(word) != "env":
            return word
    raise OperationError(
        f"the interpreter of {unit}, {' '.join(interpreter)}, is not a path; name the celery of "
        "its virtual environment in ExecStart=, e.g. /srv/app/venv/bin/celery"
    )


def recorded(state: str, unit: str) -> dict[str, Any] | None:
    """What Celeriac last installed for this unit; None if nothing."""
    try:
        with open(record_path(state, unit), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def record(state: str, unit: str, what: dict[str, Any] | None) -> None:
    path = record_path(state, unit)
    if what is None:
        files.remove(path)
        return
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    content = json.dumps(what, indent=1).encode("ascii") + b"\n"
    files.write(path, content, 0o600, os.geteuid(), os.getegid())


def record_path(state: str, unit: str) -> str:
    return unit_records.path(state, FOLDER, unit)
