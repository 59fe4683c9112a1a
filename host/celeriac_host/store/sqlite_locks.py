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
    holders = lock_holders(ids)
    who = f" by {', '.join(holders)}" if holders else ""
    return f"{path} is locked{who}; {waited}, nothing was changed"


def lock_holders(ids: Ids) -> list[str]:
    """Processes with a write lock on it, or else with it open; empty if none is found."""
    with_file_open = [pid for pid in _pids() if _has_open(pid, ids)]
    writing = [pid for pid in _locking({inode for _, inode in ids}) if pid in with_file_open]
    return [_describe_process(pid) for pid in (writing or with_file_open)[:5]]


def _locking(inodes: set[int]) -> list[int]:
    """`1: POSIX  ADVISORY  WRITE 4711 fe:01:131085 120 120` in /proc/locks."""
    found = []
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
            found.append(int(row[at + 1]))
    return found


def _pids() -> list[int]:
    ours = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != ours]


def _has_open(pid: int, ids: Ids) -> bool:
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                about = os.stat(os.path.join(folder, name))
                if (about.st_dev, about.st_ino) in ids:
                    return True
    return False


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
