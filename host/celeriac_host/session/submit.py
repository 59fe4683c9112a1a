"""Sends the probes of the gate from the host: canaries, tasks of the app, HTTP requests."""

from __future__ import annotations

from typing import Any

from celeriac_host.app import probe
from celeriac_host.system.errors import Fault, OperationError
from celeriac_host.system.system import System


def submit(request: dict[str, Any], host: System) -> dict[str, Any]:
    """A JobReport, even if nothing could be sent. Raises Fault for an unknown kind."""
    kind = request.get("kind")
    if kind == "http":
        from celeriac_host.app import http_probe

        return http_probe.run(request, host)
    if kind not in ("canary", "task"):
        raise Fault(f"unknown kind of probe {kind!r}")
    try:
        return probe.run(request, host)
    except OperationError as error:
        return probe.failed(error.message, error.evidence)
