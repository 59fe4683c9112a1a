"""How long processes waited for memory and I/O (PSI): on the machine, and in the unit's cgroup."""

from __future__ import annotations

import os
import re
from typing import Any

from celeriac_host.facts.unit import text_of
from celeriac_host.system import units
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

MACHINE = "/proc/pressure"
LINE = re.compile(r"(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    seen = units.glance(host, full_name(args["unit"]), ["ControlGroup"])
    folder = units.cgroup_folder(seen.get("ControlGroup", ""))
    return {
        "machine": {name: read(os.path.join(MACHINE, name)) for name in ("memory", "io")},
        "unit": {
            name: None if folder is None else read(os.path.join(folder, f"{name}.pressure"))
            for name in ("memory", "io")
        },
    }


def read(path: str) -> dict[str, dict[str, float]] | None:
    """Percent of the last 10, 60 and 300 s; None where the kernel does not measure it."""
    found = {
        match.group(1): {
            "avg10": float(match.group(2)),
            "avg60": float(match.group(3)),
            "avg300": float(match.group(4)),
        }
        for match in LINE.finditer(text_of(path) or "")
    }
    # Some kernels have no line `full` for all resources.
    return {"some": found["some"], "full": found["full"]} if len(found) == 2 else None
