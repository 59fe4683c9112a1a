"""Where records about units are in /var/lib/celeriac: for each kind a folder with a file a unit."""

from __future__ import annotations

import os
import re


def path(state: str, folder: str, unit: str) -> str:
    """Other characters become `_`: two units with unusual names may share a file."""
    return os.path.join(state, folder, re.sub(r"[^A-Za-z0-9@._-]", "_", unit) + ".json")
