"""Records the state of the unit; its undo comes last and restores that state.

Touches: nothing.
Undo: starts, restarts or stops the unit, so that it runs as before; cancels the consumers of a
  worker before it ends.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import leftover_processes, stopping
from celeriac_host.code import sources
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import processes, unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick
from celeriac_host.system.unit_values import RESTING, SERVING

PROPERTIES = (
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "InvocationID",
    "NeedDaemonReload",
    "NRestarts",
    "ControlGroup",
    "Slice",
    "KillMode",
)
STEADY = ("MainPID", "NRestarts")
CHILDREN_SECONDS = 60.0


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit = args["unit"]
    now = units.show(host, unit, PROPERTIES)
    main = units.number(now["MainPID"])
    children = len(processes.pool_children(main)) if main else 0
    journal.keep("was", {**now, "children": children})
    how = f" ({units.running(main)})" if main else ""
    # Past tense: it is read at the end of the run.
    return f"{unit} was {now['ActiveState']}{how}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    unit, was = args["unit"], journal.get("was")
    if was is None:
        return None
    now = units.show(host, unit, PROPERTIES)
    if now["NeedDaemonReload"] == "yes" and was["NeedDaemonReload"] == "no":
        units.reload(host)
    if was["ActiveState"] in SERVING:
        is_same = now["ActiveState"] in SERVING and now["InvocationID"] == was["InvocationID"]
        if is_same and not stopping.is_to_restart(journal, was["InvocationID"]):
            return f"{unit} never stopped serving ({units.running(units.number(now['MainPID']))})"
        return _bring_back(args, now, was["children"], host, journal)
    if was["ActiveState"] in RESTING:
        remark = ""
        if now["ActiveState"] not in RESTING:
            remark = _control("stop", args, host, journal)
        return f"{unit} does not run, as before{remark}"
    # It was starting, e.g. between two crashes: let it try again, as before.
    if now["ActiveState"] in RESTING:
        units.control(host, "start", "--no-block", "--", unit)
    return f"{unit} is being started, as before"


def _bring_back(
    args: dict[str, Any], now: dict[str, str], children: int, host: System, journal: StepJournal
) -> str:
    unit = args["unit"]
    cursor = unit_journal.cursor(host)
    # A worker that has started meanwhile, or is starting, may use the unit file that was undone:
    # after a boot it may be starting, and would never be ready as Type=notify no longer applies.
    verb = "start" if now["ActiveState"] in RESTING else "restart"
    host.run(["systemctl", "reset-failed", "--", unit], check=False)
    try:
        remark = _renew(verb, args, now, host, journal)
    except OperationError as error:
        raise _failed(unit, error.message, cursor, host) from None
    for _ in range(int(CHILDREN_SECONDS)):
        now = units.show(host, unit, PROPERTIES)
        main = units.number(now["MainPID"])
        if now["ActiveState"] not in SERVING:
            raise _failed(unit, f"{now['ActiveState']} ({now['SubState']})", cursor, host)
        if not main or len(processes.pool_children(main)) >= children:
            break
        host.sleep(1)
    _watch(unit, now, float(args.get("minHealthySeconds", 0)), cursor, host)
    sources.remember(host, unit)
    now = units.show(host, unit, PROPERTIES)
    return f"{unit} serves again ({units.running(units.number(now['MainPID']))}){remark}"


def _renew(
    verb: str, args: dict[str, Any], now: dict[str, str], host: System, journal: StepJournal
) -> str:
    """Starts or restarts it, beside no process that an earlier stop left."""
    group = stopping.group_of(args["unit"], now)
    remark = ""
    if verb == "restart" and now.get("KillMode") not in leftover_processes.LEAVING:
        return _control("restart", args, host, journal)
    if verb == "restart":
        remark = _control("stop", args, host, journal)
    leftover_processes.end(group, host)
    return _control("start", args, host, journal) + remark


def _watch(unit: str, first: dict[str, str], healthy: float, cursor: str, host: System) -> None:
    """A worker that crashes after its start, e.g. by code that no undo changes, does not serve."""
    end = time.monotonic() + healthy
    while healthy > 0:
        now = units.show(host, unit, PROPERTIES)
        moved = [name for name in STEADY if now[name] != first[name]]
        if now["ActiveState"] not in SERVING or moved:
            state = f"{now['ActiveState']}, {now['SubState']}"
            raise _failed(
                unit, f"it was started again, and did not keep running ({state})", cursor, host
            )
        left = end - time.monotonic()
        if left <= 0:
            return
        host.sleep(min(1.0, left))


def _failed(unit: str, how: str, cursor: str, host: System) -> OperationError:
    lines = unit_journal.evidence(host, unit, cursor)
    why = f": {unit_journal.why(host, unit, lines)}" if lines else ""
    return OperationError(f"{unit} does not serve: {how}{why}", evidence=lines)


def _control(verb: str, args: dict[str, Any], host: System, journal: StepJournal) -> str:
    """Returns a remark on the stop, for the end of a sentence."""
    unit = args["unit"]
    timeout = stopping.undo_timeout(args)
    tick = Tick(5, lambda: host.note(f"{unit}: waiting for its {verb}"))
    if verb == "start":
        argv = ["systemctl", "--no-pager", "--no-ask-password", "start", "--", unit]
        host.run(argv, timeout=timeout, tick=tick)
        return ""
    end = stopping.restart if verb == "restart" else stopping.stop
    return end(args, host, journal, timeout, tick).remark
