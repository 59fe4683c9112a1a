"""Processes whose arguments match a pattern, wherever they run."""

from __future__ import annotations

import json
import time
from typing import Any

from celeriac_host.app import workers
from celeriac_host.facts.unit import process_fact
from celeriac_host.system import processes
from celeriac_host.system.system import System

# Of an answer, which has at most 1 MiB: any user may start processes that look like workers.
USER_BYTES = 128 * 1024


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    with open("/proc/uptime", encoding="ascii") as file:
        booted = time.time() - float(file.read().split()[0])
    left: dict[str, int] = {}
    found = []
    for process in workers.matching(args["command"]):
        fact = {
            **process_fact(process),
            "cgroup": processes.control_group(process.pid) or "",
            "workingDirectory": processes.working_directory(process.pid),
            "startedAt": booted + process.start_ticks / processes.TICKS_PER_SECOND,
        }
        user = workers.whose(process)
        left[user] = left.get(user, USER_BYTES) - len(json.dumps(fact))
        if left[user] >= 0:
            found.append(fact)
    return found
