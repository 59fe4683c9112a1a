"""Keeps the memory limits of a running worker until it is restarted with its new unit file.

A daemon-reload applies the limits of the new unit file to the cgroup at once. The old worker may
use far more memory, and the OOM killer would end it while it drains.
"""

from __future__ import annotations

import os

from celeriac_host.system import files, units
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import RESTING

FOLDER = "/run/systemd/system"
NAME = "zzz-celeriac-until-start.conf"
LIMITS = ("MemoryMax", "MemoryHigh")


def hold(unit: str, host: System) -> None:
    """Writes the drop-in; a daemon-reload must follow. A reboot removes it."""
    seen = units.show(host, unit, ["ActiveState", *LIMITS])
    if seen.get("ActiveState") in RESTING:
        return
    lines = [f"{name}={seen[name]}" for name in LIMITS if seen.get(name)]
    text = "\n".join(["# Until the worker is restarted.", "[Service]", *lines, ""])
    path = path_of(unit)
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    files.write(path, text.encode("utf-8"), 0o644, 0, 0)


def drop(unit: str) -> bool:
    """Removes the drop-in. True if there was one: then a daemon-reload must follow."""
    path = path_of(unit)
    there = os.path.lexists(path)
    if there or files.temporary(path):
        files.remove(path)
        files.remove_folders([os.path.dirname(path)])
    return there


def is_hold(path: str) -> bool:
    """Whether a drop-in is one of these: temporary, not part of the unit's definition."""
    return os.path.dirname(os.path.dirname(path)) == FOLDER and os.path.basename(path) == NAME


def path_of(unit: str) -> str:
    """The drop-in of the unit, whether it exists or not."""
    return os.path.join(FOLDER, unit + ".d", NAME)
