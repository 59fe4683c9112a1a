"""Whether samples of a unit are taken: see SamplingFact."""

from __future__ import annotations

from typing import Any

from celeriac_host.state import sampling
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    return {"sampling": sampling.is_wanted(host.state, args["unit"])}
