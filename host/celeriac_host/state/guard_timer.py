"""Where the guard's timer (`transaction/guard.py`) is, and whether it is enabled."""

from __future__ import annotations

import os

NAME = "celeriac-guard"
FOLDER = "/etc/systemd/system"
WANTS = "timers.target.wants"


def link() -> str:
    """The link that enables it at boot."""
    return os.path.join(FOLDER, WANTS, f"{NAME}.timer")


def is_armed() -> bool:
    return os.path.lexists(link())


def unit_paths() -> tuple[str, str]:
    """The service, the timer."""
    service, timer = (f"{NAME}.{kind}" for kind in ("service", "timer"))
    return os.path.join(FOLDER, service), os.path.join(FOLDER, timer)
