"""Probes sent by a process of the app: its interpreter, user, directory and environment."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Sequence

from celeriac_host.app import listener, probe_rows, reports
from celeriac_host.system import support, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

# In addition to the probes' timeout: importing the app, connecting, cleaning up.
MARGIN_SECONDS = 45.0


def run(request: dict[str, Any], host: System) -> dict[str, Any]:
    """A JobReport. Raises OperationError, RunnerGone."""
    seen = units.show(host, request["unit"], ["ActiveState", "InvocationID", "ExecStart"])
    state = seen.get("ActiveState", "unknown")
    if request["kind"] == "canary" and (state != "active" or not seen.get("InvocationID")):
        return failed(f"{request['unit']} is {state}: no worker can answer")
    report = listener.ask(
        host,
        "probe",
        {**request, "invocation": seen.get("InvocationID", "")},
        request["timeoutSeconds"] + MARGIN_SECONDS,
        lambda message: _told(message, host, request["unit"]),
    )
    if "jobs" not in report:
        return failed(report["problem"], report["evidence"])
    if request.get("clean") is not None:
        for job in report["jobs"]:
            ended = job["state"] != "timed-out"
            job["left"] = _clean(request["clean"], job["id"]) if ended else probe_rows.STILL_RUNS
    if _all_silent(request, report) and support.MODULE not in seen.get("ExecStart", ""):
        report["problem"] += f" ({request['unit']} runs without -I {support.MODULE})"
    return report


def _clean(request: dict[str, Any], task: str) -> str | None:
    return probe_rows.clean(request, {"task_id": task}, "")


def _told(message: dict[str, Any], host: System, unit: str) -> str | None:
    if "run" in message:
        return _run_now(host, unit)
    # Its report will be judged; this is only for people who wait.
    if "probes" in message:
        with suppress(reports.Invalid):
            host.probes(reports.places(message["probes"]))
    return None


def _run_now(host: System, unit: str) -> str:
    """Empty if systemd does not tell: nobody's answer is taken for the unit's then."""
    try:
        return units.show(host, unit, ["InvocationID"]).get("InvocationID", "")
    except OperationError:
        return ""


def failed(problem: str, evidence: Sequence[str] = ()) -> dict[str, Any]:
    """A report of probes that could not be sent; without other evidence, it is the problem."""
    return {"ok": False, "jobs": [], "problem": problem, "evidence": list(evidence) or [problem]}


def _all_silent(request: dict[str, Any], report: dict[str, Any]) -> bool:
    jobs = report["jobs"]
    return (
        request["kind"] == "canary"
        and bool(jobs)
        and all(job["state"] == "timed-out" for job in jobs)
    )
