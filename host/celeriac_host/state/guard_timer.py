"""Where the timer of the guard (`transaction/guard.py`) lies, and whether it is enabled."""

from __future__ import annotations

import os

NAME = "celeriac-guard"
FOLDER = "/etc/systemd/system"
WANTS = "timers.target.wants"


def link() -> str:
    """What enables it at boot."""
    return os.path.join(FOLDER, WANTS, f"{NAME}.timer")


def is_armed() -> bool:
    return os.path.lexists(link())
