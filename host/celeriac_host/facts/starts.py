"""How processes were started: what started them, where their program is, which variables they have.

Of the variables only the names are told, but for those that lead to a program: they may be secret.
"""

from __future__ import annotations

import grp
import os
import re
import shutil
from typing import Any

from celeriac_host.facts.unit import text_of
from celeriac_host.system import processes
from celeriac_host.system.system import System

MOST = 50
MOST_VARIABLES = 300
LONGEST_NAME = 200
MOST_ABOVE = 20
OPEN_VARIABLES = ("HOME", "PATH", "VIRTUAL_ENV")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    """One for each of the processes `pids` that still runs."""
    found = (processes.read(pid) for pid in args["pids"][:MOST])
    return [_start(process) for process in found if process is not None]


def _start(process: processes.Process) -> dict[str, Any]:
    environment = processes.environment(process.pid)
    return {
        "pid": process.pid,
        "variables": sorted(
            name for name in environment if NAME.fullmatch(name) and len(name) <= LONGEST_NAME
        )[:MOST_VARIABLES],
        "open": {name: environment[name] for name in OPEN_VARIABLES if name in environment},
        "program": _program(process, environment.get("PATH", "")),
        "group": _group(process.pid),
        "above": _above(process),
    }


def _program(process: processes.Process, path: str) -> str | None:
    """Where the word that started it leads; None unless that is what it runs."""
    word = process.argv[0] if process.argv else ""
    if "/" in word:
        found: str | None = os.path.join(processes.working_directory(process.pid) or "/", word)
    else:
        found = shutil.which(word, path=path) if word and path else None
    if found is None or os.path.realpath(found) != processes.program(process.pid):
        return None
    return os.path.normpath(found)


def _group(pid: int) -> str | None:
    """Its group's name; None if it has none."""
    match = re.search(r"^Gid:\s+(\d+)", text_of(f"/proc/{pid}/status") or "", re.MULTILINE)
    try:
        return grp.getgrgid(int(match.group(1))).gr_name if match else None
    except KeyError:
        return None


def _above(process: processes.Process) -> list[dict[str, Any]]:
    """What started it, nearest first, up to and with process 1."""
    found: list[dict[str, Any]] = []
    at = processes.read(process.parent)
    while at is not None and len(found) < MOST_ABOVE:
        name = (text_of(f"/proc/{at.pid}/comm") or "").strip()
        found.append({"pid": at.pid, "name": name})
        at = processes.read(at.parent)
    return found
