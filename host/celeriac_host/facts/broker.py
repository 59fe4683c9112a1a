"""How the broker of a unit's app is, by a process of the app: see BrokerFact."""

from __future__ import annotations

from typing import Any

from celeriac_host.app import listener
from celeriac_host.app.reports import clipped
from celeriac_host.system import processes, units
from celeriac_host.system.system import System

PROPERTIES = ("ActiveState", "MainPID", "InvocationID")
TIMEOUT_SECONDS = 60.0


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """`told`, `unreachable` if the app cannot connect, or `unknown` with the reason."""
    seen = units.glance(host, args["unit"], PROPERTIES)
    main = units.number(seen["MainPID"]) if seen["ActiveState"] == "active" else 0
    process = processes.read(main) if main else None
    request = {
        **listener.app_of(args),
        "kind": "queues",
        "queues": args["queues"],
        "beat": args["beat"],
        "mainPid": main,
        "children": [each.pid for each in processes.pool_children(main)] if main else [],
        "argv": list(process.argv) if process else [],
        "invocation": seen["InvocationID"],
    }
    said = listener.ask(host, "queues", request, TIMEOUT_SECONDS, like=main)
    if "problem" in said:
        return {"kind": "unknown", "problem": clipped(str(said["problem"]))}
    if said.get("unreachable") is not None:
        return {"kind": "unreachable", "problem": said["unreachable"], "beat": said["beat"]}
    missing = [name for name in FIELDS if name not in said]
    if missing:
        return {"kind": "unknown", "problem": f"the app's process did not report {missing[0]}"}
    return {"kind": "told", **{name: said[name] for name in (*FIELDS, "beat")}}


FIELDS = (
    "transport",
    "lengths",
    "unacked",
    "oldestUnackedSeconds",
    "redeliverySeconds",
    "active",
    "silence",
)
