"""Out-of-memory kills in the kernel's log since the unit's start."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from celeriac_host.facts.journal import ENTRY_LIMIT, MESSAGE_LIMIT, at, parsed, read
from celeriac_host.facts.unit import instant
from celeriac_host.system import unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

KILL = re.compile(rb"out of memory|oom-kill|oom.killer|oom_reaper", re.IGNORECASE)
LIMIT = 100


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    seen = units.glance(host, full_name(args["unit"]), ["InactiveExitTimestampMonotonic"])
    started = seen.get("InactiveExitTimestampMonotonic")
    kills: deque[dict[str, Any]] = deque(maxlen=LIMIT)
    lines = 0

    def take(line: bytes) -> None:
        nonlocal lines
        lines += 1
        if not KILL.search(line):
            return
        entry = parsed(line)
        # Compared on the monotonic clock, which nobody can set; -k reads only this boot.
        if units.number(entry.get("__MONOTONIC_TIMESTAMP")) >= units.number(started):
            kills.append(entry)

    try:
        read(host, ["-k", "-n", str(ENTRY_LIMIT)], take)
        # In a container, the journal has no kernel lines, and journalctl reports no error.
        readable = lines > 0
    except OperationError:
        readable = False
    return {
        "since": instant(started),
        "outOfMemory": [
            {"at": at(entry), "message": unit_journal.message(entry)[:MESSAGE_LIMIT]}
            for entry in kills
        ],
        "readable": readable,
    }
