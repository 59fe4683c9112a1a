"""Stops the worker from consuming, and waits for its running tasks.

Touches: the queues that this worker consumes, by Celery's remote control. Another worker of its
  node name is not touched where it answers before, or this one loads the support module.
Undo: the worker consumes its queues again, if it still runs; where that would end at its next
  reconnect to the broker and it is idle, the undo of guard-unit restarts it.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import app_process, consumers, stopping
from celeriac_host.app.reports import clipped
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

PROPERTIES = ("ActiveState", "MainPID", "InvocationID")
# The policy `wait` ends when no task finishes any more, not after a fixed time.
FOREVER_SECONDS = 7 * 86400.0


def check(args: dict[str, Any], host: System) -> bool:
    """True if no worker runs."""
    seen = units.show(host, args["unit"], PROPERTIES)
    return seen["ActiveState"] != "active" or not units.number(seen["MainPID"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, policy = args["unit"], args["policy"]
    seen = units.show(host, unit, PROPERTIES)
    work = _Drain(args, host, seen, journal.keep)
    begun = time.time()
    report = _drained(args, work)
    problem = report.get("problem")
    if problem is not None:
        # The worker may be dead, frozen, busy in a solo pool: the stop that follows is warm, too.
        line = f"{unit} not drained: {problem}; its stop will still wait for its tasks"
        app_process.tell_evidence(host, report)
        return line, {"drained": False, "consumedUntil": work.until, **report}
    left, end = report["left"], report["end"]
    host.cancelled[unit] = seen["InvocationID"]
    waited = f"{report['seconds']:.0f} s"
    result = {
        "drained": end == "drained",
        "consumedUntil": work.until,
        "left": left,
    }
    if end == "drained":
        journal.keep("idle", True)
        count = report["seen"]
        tasks = f"{count} task{'' if count == 1 else 's'} finished within {waited}"
        return f"{unit} stopped consuming; {tasks if count else 'no task was running'}", result
    what = f"{len(left)} task{'' if len(left) == 1 else 's'}"
    if end == "silent":
        line = f"{unit} stopped consuming, but no longer answers; its stop will wait for its tasks"
        return line, result
    if end == "timeout" and policy == "proceed":
        return f"{what} still running after {waited}; the stop of {unit} will wait for them", result
    why = (
        f"no task finished for {time.time() - begun:.0f} s (drain-policy: wait)"
        if end == "stuck"
        else f"after {waited} (drain-policy: {policy})"
    )
    raise OperationError(
        f"{unit} not drained: {what} still running, {why}",
        evidence=left,
    )


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    said = stopping.take_back(args, host, journal, idle=bool(journal.get("idle")))
    if said is None and journal.get(stopping.CONSUMERS) is not None:
        return f"{args['unit']}: nothing to undo, the drained worker has ended"
    return said


class _Drain(consumers.Talk):
    """Handles the messages of the program while it drains."""

    def hear(self, message: dict[str, Any]) -> Any:
        answer = super().hear(message)
        if "waiting" not in message:
            return answer
        now = units.show(self.host, self.args["unit"], ["InvocationID"])
        if now["InvocationID"] != self.seen["InvocationID"]:
            raise _Restarted
        name = self.args["unit"]
        short = name[: -len(".service")] if name.endswith(".service") else name
        self.host.note(f"{short}: {clipped(str(message['waiting']))}")
        return "go"


class _Restarted(Exception):
    """The unit runs another worker by now."""


def _drained(args: dict[str, Any], talk: _Drain) -> dict[str, Any]:
    wait = FOREVER_SECONDS if args["policy"] == "wait" else float(args["timeoutSeconds"])
    asked = {name: args[name] for name in ("policy", "timeoutSeconds", "stuckSeconds")}
    try:
        return talk.run("drain", wait + consumers.MARGIN_SECONDS, **asked)
    except _Restarted:
        return {"problem": "it ended during the drain, and systemd restarted it"}
