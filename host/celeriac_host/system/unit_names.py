"""Names of units, as people give them."""

from __future__ import annotations

import re

from celeriac_host.system.errors import OperationError

SUFFIXES = ("service", "socket", "timer", "target", "path", "mount", "slice", "scope", "swap")


def full_name(name: str) -> str:
    """The name with its suffix. Raises OperationError for a pattern."""
    if not name or re.search(r"[*?\[\]/\s]", name):
        raise OperationError(f"invalid unit name {name!r}; expected e.g. celery-worker.service")
    return name if name.rpartition(".")[2] in SUFFIXES else name + ".service"
