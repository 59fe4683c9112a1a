"""Disables a swap file, if memory can hold its content.

Touches: the kernel's swap areas.
Undo: enables it again.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import swaps
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return swaps.active(args["path"]) is None


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    now = swaps.active(args["path"])
    if now is not None:
        journal.keep("priority", now.priority)
        swaps.turn_off(host, args["path"])
    return f"{args['path']} no longer in use as swap"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    priority = journal.get("priority")
    if priority is None:
        return None
    if swaps.active(args["path"]) is None:
        swaps.turn_on(host, args["path"], priority)
    return f"{args['path']} in use as swap again"
