"""Celery's beats on this host: units that run one, and processes, with or without a unit."""

from __future__ import annotations

import re
from typing import Any, Pattern, Sequence

from celeriac_host.facts.companions import service_of
from celeriac_host.system import processes
from celeriac_host.system.processes import shown
from celeriac_host.system.system import System

PROPERTIES = "Id,ActiveState,UnitFileState,ExecStart,User,WorkingDirectory"
MOST = 100
LONGEST_LINE = 4096
# Words before the program: `env TZ=UTC celery …`, or a shell and its script.
MOST_BEFORE = 8
ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=", re.DOTALL)


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    sought = re.compile(args["command"])
    found = []
    for each in processes.each():
        host.heed()
        if each.state not in "ZX" and sought.search(_terminated(each.argv)):
            found.append(each)
    pids = {each.pid for each in found}
    # The children of a worker with -B have its arguments.
    tops = [each for each in found if each.parent not in pids][:MOST]
    return {
        "units": _units(sought, host),
        "processes": [
            {
                "pid": each.pid,
                "unit": service_of(processes.control_group(each.pid) or ""),
                "user": each.user,
                "workingDirectory": processes.working_directory(each.pid),
                "argv": _short(shown(each.argv)),
                "startTicks": each.start_ticks,
            }
            for each in tops
        ],
    }


def _terminated(argv: Sequence[str]) -> str:
    return "".join(word + "\0" for word in argv)


def _units(sought: Pattern[str], host: System) -> list[dict[str, Any]]:
    """Loaded services whose command is a beat: enabled ones and those that failed are loaded."""
    argv = ["systemctl", "show", "--no-pager", f"--property={PROPERTIES}", "--", "*.service"]
    found = []
    for block in host.run(argv, timeout=30).out.split("\n\n"):
        seen = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        match = ARGV.search(seen.get("ExecStart", ""))
        words = match.group(1)[:LONGEST_LINE].split() if match else []
        if any(sought.search(_terminated(words[at:])) for at in range(MOST_BEFORE)):
            found.append(
                {
                    "unit": seen.get("Id", ""),
                    "activeState": seen.get("ActiveState", ""),
                    "unitFileState": seen.get("UnitFileState", ""),
                    "user": seen.get("User") or "root",
                    "workingDirectory": seen.get("WorkingDirectory", "").lstrip("!~-"),
                    "argv": _short(shown(words)),
                }
            )
    return found[:MOST]


def _short(argv: Sequence[str]) -> list[str]:
    return [word[:300] for word in argv[:60]]
