"""Has no more samples of the unit taken: its release is not to be soaked.

Touches: what Celeriac's own folder says about the unit; celeriac-sampler.timer, if none is left.
Undo: samples go on as before.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state import sampler_timer, sampling
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return not sampling.is_wanted(host.state, args["unit"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit = args["unit"]
    paths = (sampling.read(host.state, unit) or {}).get("paths", [])
    journal.keep("sampled", {**sampling.fact(host.state, unit), "paths": paths})
    sampler_timer.stop(host, unit)
    return f"no more samples of {unit}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    unit, kept = args["unit"], journal.get("sampled")
    if kept is None:
        return None
    wanted, limits = kept.get("soakSeconds"), kept.get("soakLimits")
    sampler_timer.start(host, unit, kept["paths"], wanted, limits)
    return f"sampling of {unit} continues for the previous release"
