"""Who holds a SQLite database, for the message that says why it cannot be changed."""

from __future__ import annotations

import os
from contextlib import suppress

from celeriac_host.system import processes

COMPANIONS = ("", "-wal", "-shm", "-journal")


def files_of(path: str) -> list[str]:
    """The database and what SQLite keeps beside it."""
    return [os.path.realpath(path) + suffix for suffix in COMPANIONS]


def explain_lock(path: str, waited: str) -> str:
    holders = lock_holders(path)
    who = f" by {', '.join(holders)}" if holders else ""
    return f"{path} is locked{who}; {waited}, nothing was changed"


def lock_holders(path: str) -> list[str]:
    """Processes with a write lock on it, or else with it open; empty if none is found."""
    inodes = set()
    for each in files_of(path):
        with suppress(OSError):
            inodes.add(os.stat(each).st_ino)
    with_file_open = [pid for pid in _pids() if _has_open(pid, inodes)]
    writing = [pid for pid in _locking(inodes) if pid in with_file_open]
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


def _has_open(pid: int, inodes: set[int]) -> bool:
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.stat(os.path.join(folder, name)).st_ino in inodes:
                    return True
    return False


def _describe_process(pid: int) -> str:
    process = processes.read(pid)
    if process is None:
        return f"pid {pid}"
    command = " ".join(process.argv)[:80] or "?"
    return f"pid {pid} ({command}, user {process.user})"
