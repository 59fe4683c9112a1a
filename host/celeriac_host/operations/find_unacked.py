"""Looks for messages that dead workers left unacknowledged.

Touches: nothing; brokers other than Redis cannot be searched.
Undo: nothing to undo.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.app import leftovers
from celeriac_host.facts import unacked
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    report = unacked.find(args, host)
    return leftovers.describe(report), report


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None
