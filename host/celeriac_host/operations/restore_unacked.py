"""Returns messages of dead workers to their queues, as Kombu does after the visibility timeout.

Touches: `unacked` and the queues of a Redis broker, if no other worker uses it.
Undo: impossible: the next worker runs those tasks.
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
    count = journal.get("restored", "an unknown number of")
    return (
        None
        if count == 0
        else f"{count} messages stay in their queues: their tasks still have to run"
    )
