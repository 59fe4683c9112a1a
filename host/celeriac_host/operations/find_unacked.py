"""Looks for messages that dead workers left unacknowledged.

Touches: nothing; brokers other than Redis cannot be searched.
Undo: nothing to undo.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.app import leftovers, messages
from celeriac_host.facts.unit import instant
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import units
from celeriac_host.system.system import System

PROPERTIES = ("ActiveState", "MainPID", "InactiveExitTimestampMonotonic")


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    seen = units.show(host, args["unit"], PROPERTIES)
    running = seen["ActiveState"] not in ("inactive", "failed")
    # Messages that were delivered before this worker started belong to one that has ended.
    started = instant(seen["InactiveExitTimestampMonotonic"]) if running else None
    main = units.number(seen["MainPID"])
    report = messages.ask(args, host, "look", before=started, mainPid=main)
    return leftovers.describe(report), report


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None
