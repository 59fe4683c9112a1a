"""Cancels the consumers of the unit's worker, stops the unit and waits until its cgroup is empty.

Touches: the unit; its running tasks may finish first.
Undo: guard-unit starts it after everything else is undone; a worker that still runs consumes its
  queues again.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.app import leftover_processes, stopping
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick
from celeriac_host.system.unit_values import RESTING

PROPERTIES = ("ActiveState", "SubState", "ControlGroup", "MainPID", "Slice")
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
        some = leftover_processes.count(left)
        host.note(f"{unit}: waiting for {some} to end, {waited} s of {timeout:g}")

    try:
        stopped = stopping.stop(args, host, journal, timeout, Tick(TICK_SECONDS, tell))
    except OperationError as error:
        raise OperationError(
            f"could not stop {unit}: {error.message}",
            ran=error.ran,
            exit_code=error.exit_code,
            evidence=[*error.evidence, *leftover_processes.lines(units.cgroup_processes(group))],
        ) from None
    ended = leftover_processes.end(group, host)
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
