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
PROPORTIONAL = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    """One for each of the processes `pids` that still runs."""
    everyone = processes.read_all()
    by_pid = {each.pid: each for each in everyone}
    return [_start(by_pid[pid], by_pid, everyone) for pid in args["pids"][:MOST] if pid in by_pid]


def _start(
    process: processes.Process,
    by_pid: dict[int, processes.Process],
    everyone: list[processes.Process],
) -> dict[str, Any]:
    environment = processes.environment(process.pid)
    tree = [process, *processes.descendants(process.pid, everyone)]
    return {
        "pid": process.pid,
        "variables": sorted(
            name for name in environment if NAME.fullmatch(name) and len(name) <= LONGEST_NAME
        )[:MOST_VARIABLES],
        "open": {name: environment[name] for name in OPEN_VARIABLES if name in environment},
        "program": _program(process, environment.get("PATH", "")),
        "group": _group(process.pid),
        "above": _above(process, by_pid),
        "treeBytes": _proportional([each.pid for each in tree if each.state not in "ZX"]),
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


def _above(
    process: processes.Process, by_pid: dict[int, processes.Process]
) -> list[dict[str, Any]]:
    """What started it, nearest first, up to and with process 1."""
    found: list[dict[str, Any]] = []
    at = by_pid.get(process.parent)
    while at is not None and len(found) < MOST_ABOVE:
        name = (text_of(f"/proc/{at.pid}/comm") or "").strip()
        found.append({"pid": at.pid, "name": name})
        at = by_pid.get(at.parent)
    return found


def _proportional(pids: list[int]) -> int | None:
    """The memory of the processes, shared pages divided among those that share them."""
    texts = [text_of(f"/proc/{pid}/smaps_rollup") for pid in pids]
    shares = [PROPORTIONAL.search(text) for text in texts if text]
    known = [int(share.group(1)) * 1024 for share in shares if share]
    return sum(known) if known and len(known) == len(pids) else None
