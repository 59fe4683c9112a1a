"""The Python environment that an app runs in, its owner, and what was installed last."""

from __future__ import annotations

import json
import os
import re
from typing import Any, NamedTuple, Sequence

from celeriac_host.system import files, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System

FOLDER = "dependencies"
TELL = "import json, sys; print(json.dumps([sys.prefix, sys.base_prefix, sys.executable]))"


class Environment(NamedTuple):
    """A virtual environment; `owner` is who owns its folder."""

    prefix: str
    python: str
    owner: Identity


def find(host: System, unit: str, interpreter: Sequence[str]) -> Environment:
    """The environment of the unit's interpreter. Raises OperationError for the system's Python."""
    # Its folder may not exist yet.
    where = units.context(host, unit)._replace(directory="/")
    done = units.run_as(
        host, where, [*units.expanded(interpreter, where), "-c", TELL], timeout=60, check=False
    )
    try:
        prefix, base, python = json.loads(done.out)
    except ValueError:
        lines = done.lines()
        why = lines[-1] if lines else f"exit code {done.code}"
        raise OperationError(
            f"the interpreter of {unit}, {' '.join(interpreter)}, failed: {why}",
            ran=list(interpreter),
            evidence=lines,
        ) from None
    if prefix == base or not os.path.isfile(os.path.join(prefix, "pyvenv.cfg")):
        raise OperationError(
            f"{unit} runs on the system's Python ({python}), which belongs to the "
            "system's packages; create a virtual environment (python3 -m venv), and use its celery "
            "in ExecStart="
        )
    return Environment(prefix, python, identity(str(os.stat(prefix).st_uid)))


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
    return os.path.join(state, FOLDER, re.sub(r"[^A-Za-z0-9@._-]", "_", unit) + ".json")
