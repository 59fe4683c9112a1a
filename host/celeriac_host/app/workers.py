"""Finds workers on this host by the criteria of the plan."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

from celeriac_host.system import processes, units
from celeriac_host.system.system import System

# Any user may start processes that look like workers; each has this many, the oldest.
MOST_OF_A_USER = 200


def matching(command: str) -> list[processes.Process]:
    """Processes whose NUL-terminated arguments match the regular expression, oldest first."""
    sought = re.compile(command)
    counts: Counter[str] = Counter()
    found = []
    for process in sorted(processes.read_all(), key=lambda each: each.start_ticks):
        words = "".join(word + "\0" for word in process.argv)
        if process.pid == os.getpid() or not sought.search(words):
            continue
        counts[process.user] += 1
        if counts[process.user] <= MOST_OF_A_USER:
            found.append(process)
    return found


def others(unit: str, search: dict[str, Any], host: System) -> list[int]:
    """Main processes of the workers that match a `WorkerSearch`, except the unit's own."""
    directory = os.path.realpath(search["directory"])
    group = units.show(host, unit, ["ControlGroup"]).get("ControlGroup", "")
    own = {process.pid for process in units.cgroup_processes(group)}
    found = [
        process
        for process in matching(search["command"])
        if process.pid not in own
        and process.state not in "ZX"
        and _directory(process.pid) == directory
    ]
    pids = {process.pid for process in found}
    return sorted(process.pid for process in found if process.parent not in pids)


def _directory(pid: int) -> str:
    # A deploy may have replaced the directory of a running worker.
    return (processes.working_directory(pid) or "").replace(" (deleted)", "")
