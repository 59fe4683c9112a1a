"""Has a sample of the unit taken every minute, until its release is proven or undone.

Touches: celeriac-sampler.service and .timer, and what Celeriac's own folder says about the unit.
Undo: samples go on for the release before, or end; those that were taken stay.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state import sampler_timer, sampling
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    # It is part of a release that changes something: the samples begin anew with it.
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit = args["unit"]
    before = sampling.read(host.state, unit)
    paths = None if before is None else before.get("paths", [])
    journal.keep("sampled", {**sampling.fact(host.state, unit), "paths": paths})
    sampler_timer.start(host, unit, args["paths"], args["soakSeconds"], args.get("limits"))
    return f"a sample of {unit} every minute"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    unit, kept = args["unit"], journal.get("sampled")
    if kept is None:
        return None
    if kept["paths"] is None:
        sampler_timer.stop(host, unit)
        return f"no more samples of {unit}"
    wanted, limits = kept.get("soakSeconds"), kept.get("soakLimits")
    sampler_timer.start(host, unit, kept["paths"], wanted, limits)
    return f"sampling of {unit} continues for the previous release"
