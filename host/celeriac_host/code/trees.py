"""Changes a user's folders by a process of that user (`app/programs/tree.py`)."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import Any, BinaryIO, Sequence

from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 600.0


def owner_of(folder: str) -> Identity:
    """The owner of an existing folder. Raises OperationError."""
    try:
        about = os.stat(folder)
    except OSError as error:
        raise OperationError(f"cannot access {folder}: {error.strerror}") from None
    if not os.path.isdir(folder):
        raise OperationError(f"{folder} is not a directory")
    return identity(str(about.st_uid))


def work(
    host: System,
    owner: Identity,
    what: str,
    args: dict[str, Any],
    payload: Any = None,
    stdin: BinaryIO | None = None,
) -> Any:
    """Runs a command of the program; returns its value. Raises OperationError, RunnerGone."""
    done = host.run(
        [sys.executable, "-I", "-S", "-c", _program(), what, json.dumps(args)],
        timeout=TIMEOUT_SECONDS,
        input=None if payload is None else json.dumps(payload).encode("ascii"),
        stdin=stdin,
        user=owner,
        cwd="/",
        check=False,
    )
    try:
        said = json.loads(done.out)
    except ValueError:
        lines = done.lines()
        why = lines[-1] if lines else f"exit code {done.code}"
        raise OperationError(f"{what} as {owner.name} failed: {why}", evidence=lines) from None
    if "error" in said:
        raise OperationError(said["error"])
    return said["value"]


def remove(host: System, owner: Identity, folder: str, names: Sequence[str]) -> list[str]:
    """Removes folders in a folder of the owner; returns those that could not be removed."""
    paths = [os.path.join(folder, name) for name in names]
    left: list[str] = work(host, owner, "remove", {"folders": paths})
    if left and os.geteuid() == 0 and owner.uid != 0:
        own = [os.path.basename(path) for path in left]
        asked = {"folder": folder, "owner": owner.uid, "names": own}
        work(host, identity("0"), "remove-left", asked)
    return [path for path in left if os.path.lexists(path)]


def parsed(text: str) -> dict[str, str]:
    """A JSON object of strings; empty if it is invalid."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _program() -> str:
    name = "celeriac_host.app.programs.tree"
    spec = importlib.util.find_spec(name)
    text = spec.loader.get_source(name) if spec and spec.loader else None  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text
