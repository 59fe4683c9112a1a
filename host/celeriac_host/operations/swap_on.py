"""Enables a swap file.

Touches: the kernel's swap areas.
Undo: disables it again.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import swaps
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return swaps.active(args["path"]) is not None


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    journal.keep("off", True)
    swaps.turn_on(host, args["path"])
    now = swaps.active(args["path"])
    if now is None:
        raise OperationError(f"swapon succeeded, but /proc/swaps does not list {args['path']}")
    return f"{args['path']} in use as swap, priority {now.priority}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    if journal.get("off") is None:
        return None
    if swaps.active(args["path"]) is not None:
        swaps.turn_off(host, args["path"])
    return f"{args['path']} not in use as swap again"
