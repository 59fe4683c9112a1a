"""The messages of an app's broker, as an operation asks for them."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.app import app_process, listener, workers
from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 200.0


def ask(args: dict[str, Any], host: System, kind: str, **more: Any) -> dict[str, Any]:
    """What `programs/messages.py` reports; `problem` says why there is nothing else.

    The last lines of what it wrote about that are its `evidence`, and are told at once.
    """
    try:
        # Asked here, as root: other workers are told apart by process, not by their names.
        workers_here = other_workers(args["unit"], host)
        request = {**listener.app_of(args), **more, "kind": kind, "localWorkers": workers_here}
        report = listener.run(host, "messages", request, TIMEOUT_SECONDS)
    except OperationError as error:
        report = {"problem": error.message, "evidence": list(error.evidence)}
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
