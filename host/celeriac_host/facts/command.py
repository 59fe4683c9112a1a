"""What a command of the app prints, and how it ends: one of the user's own checks."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from celeriac_host.app import commands
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

KEPT_BYTES = 8 * 1024


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """Runs it once, as the unit would. What it changes is its own business."""
    last: deque[str] = deque(maxlen=KEPT_BYTES)
    begun = time.monotonic()
    code: int | None = None
    problem: str | None = None
    try:
        code = commands.run(host, args, last.append).code
    except OperationError as error:
        problem = error.message
    output = "\n".join(last).encode("utf-8", "replace")[-KEPT_BYTES:]
    return {
        "code": code,
        "output": output.decode("utf-8", "ignore"),
        "seconds": time.monotonic() - begun,
        "problem": problem,
    }
