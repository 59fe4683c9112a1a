"""Compares an app's visibility timeout with what a plan expects."""

from __future__ import annotations

import json
from typing import Any

from celeriac_host.app.reports import Invalid, delivery
from celeriac_host.system.durations import duration
from celeriac_host.system.errors import OperationError

MARK = "celeriac: delivery "
# Appended to a program that has the module `app_side`, and has imported the app as `app`.
TELL = f"""
print("\\n" + {MARK!r} + json.dumps(delivery(app)))
"""


def read(out: str) -> dict[str, Any]:
    """What the program printed."""
    lines = [line for line in out.splitlines() if line.startswith(MARK)]
    try:
        said = json.loads(lines[-1][len(MARK) :])
    except (IndexError, ValueError, RecursionError):
        said = None
    try:
        return delivery(said)
    except Invalid:
        return {"problem": "the app did not report it"}


def compare(asked: dict[str, Any], seen: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A sentence, or an empty one, and the result of the step. Raises OperationError."""
    problem = seen.get("problem")
    if problem:
        return f"its visibility timeout is unknown: {problem}", {"problem": problem}
    seen = {name: value for name, value in seen.items() if name != "problem"}
    seconds = seen.get("seconds")
    if seconds is None or seconds >= asked["atLeastSeconds"]:
        return "", seen
    said = (
        f"its visibility timeout is {duration(seconds)} ({seen['where']}), "
        f"but longest-task is {duration(asked['atLeastSeconds'])}: {asked['why']}"
    )
    if asked["refuse"]:
        raise OperationError(said, evidence=[asked["fix"]])
    return said, {**seen, "accepted": True}
