"""Whether the worker of a unit takes the messages of its queues, by a process of the app."""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import listener
from celeriac_host.app.reports import clipped
from celeriac_host.system import processes, units
from celeriac_host.system.system import System

PROPERTIES = (
    "ActiveState",
    "MainPID",
    "InvocationID",
    "StatusText",
    "ActiveEnterTimestampMonotonic",
)
# The support module says so in the unit's status.
SAID = "Consumes nothing: "
AWAY = ("Waiting for the broker", "Reconnecting to the broker")
# It may be about to repair that, by a reconnect.
AGAIN_SECONDS = 5.0
TIMEOUT_SECONDS = 90.0


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """A ConsumingFact: `consumes`, `nothing` with the evidence, or `unknown`."""
    unit = args["unit"]
    seen = units.glance(host, unit, PROPERTIES)
    main = units.number(seen["MainPID"])
    if seen["ActiveState"] != "active" or not main:
        return _unknown(f"{unit} is {seen['ActiveState']}")
    if seen["StatusText"].startswith((SAID, *AWAY)):
        time.sleep(AGAIN_SECONDS)
        # Without the numbers for the sampler.
        status = clipped(units.show(host, unit, PROPERTIES)["StatusText"].partition(" [at=")[0])
        if status.startswith(SAID):
            return {"kind": "told", "status": status}
        if status.startswith(AWAY):
            return _unknown(f"its status is {status!r}")
    process = processes.read(main)
    since = units.number(seen["ActiveEnterTimestampMonotonic"]) / 1e6
    request = {
        **listener.app_of(args),
        "kind": "consuming",
        "queues": args["queues"],
        "forks": args["forks"],
        "activeSeconds": time.monotonic() - since,
        "mainPid": main,
        "children": [each.pid for each in processes.pool_children(main)],
        "argv": list(process.argv) if process else [],
        "invocation": seen["InvocationID"],
    }
    said = listener.ask(host, "broker", request, TIMEOUT_SECONDS, like=main)
    if "problem" in said and said.get("kind") != "unknown":
        return _unknown(str(said["problem"]))
    now = units.show(host, unit, ("InvocationID", "ActiveState"))
    if (now["InvocationID"], now["ActiveState"]) != (seen["InvocationID"], "active"):
        return _unknown(f"{unit} was started or stopped during the check")
    return _checked(said)


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    """The report of the app's process, which is not trusted."""
    kind, waiting = said.get("kind"), said.get("waiting")
    if kind == "consumes":
        return {"kind": "consumes"}
    if kind == "nothing" and isinstance(waiting, dict):
        counts = {
            clipped(str(name)): count
            for name, count in list(waiting.items())[:100]
            if type(count) is int
        }
        seconds = said.get("seconds")
        return {
            "kind": "nothing",
            "waiting": counts,
            "answers": bool(said.get("answers")),
            "seconds": float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        }
    return _unknown(clipped(str(said.get("problem", "it reported nothing valid"))))


def _unknown(problem: str) -> dict[str, Any]:
    return {"kind": "unknown", "problem": problem}
