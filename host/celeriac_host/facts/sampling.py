"""Whether samples of a unit are taken, and for how long a soak: see SamplingFact."""

from __future__ import annotations

from typing import Any

from celeriac_host.state import sampling
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    return sampling.fact(host.state, args["unit"])
