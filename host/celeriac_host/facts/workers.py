"""Processes whose command line is that of a Celery worker, wherever they run."""

from __future__ import annotations

import os
import time
from typing import Any

from celeriac_host.app.workers import is_worker
from celeriac_host.facts.unit import process_fact
from celeriac_host.system import processes
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    with open("/proc/uptime", encoding="ascii") as file:
        booted = time.time() - float(file.read().split()[0])
    return [
        {
            **process_fact(process),
            "cgroup": processes.control_group(process.pid) or "",
            "workingDirectory": _working_directory(process.pid),
            "startedAt": booted + process.start_ticks / processes.TICKS_PER_SECOND,
        }
        for process in processes.read_all()
        if process.pid != os.getpid() and is_worker(process.argv)
    ]


def _working_directory(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
