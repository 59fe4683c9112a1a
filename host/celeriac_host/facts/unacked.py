"""Messages that dead workers of a unit left unacknowledged: see UnackedFact."""

from __future__ import annotations

from typing import Any

from celeriac_host.app import leftovers, messages
from celeriac_host.facts.unit import instant
from celeriac_host.system import units
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import RESTING

PROPERTIES = ("ActiveState", "MainPID", "InactiveExitTimestampMonotonic")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    report = find(args, host)
    message = leftovers.describe(report)
    if "problem" in report:
        return {"kind": "unknown", "message": message}
    found = [
        {name: str(each.get(name) or "") for name in ("id", "task", "queue")}
        for each in report.get("messages", ())
    ]
    return {"kind": "looked", "message": message, "count": report["count"], "messages": found}


def find(args: dict[str, Any], host: System) -> dict[str, Any]:
    """The report of `programs/messages.py`, or a `problem`."""
    seen = units.show(host, args["unit"], PROPERTIES)
    running = seen["ActiveState"] not in RESTING
    # Messages that were delivered before this worker started belong to one that has ended.
    started = instant(seen["InactiveExitTimestampMonotonic"]) if running else None
    main = units.number(seen["MainPID"])
    return messages.ask(args, host, "look", before=started, mainPid=main)
