"""Proves that the unit runs as requested, for a minimum time.

Touches: nothing.
Undo: nothing to undo.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import processes, unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

STEADY = ("ActiveState", "MainPID", "NRestarts")
# The invocation separates the journal lines of this start from those of other workers.
ABOUT = (*STEADY, "SubState", "InvocationID")
NOTE_SECONDS = 5.0
POLL_SECONDS = 1.0
# A child that is being replaced is missing for a moment.
REPLACED_SECONDS = 10.0


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, children = args["unit"], args["children"]
    _compare(unit, args["properties"], host)
    first = units.show(host, unit, ABOUT)
    if first["ActiveState"] != "active":
        raise _failed(unit, f"is {first['ActiveState']} ({first['SubState']})", first, host)
    main = units.number(first["MainPID"])
    _wait_for_children(unit, main, children, float(args["timeoutSeconds"]), host, first)
    healthy = float(args["minHealthySeconds"])
    end = time.monotonic() + healthy
    next_note = time.monotonic() + NOTE_SECONDS
    while time.monotonic() < end:
        host.sleep(min(POLL_SECONDS, max(end - time.monotonic(), 0)))
        _stay_put(unit, first, host)
        left = end - time.monotonic()
        if left > 0 and time.monotonic() >= next_note:
            next_note += NOTE_SECONDS
            host.note(f"{unit}: stable, {left:.0f} s to go")
    _wait_for_children(unit, main, children, REPLACED_SECONDS, host, first)
    pids = [child.pid for child in processes.pool_children(main)]
    line = f"{unit} runs as requested: {units.running(main)}, stable for {healthy:g} s"
    result = {"mainPid": main, "children": pids, "restarts": units.number(first["NRestarts"])}
    if args.get("exposure"):
        exposure = {"before": args["exposure"]["before"], "after": units.exposure(host, unit)}
        shown = ["unknown" if each is None else f"{each:g}" for each in exposure.values()]
        line += f"; exposure {shown[0]} \u2192 {shown[1]} (systemd-analyze security)"
        result["exposure"] = exposure
    return line, result


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _compare(unit: str, asked: dict[str, str], host: System) -> None:
    if not asked:
        return
    seen = units.show(host, unit, list(asked))
    wrong = [
        f"{name} is {seen.get(name, 'unknown to this systemd')}, expected {value}"
        for name, value in asked.items()
        if seen.get(name) != value
    ]
    if wrong:
        raise OperationError(
            f"{unit} does not run as requested: {'; '.join(wrong)}", evidence=wrong
        )


def _wait_for_children(
    unit: str,
    main: int,
    expected: int | None,
    timeout: float,
    host: System,
    first: dict[str, str],
) -> None:
    if expected is None:
        return
    end = time.monotonic() + timeout
    while True:
        found = processes.pool_children(main)
        if len(found) == expected:
            return
        _stay_put(unit, first, host)
        if time.monotonic() >= end:
            raise OperationError(
                f"{unit} has {len(found)} pool processes after {timeout:g} s, expected {expected}",
                evidence=[f"{each.pid} {' '.join(each.argv)[:200]}" for each in found]
                or unit_journal.evidence(host, unit, run=_run(first)),
            )
        host.sleep(POLL_SECONDS / 2)


def _stay_put(unit: str, first: dict[str, str], host: System) -> None:
    now = units.show(host, unit, STEADY)
    moved = [
        f"{name} changed from {first[name]} to {now[name]}"
        for name in STEADY
        if now[name] != first[name]
    ]
    if moved:
        raise _failed(unit, "did not keep running: " + ", ".join(moved), first, host)


def _failed(unit: str, how: str, first: dict[str, str], host: System) -> OperationError:
    lines = unit_journal.evidence(host, unit, run=_run(first))
    why = unit_journal.why(host, unit, lines)
    return OperationError(f"{unit} {how}" + (f": {why}" if why else ""), evidence=lines)


def _run(first: dict[str, str]) -> unit_journal.Run:
    return unit_journal.Run(first["InvocationID"], units.number(first["MainPID"]))
