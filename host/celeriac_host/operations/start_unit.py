"""Starts the unit and waits until it is active (for Type=notify: ready).

Touches: the unit.
Undo: cancels its consumers and stops it, so that earlier steps can be undone.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import stopping
from celeriac_host.code import sources
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import limits, unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick
from celeriac_host.system.unit_values import RESTING

PROPERTIES = ("ActiveState", "SubState", "Result", "MainPID")
READY = ("Type", "ActiveEnterTimestampMonotonic")


def check(args: dict[str, Any], host: System) -> bool:
    return units.show(host, args["unit"], PROPERTIES)["ActiveState"] == "active"


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, timeout = args["unit"], float(args["timeoutSeconds"])
    journal.keep("was", units.show(host, unit, PROPERTIES)["ActiveState"])
    if limits.drop(unit):
        units.reload(host)
    # Earlier starts count towards the start limit, those by hand too.
    host.run(["systemctl", "reset-failed", "--", unit], check=False)
    cursor = unit_journal.cursor(host)
    group = stopping.group_of(unit, units.show(host, unit, ("ControlGroup", "Slice")))
    rested = stopping.rests_at(unit, group, host)
    begun = time.monotonic()

    def tell() -> None:
        waited = time.monotonic() - begun
        host.note(f"{unit}: waiting until it is ready, {waited:.0f} s of {timeout:g}")

    argv = ["systemctl", "--no-pager", "--no-ask-password", "start", "--", unit]
    try:
        host.run(argv, timeout=timeout, tick=Tick(5, tell))
    except OperationError as error:
        in_time = error.exit_code is not None
        raise _failed(
            unit, "" if in_time else f" within {timeout:g} s", error, cursor, host
        ) from None
    now = units.show(host, unit, PROPERTIES)
    if now["ActiveState"] != "active":
        raise _failed(unit, "", OperationError("", ran=argv), cursor, host)
    sources.remember(host, unit)
    result = {"consumesFrom": _ready(unit, host), "restedUntil": rested}
    return f"{unit} is active (main {now['MainPID']})", result


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    unit = args["unit"]
    if journal.get("was") is None:
        return None
    now = units.show(host, unit, PROPERTIES)
    remark = ""
    if now["ActiveState"] not in RESTING:
        tick = Tick(5, lambda: host.note(f"{unit}: waiting for its stop"))
        remark = stopping.stop(args, host, journal, stopping.undo_timeout(args), tick).remark
    return f"{unit} stopped again{remark}"


def _ready(unit: str, host: System) -> float | None:
    """When the unit reported that it is ready, on the clock since boot; None if it never does."""
    seen = units.show(host, unit, READY)
    moment = units.number(seen["ActiveEnterTimestampMonotonic"])
    return moment / 1e6 if moment and seen["Type"].startswith("notify") else None


def _failed(
    unit: str, limit: str, error: OperationError, cursor: str, host: System
) -> OperationError:
    now = units.show(host, unit, PROPERTIES)
    lines = unit_journal.evidence(host, unit, cursor)
    why = unit_journal.why(host, unit, lines)
    state = f"{now['ActiveState']}, {now['Result']}"
    return OperationError(
        f"{unit} did not become ready{limit} ({state})" + (f": {why}" if why else ""),
        ran=error.ran,
        exit_code=error.exit_code,
        evidence=lines or error.evidence,
    )
