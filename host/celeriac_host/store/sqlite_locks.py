"""Who holds a SQLite database, for the message that says why it cannot be changed."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any, Set, Tuple

from celeriac_host.system import processes

COMPANIONS = ("", "-wal", "-shm", "-journal")
# What an interpreter runs.
SCRIPT = re.compile(r"[\w./-]+\.(?:py|sh|js|rb|pl)")
# A file by its device and inode.
Ids = Set[Tuple[int, int]]


def files_of(path: str) -> list[str]:
    """The database and what SQLite keeps beside it."""
    return [os.path.realpath(path) + suffix for suffix in COMPANIONS]


def ids_of(path: str) -> list[tuple[int, int]]:
    """The files of the database, for `explain_lock`; by a process of the app's user."""
    found = []
    for each in files_of(path):
        with suppress(OSError):
            about = os.stat(each)
            found.append((about.st_dev, about.st_ino))
    return found


def read_ids(said: Any) -> Ids:
    """What such a process says that they are; only numbers."""
    rows = said[: len(COMPANIONS)] if isinstance(said, list) else []
    pairs = (row for row in rows if isinstance(row, list) and len(row) == 2)
    return {(dev, inode) for dev, inode in pairs if isinstance(dev, int) and isinstance(inode, int)}


def explain_lock(path: str, waited: str, ids: Ids) -> str:
    holders = lock_holders(path, ids)
    who = f" by {', '.join(holders)}" if holders else ""
    return f"{path} is locked{who}; {waited}, nothing was changed"


def lock_holders(path: str, ids: Ids) -> list[str]:
    """Processes with a write lock on it, or else with it open; empty if none is found.

    By what the kernel lists: a look at the open file of a user could wait for that user.
    """
    paths = {os.path.normpath(path) + suffix for suffix in COMPANIONS}
    # A process may see it below another folder, and a number of a file is not the only one.
    names = {os.path.basename(each) for each in paths}
    writing = _locking({inode for _, inode in ids})
    found = [pid for pid in writing if names & set(map(os.path.basename, _links(pid)))]
    found = found or [pid for pid in _pids() if paths & set(_links(pid))]
    return [_describe_process(pid) for pid in found[:5]]


def _locking(inodes: set[int]) -> list[int]:
    """`1: POSIX  ADVISORY  WRITE 4711 fe:01:131085 120 120` in /proc/locks; each process once."""
    found: dict[int, None] = {}
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    for row in rows:
        if "WRITE" not in row or "->" in row:
            continue
        at = row.index("WRITE")
        inode = row[at + 2].rpartition(":")[2]
        if row[at + 1].isdigit() and inode.isdigit() and int(inode) in inodes:
            # It may hold locks on several ranges of the file.
            found[int(row[at + 1])] = None
    return list(found)


def _pids() -> list[int]:
    ours = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != ours]


def _links(pid: int) -> list[str]:
    """The paths of what the process has open, as far as we may know."""
    folder = f"/proc/{pid}/fd"
    found = []
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                found.append(os.readlink(os.path.join(folder, name)))
    return found


def _describe_process(pid: int) -> str:
    process = processes.read(pid)
    if process is None:
        return f"pid {pid}"
    # Without its arguments, which may hold a secret.
    words = [
        os.path.basename("".join(process.argv[:1])),
        *filter(SCRIPT.fullmatch, process.argv[1:2]),
    ]
    command = "".join(filter(str.isprintable, " ".join(words)))[:80] or "?"
    return f"pid {pid} ({command}, user {process.user})"
