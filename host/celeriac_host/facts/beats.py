"""Celery's beats on this host: units that run one, and processes, with or without a unit."""

from __future__ import annotations

import os
import re
from typing import Any, Sequence

from celeriac_host.facts.companions import service_of
from celeriac_host.system import processes
from celeriac_host.system.processes import shown
from celeriac_host.system.system import System

PROPERTIES = "Id,ActiveState,UnitFileState,ExecStart,User,WorkingDirectory"
MOST = 100
LONGEST_LINE = 4096
ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=", re.DOTALL)
# Options whose value may be the word.
VALUED = ("-A", "--app", "-b", "--broker", "-n", "--hostname", "-Q", "--queues", "--workdir")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    found = [each for each in processes.each() if is_beat(each.argv) and each.state not in "ZX"]
    pids = {each.pid for each in found}
    # The children of a worker with -B have its arguments.
    tops = [each for each in found if each.parent not in pids][:MOST]
    return {
        "units": _units(host),
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


def is_beat(argv: Sequence[str]) -> bool:
    """`celery … beat`, or a worker with -B."""
    at = next((i for i, word in enumerate(argv[:8]) if os.path.basename(word) == "celery"), None)
    if at is None:
        return False
    rest = list(argv[at + 1 :])
    commands = [
        word
        for before, word in zip(["", *rest], rest)
        if word in ("beat", "worker") and before not in VALUED
    ]
    if commands[:1] == ["worker"]:
        return any(word in ("-B", "--beat") for word in rest)
    return commands[:1] == ["beat"]


def _units(host: System) -> list[dict[str, Any]]:
    """Loaded services whose command is a beat: enabled ones and those that failed are loaded."""
    argv = ["systemctl", "show", "--no-pager", f"--property={PROPERTIES}", "--", "*.service"]
    found = []
    for block in host.run(argv, timeout=30).out.split("\n\n"):
        seen = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        match = ARGV.search(seen.get("ExecStart", ""))
        words = match.group(1)[:LONGEST_LINE].split() if match else []
        if is_beat(words):
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
