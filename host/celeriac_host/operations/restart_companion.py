"""Has a unit that runs the app's code beside the worker load the new code, and watches it.

Touches: the unit; one that does not run is not started.
Undo: guard-companion does it, once the code is restored.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import companions
from celeriac_host.code import sources
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import http
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import RESTING

PROBE_TIMEOUT_SECONDS = 10.0


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, how = args["unit"], args["how"]
    now = companions.seen(unit, host)
    if now["ActiveState"] in RESTING:
        return f"{unit} is {now['ActiveState']}; it was not started", {"downtimeSeconds": None}
    down = companions.renew(args, how, host)
    sources.remember(host, unit)
    companions.watch(unit, float(args["minHealthySeconds"]), host)
    answer = _probe(args, host)
    done = "reloaded" if how == "reload" else f"restarted, {down:.1f} s down"
    line = f"{unit} {done}, stable for {args['minHealthySeconds']:g} s{answer}"
    return line, {"downtimeSeconds": round(down, 1)}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _probe(args: dict[str, Any], host: System) -> str:
    """Waits for an answer of the unit's own URL. Raises OperationError."""
    url = args.get("url")
    if url is None:
        return ""
    end = time.monotonic() + float(args["urlTimeoutSeconds"])
    while True:
        answer = http.fetch(url, PROBE_TIMEOUT_SECONDS)
        status = answer["status"]
        if status is not None and 200 <= status < 400:
            return f", {http.shown(url)} answers {status}"
        if time.monotonic() >= end:
            what = answer["error"] if status is None else f"status {status}"
            raise OperationError(
                f"{args['unit']} runs, but {http.shown(url)} gives {what};"
                " expected a status from 200 to 399",
                evidence=answer["body"].splitlines()[:5],
            )
        host.sleep(1)
