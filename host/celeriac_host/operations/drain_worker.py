"""Has the worker take no more tasks, and waits for those that it has.

Touches: which queues the running worker consumes, by Celery's remote control; no other worker.
Undo: the queues given back to it, while it still runs.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host import app_process, processes, units
from celeriac_host.errors import OperationError
from celeriac_host.job_lines import Ended
from celeriac_host.journal import StepJournal
from celeriac_host.system import System, Tick

PROPERTIES = ("ActiveState", "SubState", "MainPID", "InvocationID", "TimeoutStopUSec")
# Beyond the wait itself: importing the app, finding the worker, its last answers.
MARGIN_SECONDS = 90.0
GIVE_BACK_SECONDS = 60.0
LONGEST_STOP_SECONDS = 3600.0
# `wait` is bounded by tasks that end, not by the clock.
FOREVER_SECONDS = 7 * 86400.0


def check(args: dict[str, Any], host: System) -> bool:
    """Nothing to drain where nothing runs."""
    seen = units.show(host, args["unit"], PROPERTIES)
    return seen["ActiveState"] != "active" or not units.number(seen["MainPID"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, policy = args["unit"], args["policy"]
    work = _Drain(args, host, journal)
    begun = time.time()
    report = work.run()
    problem = report.get("problem")
    if problem is not None:
        # The worker may be dead, frozen, busy in a solo pool: the stop that follows is warm, too.
        line = f"{unit} is not drained: {problem}; its stop waits for its tasks all the same"
        app_process.tell_evidence(host, report)
        return line, {"drained": False, "consumedUntil": work.consumed_until, **report}
    left, end = report["left"], report["end"]
    waited = f"{report['seconds']:.0f} s"
    result = {
        "drained": end == "drained",
        "consumedUntil": work.consumed_until,
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
    unit, kept = args["unit"], journal.get("worker")
    if kept is None:
        return None
    now = units.show(host, unit, PROPERTIES)
    if now["InvocationID"] != kept["invocation"] or now["ActiveState"] != "active":
        return f"{unit}: nothing to give back, the worker that was drained is gone"
    names = ", ".join(kept["queues"])
    problem, lasting = _give_back(args, kept, host)
    if problem is None:
        warning = "" if lasting else "; restart it when it is idle, or a reconnect loses them again"
        return f"{unit} consumes {names} again (main {now['MainPID']}){warning}"
    # Rather a warm restart than a worker that runs and takes nothing: the guard starts it.
    tick = Tick(5, lambda: host.note(f"{unit}: waiting for its stop"))
    timeout = units.seconds(now["TimeoutStopUSec"], LONGEST_STOP_SECONDS) + 30
    argv = ["systemctl", "--no-pager", "--no-ask-password", "stop", "--", unit]
    host.run(argv, timeout=timeout, tick=tick)
    return f"{unit} could not be given {names} back ({problem}), so it was stopped for a new start"


class _Drain:
    """What is heard from the program while it works."""

    def __init__(self, args: dict[str, Any], host: System, journal: StepJournal) -> None:
        self.args = args
        self.host = host
        self.journal = journal
        self.seen = units.show(host, args["unit"], PROPERTIES)
        self.stage = "starting its interpreter"
        self.report: dict[str, Any] | None = None
        # On the clock since boot, as systemd's own moments are.
        self.consumed_until: float | None = None

    def run(self) -> dict[str, Any]:
        args, main = self.args, units.number(self.seen["MainPID"])
        process = processes.read(main)
        request = {
            **_app(args),
            "kind": "drain",
            "policy": args["policy"],
            "timeoutSeconds": args["timeoutSeconds"],
            "stuckSeconds": args["stuckSeconds"],
            "mainPid": main,
            "children": [each.pid for each in processes.pool_children(main)],
            "argv": list(process.argv) if process else [],
        }
        wait = FOREVER_SECONDS if args["policy"] == "wait" else float(args["timeoutSeconds"])
        try:
            ended = app_process.run(
                self.host, "broker_program", request, self.take, timeout=wait + MARGIN_SECONDS
            )
        except _Restarted:
            return {"problem": "it ended while it was drained, and was started anew by systemd"}
        except OperationError as error:
            return {"problem": error.message}
        lines = app_process.last_lines(ended)
        return self.report or {"problem": _silence(ended, self.stage), "evidence": lines}

    def take(self, message: dict[str, Any]) -> Any:
        self.stage = message.get("stage", self.stage)
        self.report = message.get("report", self.report)
        if "found" in message:
            found = message["found"]
            self.journal.keep("worker", {**found, "invocation": self.seen["InvocationID"]})
            self.consumed_until = time.monotonic()
            return "go"
        if "waiting" in message:
            now = units.show(self.host, self.args["unit"], ["InvocationID"])
            if now["InvocationID"] != self.seen["InvocationID"]:
                raise _Restarted
            name = self.args["unit"]
            short = name[: -len(".service")] if name.endswith(".service") else name
            self.host.note(f"{short}: {message['waiting']}")
            return "go"
        return None


class _Restarted(Exception):
    """The worker is another by now."""


def _give_back(args: dict[str, Any], kept: dict[str, Any], host: System) -> tuple[str | None, bool]:
    """Why not; and whether a reconnect to the broker keeps it so."""
    found: dict[str, Any] = {"problem": "the program that talks to it said nothing"}

    def take(message: dict[str, Any]) -> None:
        found.update(message.get("report", {}) or {})
        if "report" in message and "problem" not in message["report"]:
            found.pop("problem")

    request = {
        **_app(args),
        "kind": "give-back",
        "node": kept["node"],
        "queues": kept["queues"],
        "timeoutSeconds": GIVE_BACK_SECONDS,
    }
    try:
        timeout = GIVE_BACK_SECONDS + MARGIN_SECONDS
        app_process.run(host, "broker_program", request, take, timeout=timeout)
    except OperationError as error:
        return error.message, False
    app_process.tell_evidence(host, found)
    return found.get("problem"), bool(found.get("lasting"))


def _app(args: dict[str, Any]) -> dict[str, Any]:
    return {name: args[name] for name in ("unit", "interpreter", "app", "pythonPath")}


def _silence(ended: Ended, stage: str) -> str:
    lines = app_process.last_lines(ended)
    if ended.code is None:
        return f"the program that drains it did not end in time; it was {stage}"
    why = units.last_exception(lines) or (lines[-1] if lines else f"exit code {ended.code}")
    return f"the program that drains it ended while {stage}: {why}"
