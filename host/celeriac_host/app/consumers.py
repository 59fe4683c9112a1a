"""Cancels the consumers of a unit's worker before it ends, and adds them again if it runs on.

A process of the app does this by Celery's remote control.
"""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple

from celeriac_host.app import app_process, listener
from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError, describe
from celeriac_host.system.system import System

PROPERTIES = ("ActiveState", "MainPID", "InvocationID")
# States in which it may take tasks; a deactivating worker has already been told to end.
CONSUMING = ("active", "reloading", "refreshing", "activating")
# Limits for importing the app and for talking to the worker: a stop waits no longer.
IMPORT_SECONDS = 20.0
CANCEL_SECONDS = 10.0
# In addition to the program's own wait: importing the app, finding the worker, last answers.
MARGIN_SECONDS = 90.0
GIVE_BACK_SECONDS = 60.0
MOST_QUEUES = 1000
LONGEST_NAME = 512

Keep = Callable[[str, Any], None]


class Cancelled(NamedTuple):
    """The result of cancelling the consumers."""

    problem: str | None
    """Why the worker may still take tasks; None: it takes none."""
    until: float | None
    """When it may last have taken one, on the clock since boot; None: unknown."""


class Talk:
    """One run of `programs/broker.py`."""

    def __init__(
        self, args: dict[str, Any], host: System, seen: dict[str, str], keep: Keep
    ) -> None:
        self.args = args
        self.host = host
        self.seen = seen
        self.keep = keep
        self.worker: dict[str, Any] | None = None
        self.until: float | None = None

    def run(self, kind: str, timeout: float, **more: Any) -> dict[str, Any]:
        """Returns its report, or only a `problem`."""
        main = units.number(self.seen["MainPID"])
        process = processes.read(main)
        request = {
            **listener.app_of(self.args),
            **more,
            "kind": kind,
            "mainPid": main,
            "children": [each.pid for each in processes.pool_children(main)],
            "argv": list(process.argv) if process else [],
            "invocation": self.seen["InvocationID"],
        }
        return listener.run(self.host, "broker", request, timeout, self.hear, like=main)

    def hear(self, message: dict[str, Any]) -> Any:
        # Only the first: what is kept is durable at once.
        if "found" in message and self.worker is None:
            found = {**_found(message["found"]), "invocation": self.seen["InvocationID"]}
            self.keep("worker", found)
            self.worker, self.until = found, time.monotonic()
            return "go"
        return None


def cancel(args: dict[str, Any], host: System, keep: Keep) -> Cancelled:
    """Stops the unit's worker from consuming; `keep` gets its queues before the first change.

    Raises only RunnerGone.
    """
    unit = args["unit"]
    talk: Talk | None = None
    try:
        seen = units.show(host, unit, PROPERTIES)
        if seen["ActiveState"] not in CONSUMING or not units.number(seen["MainPID"]):
            return Cancelled(None, None)
        if host.cancelled.get(unit) == seen["InvocationID"]:
            return Cancelled(None, None)
        host.note(f"{unit}: cancelling its consumers before it stops")
        talk = Talk(args, host, seen, keep)
        limit = IMPORT_SECONDS + CANCEL_SECONDS
        report = talk.run("cancel", limit, timeoutSeconds=CANCEL_SECONDS)
        app_process.tell_evidence(host, report)
        problem = report.get("problem")
        if problem is None:
            host.cancelled[unit] = seen["InvocationID"]
    except Exception as error:
        # Any error: a worker that does not answer must be stopped all the same.
        problem = describe(error)
    return Cancelled(problem, None if talk is None else talk.until)


def cancel_process(args: dict[str, Any], process: processes.Process, host: System) -> str | None:
    """The same for a worker outside the unit; why it may still take tasks, or None.

    Raises only RunnerGone.
    """
    seen = {"MainPID": str(process.pid), "InvocationID": ""}
    try:
        talk = Talk(args, host, seen, lambda name, value: None)
        limit = IMPORT_SECONDS + CANCEL_SECONDS
        report = talk.run("cancel", limit, timeoutSeconds=CANCEL_SECONDS)
        app_process.tell_evidence(host, report)
        problem: str | None = report.get("problem")
    except Exception as error:
        problem = describe(error)
    return problem


class Given(NamedTuple):
    """The result of having the worker consume again."""

    problem: str | None
    """Why it does not consume; None: it does, unless it was left for a restart."""
    lasting: bool
    """Whether it also consumes after a reconnect to its broker."""
    left: bool
    """Left as it is, because only a restart would last."""


def give_back(
    args: dict[str, Any], worker: dict[str, Any], host: System, or_restart: bool = False
) -> Given:
    """or_restart: the caller can restart the worker, and prefers it to what does not last."""
    unit = args["unit"]
    host.cancelled.pop(unit, None)
    seen = units.show(host, unit, PROPERTIES)
    if not is_running(worker, seen):
        return Given("the worker has been restarted since", False, False)
    talk = Talk(args, host, seen, lambda name, value: None)
    report = talk.run(
        "give-back",
        GIVE_BACK_SECONDS + MARGIN_SECONDS,
        node=worker["node"],
        queues=worker["queues"],
        # Of an older version: how many workers have its name.
        byRun=worker.get("byRun", worker.get("sharedBy", 1) > 1),
        timeoutSeconds=GIVE_BACK_SECONDS,
        orRestart=or_restart,
    )
    app_process.tell_evidence(host, report)
    left = or_restart and report.get("given") is False
    return Given(report.get("problem"), bool(report.get("lasting")), left)


def is_running(worker: dict[str, Any], seen: dict[str, str]) -> bool:
    """Whether the unit still runs the worker whose consumers were cancelled."""
    return seen["InvocationID"] == worker["invocation"] and seen["ActiveState"] == "active"


def _found(said: Any) -> dict[str, Any]:
    """The worker that the app's process reports. Raises OperationError for an invalid report."""
    found = said if isinstance(said, dict) else {}
    node, queues = found.get("node"), found.get("queues")
    names = [node, *queues] if isinstance(queues, list) else []
    if not 0 < len(names) <= MOST_QUEUES or not all(
        isinstance(name, str) and len(name) <= LONGEST_NAME for name in names
    ):
        raise OperationError(
            "the program that talks to the worker reported no valid worker and queues"
        )
    return {"node": node, "queues": queues, "byRun": found.get("byRun") is True}
