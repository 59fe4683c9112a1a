"""The messages of an app's broker, as an operation asks for them."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.app import app_process, workers
from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 200.0


def ask(args: dict[str, Any], host: System, kind: str, **more: Any) -> dict[str, Any]:
    """What `programs/messages.py` reports; `problem` says why there is nothing else.

    The last lines of what it wrote about that are its `evidence`, and are told at once.
    """
    report: dict[str, Any] = {}
    stage = "starting its interpreter"

    def take(message: dict[str, Any]) -> None:
        nonlocal stage
        stage = message.get("stage", stage)
        report.update(message.get("report") or {})

    request = {
        **{name: args[name] for name in ("unit", "interpreter", "app", "pythonPath")},
        **more,
        "kind": kind,
    }
    try:
        # Inside, as systemd itself: whoever is there else is asked for, not looked up by name.
        request["localWorkers"] = other_workers(args["unit"], host)
        ended = app_process.run(host, "messages", request, take, timeout=TIMEOUT_SECONDS)
    except OperationError as error:
        report = {"problem": error.message, "evidence": list(error.evidence)}
    if not report:
        lines = app_process.last_lines(ended)
        why = units.last_exception(lines) or (lines[-1] if lines else "it said nothing")
        problem = f"the program that looks for messages ended while {stage}: {why}"
        report = {"problem": problem, "evidence": lines}
    app_process.tell_evidence(host, report)
    return report


def other_workers(unit: str, host: System) -> list[int]:
    """Main processes of Celery workers in the unit's directory that are not the unit's."""
    directory = os.path.realpath(units.context(host, unit).directory)
    group = units.show(host, unit, ["ControlGroup"]).get("ControlGroup", "")
    own = {process.pid for process in units.cgroup_processes(group)}
    found = [
        process
        for process in processes.read_all()
        if process.pid not in own
        and process.state not in "ZX"
        and workers.is_worker(process.argv)
        and _directory(process.pid) == directory
    ]
    pids = {process.pid for process in found}
    return sorted(process.pid for process in found if process.parent not in pids)


def _directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd").replace(" (deleted)", "")
    except OSError:
        return ""
