"""The transactions whose journals are still on this host."""

from __future__ import annotations

from typing import Any

from celeriac_host.state.journal import SHOWN, remembered
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    unit = args.get("unit")
    return [
        {name: each[name] for name in SHOWN}
        for each in remembered(host.state)
        if unit is None or each["unit"] == unit
    ]
