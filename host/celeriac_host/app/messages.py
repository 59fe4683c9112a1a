"""Asks for the messages in an app's broker, on behalf of an operation."""

from __future__ import annotations

from typing import Any

from celeriac_host.app import app_process, listener, workers
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 200.0
# Kinds that depend on the other workers.
AMONG_OTHERS = ("trace", "restore")


def ask(args: dict[str, Any], host: System, kind: str, **more: Any) -> dict[str, Any]:
    """Returns the report of `programs/messages.py`, or a `problem` with `evidence`.

    The evidence is also reported at once.
    """
    try:
        request = {**listener.app_of(args), **more, "kind": kind}
        if kind in AMONG_OTHERS:
            # Searched here, as root: processes identify workers, names do not.
            search = args["otherWorkers"]
            request["localWorkers"] = workers.others(args["unit"], search, host)
        report = listener.run(host, "messages", request, TIMEOUT_SECONDS)
    except OperationError as error:
        report = {"problem": error.message, "evidence": list(error.evidence)}
    app_process.tell_evidence(host, report)
    return report
