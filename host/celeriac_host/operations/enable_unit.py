"""Enables the unit, so that it starts at boot.

Touches: the links that `systemctl enable` creates.
Undo: `systemctl disable`, if it was disabled before.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

# `systemctl disable` would not restore any other state.
REVERSIBLE = ("disabled", "indirect", "")


def check(args: dict[str, Any], host: System) -> bool:
    return _state(args["unit"], host) == "enabled"


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit = args["unit"]
    state = _state(unit, host)
    if state not in REVERSIBLE:
        raise OperationError(
            f"cannot enable {unit}: its state is {state}; expected a unit file of its own "
            "with WantedBy= in [Install]"
        )
    journal.keep("state", state)
    with host.shielded():
        units.control(host, "enable", "--", unit)
    now = _state(unit, host)
    if now != "enabled":
        raise OperationError(f"{unit} is {now or 'unknown'} after enabling it; expected enabled")
    return f"{unit} enabled"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    unit, before = args["unit"], journal.get("state")
    if before is None:
        return None
    if _state(unit, host) == "enabled":
        units.control(host, "disable", "--", unit)
    return f"{unit} {before or 'disabled'} again"


def _state(unit: str, host: System) -> str:
    return units.show(host, unit, ["UnitFileState"]).get("UnitFileState", "")
