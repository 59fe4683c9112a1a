"""Cancels the consumers of the unit's worker, stops the unit and waits until its cgroup is empty.

Touches: the unit; its running tasks may finish first.
Undo: guard-unit starts it after everything else is undone; a worker that still runs consumes its
  queues again.
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
    group = stopping.group_of(args["unit"], now)
    return now["ActiveState"] in RESTING and not units.cgroup_processes(group)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, timeout = args["unit"], float(args["timeoutSeconds"])
    waited = 0
    # systemd reports no ControlGroup once the unit has stopped, even if processes are left in it.
    before = units.show(host, unit, PROPERTIES)
    group = stopping.group_of(unit, before)

    def tell() -> None:
        nonlocal waited
        waited += TICK_SECONDS
        left = units.cgroup_processes(group)
        host.note(f"{unit}: waiting for {_described(left)} to end, {waited} s of {timeout:g}")

    try:
        stopped = stopping.stop(args, host, journal, timeout, Tick(TICK_SECONDS, tell))
    except OperationError as error:
        raise OperationError(
            f"could not stop {unit}: {error.message}",
            ran=error.ran,
            exit_code=error.exit_code,
            evidence=[*error.evidence, *_lines(units.cgroup_processes(group))],
        ) from None
    ended = _end_leftovers(group, host)
    now = units.show(host, unit, PROPERTIES)
    if now["ActiveState"] not in RESTING:
        raise OperationError(f"{unit} is {now['ActiveState']} ({now['SubState']}) after its stop")
    more = f"; {ended} leftover process{'' if ended == 1 else 'es'} ended" if ended else ""
    line = f"{unit} stopped, no process left{more}{stopped.remark}"
    until = stopped.until if before["ActiveState"] == "active" else None
    # After the looks: what this worker wrote, it wrote before.
    return line, {"consumedUntil": until, "stoppedAt": stopping.rests_at(unit, group, host)}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    # guard-unit starts a stopped worker, after its unit file is restored.
    return stopping.take_back(args, host, journal)


def _end_leftovers(group: str, host: System) -> int:
    """With KillMode=process or none, systemd leaves processes; all in the cgroup are the unit's."""
    left = units.cgroup_processes(group)
    ended = len(left)
    for name in (signal.SIGTERM, signal.SIGKILL):
        _signal(left, name)
        end = time.monotonic() + LEFTOVER_GRACE_SECONDS
        while left and time.monotonic() < end:
            host.sleep(0.2)
            left = units.cgroup_processes(group)
    if left:
        raise OperationError(f"{_described(left)} did not end after SIGKILL", evidence=_lines(left))
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
