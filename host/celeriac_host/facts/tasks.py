"""Which tasks are still queued, and which a worker holds, by a process of the app."""

from __future__ import annotations

from typing import Any

from celeriac_host.app import messages
from celeriac_host.system import units
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import RESTING

PROPERTIES = ("LoadState", "ActiveState", "MainPID", "ControlGroup")
RUNNING = ("active", "reloading")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """A TasksFact: `told`, or `unknown` with the reason. Never guesses."""
    unit = args["unit"]
    before = units.show(host, unit, PROPERTIES)
    state, main = before["ActiveState"], units.number(before["MainPID"])
    left = units.cgroup_processes(before["ControlGroup"])
    stopped = state in RESTING and not left
    if not stopped and (state not in RUNNING or not main):
        what = f"{unit} is {state} with {len(left)} processes: cannot tell which tasks they hold"
        return _unknown(what)
    said = messages.ask(args, host, "trace", ids=args["ids"], mainPid=main)
    if "problem" in said:
        what = f"{unit} {'is stopped' if stopped else 'runs'}, and {said['problem']}"
        return {**_unknown(what), "evidence": said.get("evidence", [])}
    after = units.show(host, unit, PROPERTIES)
    if (after["ActiveState"] in RESTING, units.number(after["MainPID"])) != (stopped, main):
        return _unknown(f"{unit} was started or stopped during the check")
    worker = "stopped" if stopped else "answers"
    names = ("owed", "held", "holding", "waiting", "hidden")
    begun = said.get("begun", {})
    return {
        "kind": "told",
        "worker": worker,
        **{name: said[name] for name in names},
        "begun": begun,
    }


def _unknown(problem: str) -> dict[str, Any]:
    return {"kind": "unknown", "problem": problem}
