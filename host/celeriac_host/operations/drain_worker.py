"""Has the worker take no more tasks, and waits for those that it has.

Touches: which queues the running worker consumes, by Celery's remote control; no other worker.
Undo: the queues given back to it, while it still runs.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import app_process, consumers, stopping
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

PROPERTIES = ("ActiveState", "MainPID", "InvocationID")
# `wait` is bounded by tasks that end, not by the clock.
FOREVER_SECONDS = 7 * 86400.0


def check(args: dict[str, Any], host: System) -> bool:
    """Nothing to drain where nothing runs."""
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
        line = f"{unit} is not drained: {problem}; its stop waits for its tasks all the same"
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
        count = report["seen"]
        ended = f"its {count} task{'' if count == 1 else 's'} ended" if count else "it had no task"
        took = f" within {waited}" if count else ""
        return f"{unit} takes no more tasks, and {ended}{took}", result
    what = f"{len(left)} task{'' if len(left) == 1 else 's'}"
    if end == "silent":
        line = f"{unit} takes no more tasks; it does not answer any more: its stop waits for them"
        return line, result
    if end == "timeout" and policy == "proceed":
        return f"{what} still running after {waited}: {unit}'s stop waits for them on", result
    why = (
        f"no task ended for {time.time() - begun:.0f} s (drain-policy: wait)"
        if end == "stuck"
        else f"after {waited} (drain-policy: {policy})"
    )
    raise OperationError(
        f"{unit} is not drained: {what} still running, {why}",
        evidence=left,
    )


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    said = stopping.take_back(args, host, journal)
    if said is None and journal.get(stopping.CONSUMERS) is not None:
        return f"{args['unit']}: nothing to give back, the worker that was drained is gone"
    return said


class _Drain(consumers.Talk):
    """What is heard from the program while it works."""

    def hear(self, message: dict[str, Any]) -> Any:
        answer = super().hear(message)
        if "waiting" not in message:
            return answer
        now = units.show(self.host, self.args["unit"], ["InvocationID"])
        if now["InvocationID"] != self.seen["InvocationID"]:
            raise _Restarted
        name = self.args["unit"]
        short = name[: -len(".service")] if name.endswith(".service") else name
        self.host.note(f"{short}: {message['waiting']}")
        return "go"


class _Restarted(Exception):
    """The worker is another by now."""


def _drained(args: dict[str, Any], talk: _Drain) -> dict[str, Any]:
    wait = FOREVER_SECONDS if args["policy"] == "wait" else float(args["timeoutSeconds"])
    asked = {name: args[name] for name in ("policy", "timeoutSeconds", "stuckSeconds")}
    try:
        return talk.run("drain", wait + consumers.MARGIN_SECONDS, **asked)
    except _Restarted:
        return {"problem": "it ended while it was drained, and was started anew by systemd"}
