"""The messages of an app's broker, as an operation asks for them."""

from __future__ import annotations

from typing import Any

from celeriac_host.app import app_process, listener, workers
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 200.0
# What depends on who else is at work.
AMONG_OTHERS = ("trace", "restore")


def ask(args: dict[str, Any], host: System, kind: str, **more: Any) -> dict[str, Any]:
    """What `programs/messages.py` reports; `problem` says why there is nothing else.

    The last lines of what it wrote about that are its `evidence`, and are told at once.
    """
    try:
        request = {**listener.app_of(args), **more, "kind": kind}
        if kind in AMONG_OTHERS:
            # Looked for here, as root: workers are told apart by process, not by their names.
            search = args["otherWorkers"]
            request["localWorkers"] = workers.others(args["unit"], search, host)
        report = listener.run(host, "messages", request, TIMEOUT_SECONDS)
    except OperationError as error:
        report = {"problem": error.message, "evidence": list(error.evidence)}
    app_process.tell_evidence(host, report)
    return report
