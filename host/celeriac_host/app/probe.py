"""Jobs sent by a process of the app's own: its interpreter, user, directory and environment."""

from __future__ import annotations

from typing import Any, Sequence

from celeriac_host.app import app_process
from celeriac_host.system import units
from celeriac_host.system.following import Ended
from celeriac_host.system.system import System

# Beyond the jobs' own time: importing the app, connecting, clearing up.
MARGIN_SECONDS = 45.0
SUPPORT_MODULE = "celeriac_support"


def run(request: dict[str, Any], host: System) -> dict[str, Any]:
    """A JobReport. Raises OperationError, RunnerGone."""
    seen = units.show(host, request["unit"], ["ActiveState", "InvocationID", "ExecStart"])
    state = seen.get("ActiveState", "unknown")
    if request["kind"] == "canary" and (state != "active" or not seen.get("InvocationID")):
        return failed(f"{request['unit']} is {state}: there is no worker that could answer")
    listener = _Listener(host)
    ended = app_process.run(
        host,
        "probe",
        {**request, "invocation": seen.get("InvocationID", "")},
        listener.take,
        timeout=request["timeoutSeconds"] + MARGIN_SECONDS,
    )
    report = listener.report
    if report is None:
        return failed(_silence(ended, listener.stage, request), app_process.last_lines(ended))
    if "jobs" not in report:
        return failed(report["problem"], report["evidence"])
    if _all_silent(request, report) and SUPPORT_MODULE not in seen.get("ExecStart", ""):
        report["problem"] += f" ({request['unit']} runs without -I {SUPPORT_MODULE})"
    return report


def failed(problem: str, evidence: Sequence[str] = ()) -> dict[str, Any]:
    """A report of jobs that were not even sent; what else is known of it is the sentence alone."""
    return {"ok": False, "jobs": [], "problem": problem, "evidence": list(evidence) or [problem]}


class _Listener:
    """What the process tells, line by line."""

    def __init__(self, host: System) -> None:
        self.host = host
        self.stage = "starting its interpreter"
        self.report: dict[str, Any] | None = None

    def take(self, message: dict[str, Any]) -> None:
        self.stage = message.get("stage", self.stage)
        self.report = message.get("report", self.report)
        if "note" in message:
            self.host.note(message["note"])


def _silence(ended: Ended, stage: str, request: dict[str, Any]) -> str:
    lines = app_process.last_lines(ended)
    if ended.code is None:
        limit = request["timeoutSeconds"] + MARGIN_SECONDS
        return f"the process that sends the jobs did not end within {limit:g} s; it was {stage}"
    why = units.last_exception(lines) or (lines[-1] if lines else f"exit code {ended.code}")
    return f"the process that sends the jobs ended while {stage}: {why}"


def _all_silent(request: dict[str, Any], report: dict[str, Any]) -> bool:
    jobs = report["jobs"]
    return (
        request["kind"] == "canary"
        and bool(jobs)
        and all(job["state"] == "timed-out" for job in jobs)
    )
