"""Records the state of a unit that runs the app's code beside the worker.

Touches: nothing.
Undo: restarts or reloads the unit, if that happened meanwhile, so that it runs the code that was
  restored; starts it if it has stopped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celeriac_host.app import companions
from celeriac_host.code import sources
from celeriac_host.state.journal import TODO, StepJournal
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import SERVING


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit = args["unit"]
    now = companions.seen(unit, host)
    journal.keep("was", now)
    return f"{unit} was {now['ActiveState']}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    unit, was = args["unit"], journal.get("was")
    if was is None or was["ActiveState"] not in SERVING:
        return None
    now = companions.seen(unit, host)
    if companions.same_run(was, now):
        return f"{unit} never stopped serving"
    try:
        serves = now["ActiveState"] in SERVING
        if serves and args["how"] == "reload" and now["InvocationID"] == was["InvocationID"]:
            companions.renew(args, "reload", host)
        else:
            left = companions.stop(args, host) if serves else companions.end_left(args, was, host)
            if left and args.get("onlyOnce"):
                raise companions.still_there(unit, left)
            # Its stop did not end them: it serves again all the same, but they must be told.
            companions.start(unit, companions.timeout_of(args), host)
            if left:
                with suppress(OSError):
                    journal.keep(TODO, _todo(unit, left))
        sources.remember(host, unit)
        companions.watch(unit, float(args["minHealthySeconds"]), host)
    except OperationError as error:
        raise OperationError(
            f"{unit} does not serve: {error.message}", evidence=error.evidence
        ) from None
    return f"{unit} serves again, with the code that is in place now"


def _todo(unit: str, left: list[processes.Process]) -> str:
    """They may be jobs that are meant to go on, or run what the unit runs, too."""
    pids = ", ".join(str(each.pid) for each in left)
    some, them = ("process", "it") if len(left) == 1 else ("processes", "them")
    return (
        f"end {some} {pids} on the host: {unit} left {them} behind when it stopped, and runs again"
    )
