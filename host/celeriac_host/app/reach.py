"""Whether the worker that is to be started could connect to its broker now."""

from __future__ import annotations

import json
from typing import Any

from celeriac_host.app.reports import clipped
from celeriac_host.system.errors import OperationError

MARK = "celeriac: broker "
# For all attempts: the client of Redis waits for as long as the kernel does.
LIMIT_SECONDS = 20
# Appended to a program that has the module `app_side`, and has imported the app as `app`.
TELL = f"""
print("\\n" + {MARK!r} + json.dumps(reach(app, {LIMIT_SECONDS})))
"""


def read(out: str) -> dict[str, Any]:
    """What the program printed: `reached`, or `unreachable` or `problem` with a reason."""
    lines = [line for line in out.splitlines() if line.startswith(MARK)]
    try:
        said = json.loads(lines[-1][len(MARK) :])
    except (IndexError, ValueError, RecursionError):
        said = None
    for kind in ("unreachable", "problem") if isinstance(said, dict) else ():
        if isinstance(said.get(kind), str):
            return {kind: clipped(said[kind])}
    if isinstance(said, dict) and said.get("reached") is True:
        return {"reached": True}
    return {"problem": "the app did not tell it"}


def compare(asked: dict[str, Any], seen: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A sentence, or an empty one, and a part of the result. Raises OperationError."""
    if "problem" in seen:
        return f"whether it reaches its broker is unknown: {seen['problem']}", dict(seen)
    if "unreachable" not in seen:
        return "", {}
    said = f"{seen['unreachable'].rstrip('.')}: {asked['why']}"
    if asked["refuse"]:
        raise OperationError(said, evidence=[asked["fix"]])
    return said, {"accepted": True}
