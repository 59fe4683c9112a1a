"""Finds workers on this host by the criteria of the plan."""

from __future__ import annotations

import os
import re
from typing import Any

from celeriac_host.system import processes, units
from celeriac_host.system.system import System

# Any user may start processes that look like workers; each has this many, the oldest.
MOST_OF_A_USER = 200


def matching(command: str) -> list[processes.Process]:
    """Processes whose NUL-terminated arguments match the regular expression, oldest first."""
    sought = re.compile(command)
    found: dict[str, list[processes.Process]] = {}
    for process in processes.each():
        words = "".join(word + "\0" for word in process.argv)
        if process.pid == os.getpid() or not sought.search(words):
            continue
        own = found.setdefault(whose(process), [])
        own.append(process)
        if len(own) >= 2 * MOST_OF_A_USER:
            own[:] = _oldest(own)
    return sorted((each for own in found.values() for each in _oldest(own)), key=_age)


def whose(process: processes.Process) -> str:
    """Its user; those without a name are one: in a user namespace anybody has thousands."""
    return "" if process.user.isdigit() else process.user


def _oldest(those: list[processes.Process]) -> list[processes.Process]:
    return sorted(those, key=_age)[:MOST_OF_A_USER]


def _age(process: processes.Process) -> int:
    return process.start_ticks


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
