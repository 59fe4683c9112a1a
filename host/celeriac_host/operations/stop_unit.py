"""Stops the unit, its consumers cancelled before, and waits until its cgroup is empty.

Touches: the unit: its tasks may end first.
Undo: by guard-unit, after everything else was put back; its queues given back, where it still runs.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

from celeriac_host.app import stopping
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick

PROPERTIES = ("ActiveState", "SubState", "ControlGroup", "MainPID", "Slice")
RESTING = ("inactive", "failed")
LEFTOVER_GRACE_SECONDS = 10.0
TICK_SECONDS = 5


def check(args: dict[str, Any], host: System) -> bool:
    now = units.show(host, args["unit"], PROPERTIES)
    return now["ActiveState"] in RESTING and not units.cgroup_processes(_group(args["unit"], now))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, timeout = args["unit"], float(args["timeoutSeconds"])
    waited = 0
    # Its ControlGroup is empty once it has stopped, whatever is left there.
    before = units.show(host, unit, PROPERTIES)
    group = _group(unit, before)

    def tell() -> None:
        nonlocal waited
        waited += TICK_SECONDS
        left = units.cgroup_processes(group)
        host.note(f"{unit}: waiting for {_described(left)} to end, {waited} s of {timeout:g}")

    try:
        stopped = stopping.stop(args, host, journal, timeout, Tick(TICK_SECONDS, tell))
    except OperationError as error:
        raise OperationError(
            f"{unit} could not be stopped: {error.message}",
            ran=error.ran,
            exit_code=error.exit_code,
            evidence=[*error.evidence, *_lines(units.cgroup_processes(group))],
        ) from None
    ended = _end_leftovers(group, host)
    now = units.show(host, unit, PROPERTIES)
    if now["ActiveState"] not in RESTING:
        raise OperationError(f"{unit} is {now['ActiveState']} ({now['SubState']}) after its stop")
    more = f"; {ended} left behind were ended" if ended else ""
    line = f"{unit} stopped, no process left{more}{stopped.remark}"
    return line, {"consumedUntil": stopped.until if before["ActiveState"] == "active" else None}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    # A stopped one is brought back by the unit's guard, after its definition was put back.
    return stopping.take_back(args, host, journal)


def _group(unit: str, seen: dict[str, str]) -> str:
    return seen.get("ControlGroup") or f"/{seen.get('Slice') or 'system.slice'}/{unit}"


def _end_leftovers(group: str, host: System) -> int:
    """With KillMode=process or none, systemd leaves them there; all in it is the unit's own."""
    left = units.cgroup_processes(group)
    ended = len(left)
    for name in (signal.SIGTERM, signal.SIGKILL):
        _signal(left, name)
        end = time.monotonic() + LEFTOVER_GRACE_SECONDS
        while left and time.monotonic() < end:
            host.sleep(0.2)
            left = units.cgroup_processes(group)
    if left:
        raise OperationError(
            f"{_described(left)} did not end, not even by KILL", evidence=_lines(left)
        )
    return ended


def _signal(those: list[processes.Process], name: signal.Signals) -> None:
    for each in those:
        if processes.same(each):
            with suppress(ProcessLookupError):
                os.kill(each.pid, name)


def _described(those: list[processes.Process]) -> str:
    return f"{len(those)} process{'' if len(those) == 1 else 'es'}"


def _lines(those: list[processes.Process]) -> list[str]:
    return [f"{each.pid} {each.state} {' '.join(each.argv)[:200]}" for each in those]
