"""Puts messages of dead workers back into their queues, as Kombu would after their time-out.

Touches: `unacked` and the queues of a Redis broker, while no other worker uses it.
Undo: can't be undone: whichever worker runs next does those tasks.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.app import leftovers, messages
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    journal.keep("restoring", True)
    report = messages.ask(args, host, "restore", before=None, mainPid=0)
    journal.keep("restored", report.get("restored", 0))
    return leftovers.describe(report), report


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    if journal.get("restoring") is None:
        return None
    count = journal.get("restored", "some, maybe, of the")
    return None if count == 0 else f"{count} messages stay in their queues: they are to be done"
