"""The queues that a unit's worker consumes: cancelled before it ends, given back where it lives on.

A process of the app's own says it to the worker, by Celery's remote control.
"""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple

from celeriac_host.app import app_process, listener
from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError, describe
from celeriac_host.system.system import System

PROPERTIES = ("ActiveState", "MainPID", "InvocationID")
# It may take tasks then; one that is deactivating has been told to end already.
CONSUMING = ("active", "reloading", "refreshing", "activating")
# Importing the app, then talking to the worker: no stop is held up for longer.
IMPORT_SECONDS = 20.0
CANCEL_SECONDS = 10.0
# Beyond a wait of its own: importing the app, finding the worker, its last answers.
MARGIN_SECONDS = 90.0
GIVE_BACK_SECONDS = 60.0
MOST_QUEUES = 1000
LONGEST_NAME = 512

Keep = Callable[[str, Any], None]


class Cancelled(NamedTuple):
    """What became of it."""

    problem: str | None
    """Why it may still take tasks; None: it takes none."""
    until: float | None
    """The last moment at which it took any, on the clock since boot; None: not known here."""


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
        """Its report; `problem` says why there is nothing else."""
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
        # The first alone: what is kept is on the disk at once.
        if "found" in message and self.worker is None:
            found = {**_found(message["found"]), "invocation": self.seen["InvocationID"]}
            self.keep("worker", found)
            self.worker, self.until = found, time.monotonic()
            return "go"
        return None


def cancel(args: dict[str, Any], host: System, keep: Keep) -> Cancelled:
    """The unit's worker takes no more tasks; `keep` gets what gives them back, before the first.

    Never raises but RunnerGone.
    """
    unit = args["unit"]
    talk: Talk | None = None
    try:
        seen = units.show(host, unit, PROPERTIES)
        if seen["ActiveState"] not in CONSUMING or not units.number(seen["MainPID"]):
            return Cancelled(None, None)
        if host.cancelled.get(unit) == seen["InvocationID"]:
            return Cancelled(None, None)
        host.note(f"{unit}: cancelling its consumers before it is told to end")
        talk = Talk(args, host, seen, keep)
        limit = IMPORT_SECONDS + CANCEL_SECONDS
        report = talk.run("cancel", limit, timeoutSeconds=CANCEL_SECONDS)
        app_process.tell_evidence(host, report)
        problem = report.get("problem")
        if problem is None:
            host.cancelled[unit] = seen["InvocationID"]
    except Exception as error:
        # Whatever it is: a worker that can't be spoken to must be stopped all the same.
        problem = describe(error)
    return Cancelled(problem, None if talk is None else talk.until)


def give_back(
    args: dict[str, Any], worker: dict[str, Any], host: System
) -> tuple[str | None, bool]:
    """Why not; and whether a reconnect to the broker keeps it so."""
    unit = args["unit"]
    host.cancelled.pop(unit, None)
    seen = units.show(host, unit, PROPERTIES)
    if not is_running(worker, seen):
        return "the worker is another by now", False
    talk = Talk(args, host, seen, lambda name, value: None)
    report = talk.run(
        "give-back",
        GIVE_BACK_SECONDS + MARGIN_SECONDS,
        node=worker["node"],
        queues=worker["queues"],
        sharedBy=worker.get("sharedBy", 1),
        timeoutSeconds=GIVE_BACK_SECONDS,
    )
    app_process.tell_evidence(host, report)
    return report.get("problem"), bool(report.get("lasting"))


def is_running(worker: dict[str, Any], seen: dict[str, str]) -> bool:
    """Whether the unit still runs the worker whose consumers were cancelled."""
    return seen["InvocationID"] == worker["invocation"] and seen["ActiveState"] == "active"


def _found(said: Any) -> dict[str, Any]:
    """What the app's process says it found, if it can be that."""
    found = said if isinstance(said, dict) else {}
    node, queues = found.get("node"), found.get("queues")
    names = [node, *queues] if isinstance(queues, list) else []
    if not 0 < len(names) <= MOST_QUEUES or not all(
        isinstance(name, str) and len(name) <= LONGEST_NAME for name in names
    ):
        raise OperationError("the program that talks to the worker named no worker and queues")
    shared = found.get("sharedBy")
    return {"node": node, "queues": queues, "sharedBy": shared if type(shared) is int else 1}
