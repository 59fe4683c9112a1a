"""Units that run the app's code beside its worker: web, beat. Restarts and watches them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any

from celeriac_host.system import processes, unit_context, unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick
from celeriac_host.system.unit_values import SERVING

PROPERTIES = (
    "ActiveState",
    "SubState",
    "ControlGroup",
    "InvocationID",
    "MainPID",
    "NRestarts",
    "Slice",
    "StateChangeTimestampMonotonic",
    "WorkingDirectory",
    "User",
)
EMPTY_SECONDS = 10.0
POLL_SECONDS = 0.5


def seen(unit: str, host: System) -> dict[str, str]:
    return units.show(host, unit, PROPERTIES)


def same_run(then: dict[str, str], now: dict[str, str]) -> bool:
    """Whether the unit was neither restarted nor reloaded in between."""
    names = ("InvocationID", "StateChangeTimestampMonotonic")
    return all(then[name] == now[name] for name in names)


def renew(args: dict[str, Any], how: str, host: System) -> float:
    """Has a running unit load its code again; returns its downtime in seconds.

    `how` is `restart` or `reload`. A restart never overlaps: the unit starts once its cgroup is
    empty. Raises OperationError.
    """
    unit, timeout = args["unit"], timeout_of(args)
    if how == "reload":
        _control("reload", unit, timeout, host)
        _require_new_folder(unit, host)
        return 0.0
    begun = time.monotonic()
    left = stop(args, host)
    if left:
        raise still_there(unit, left)
    start(unit, timeout, host)
    return time.monotonic() - begun


def stop(args: dict[str, Any], host: System) -> list[processes.Process]:
    """Stops the unit; returns the processes that it left. Raises OperationError."""
    unit = args["unit"]
    before = seen(unit, host)
    _control("stop", unit, timeout_of(args), host)
    return end_left(args, before, host)


def end_left(args: dict[str, Any], before: dict[str, str], host: System) -> list[processes.Process]:
    """Waits until nothing is left in the cgroup of a stopped unit; returns what stays.

    With KillMode=process or none, systemd leaves processes, which may be jobs that are meant to go
    on. But beat, or what was the main process, would run twice with the next start: it gets the
    TERM that systemd gives by default.
    """
    unit, only_once = args["unit"], bool(args.get("onlyOnce"))
    main = units.number(before.get("MainPID", ""))
    for each in left_by(unit, before):
        if (only_once or each.pid == main) and processes.same(each):
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGTERM)
    end = time.monotonic() + EMPTY_SECONDS
    while (left := left_by(unit, before)) and time.monotonic() < end:
        host.sleep(0.1)
    return left


def still_there(unit: str, left: list[processes.Process]) -> OperationError:
    """Why a unit was not started again."""
    some = "a process" if len(left) == 1 else f"{len(left)} processes"
    return OperationError(
        f"{unit} left {some} after its stop, so it was not started again",
        evidence=[f"{each.pid} {' '.join(each.argv)[:200]}" for each in left],
    )


def left_by(unit: str, seen: dict[str, str]) -> list[processes.Process]:
    """Every process in the unit's cgroup."""
    group = seen.get("ControlGroup") or f"/{seen.get('Slice') or 'system.slice'}/{unit}"
    return units.cgroup_processes(group)


def start(unit: str, timeout: float, host: System) -> None:
    """Raises OperationError with the unit's own last lines."""
    host.run(["systemctl", "reset-failed", "--", unit], check=False)
    _control("start", unit, timeout, host)
    now = seen(unit, host)
    if now["ActiveState"] not in SERVING:
        raise failed(unit, f"is {now['ActiveState']} ({now['SubState']}) after its start", host)


def watch(unit: str, seconds: float, host: System) -> None:
    """Raises OperationError unless the unit stays as it is for that long."""
    first = seen(unit, host)
    if first["ActiveState"] not in SERVING:
        raise failed(unit, f"is {first['ActiveState']} ({first['SubState']})", host)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        host.sleep(min(POLL_SECONDS, max(end - time.monotonic(), 0.0)))
        now = seen(unit, host)
        names = ("MainPID", "NRestarts", "InvocationID")
        if now["ActiveState"] not in SERVING or any(now[name] != first[name] for name in names):
            how = f"did not keep running: it is {now['ActiveState']} ({now['SubState']})"
            if now["NRestarts"] != first["NRestarts"]:
                how += f", restarted {now['NRestarts']} times"
            raise failed(unit, how, host)


def failed(unit: str, how: str, host: System) -> OperationError:
    lines = unit_journal.evidence(host, unit)
    why = unit_journal.reason(lines)
    return OperationError(f"{unit} {how}" + (f": {why}" if why else ""), evidence=lines)


def _require_new_folder(unit: str, host: System) -> None:
    """A process keeps its directory when the link that led there points elsewhere."""
    now = seen(unit, host)
    main = units.number(now["MainPID"])
    wanted = unit_context.working_directory(now)
    found = processes.working_directory(main) if main else None
    if found is not None and wanted not in (None, "/") and os.path.realpath(found) != wanted:
        raise OperationError(
            f"{unit} still runs in {found} after its reload, not in {wanted};"
            " `also-restart` without `reload` restarts it"
        )


def _control(verb: str, unit: str, timeout: float, host: System) -> None:
    waited = 0

    def tell() -> None:
        nonlocal waited
        waited += 5
        host.note(f"{unit}: waiting for its {verb}, {waited} s of {timeout:g}")

    argv = ["systemctl", "--no-pager", "--no-ask-password", verb, "--", unit]
    try:
        host.run(argv, timeout=timeout, tick=Tick(5, tell))
    except OperationError as error:
        raise OperationError(
            f"could not {verb} {unit}: {error.message}",
            ran=argv,
            exit_code=error.exit_code,
            evidence=unit_journal.evidence(host, unit) or error.evidence,
        ) from None


def timeout_of(args: dict[str, Any]) -> float:
    return float(args["timeoutSeconds"])
