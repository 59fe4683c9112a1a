"""Reads processes from /proc."""

from __future__ import annotations

import json
import os
from typing import Iterator, NamedTuple, Sequence

from celeriac_host.system.identities import user_name

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ARGUMENTS_LIMIT_BYTES = 64 * 1024
# Of the arguments that are kept of each process.
WORDS_LIMIT, WORD_LIMIT = 20, 200
# Of the arguments that an answer has of one process.
SHOWN_BYTES = 8192
ENVIRONMENT_LIMIT_BYTES = 1024 * 1024
# Children of a pool's main process that run no tasks.
HELPERS = ("semaphore_tracker", "resource_tracker", "forkserver")


class Process(NamedTuple):
    pid: int
    parent: int
    state: str
    """The state letter: R, S, D, T, Z…"""
    user: str
    """Who started it. Not the owner of `/proc/PID`: that is root if it cannot be dumped."""
    resident_bytes: int
    argv: Sequence[str]
    start_ticks: int
    """Since boot; pid and start together identify one process."""


def read(pid: int) -> Process | None:
    """The process, or None if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may contain anything, even parentheses.
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            # It may have gigabytes of arguments.
            words = file.read(ARGUMENTS_LIMIT_BYTES)
        with open(f"/proc/{pid}/status", "rb") as file:
            # The kernel escapes line breaks in the name.
            uid = next(int(line.split()[1]) for line in file if line.startswith(b"Uid:"))
    except (OSError, ValueError, StopIteration):
        return None
    argv = words[:-1].split(b"\0") if words.endswith(b"\0") else words.split(b"\0")
    return Process(
        pid=pid,
        parent=int(fields[1]),
        state=fields[0].decode(),
        user=user_name(uid),
        resident_bytes=int(fields[21]) * PAGE_BYTES,
        argv=[word.decode("utf-8", "replace") for word in argv] if words else [],
        start_ticks=int(fields[19]),
    )


def each() -> Iterator[Process]:
    """All processes, one after the other: any user may start thousands with long arguments."""
    found = (read(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return (process for process in found if process is not None)


def read_all() -> list[Process]:
    """All processes with the beginnings of their arguments."""
    return [process._replace(argv=_beginning(process.argv)) for process in each()]


def shown(argv: Sequence[str]) -> list[str]:
    """The first arguments, as many as fit into an answer together with others."""
    found: list[str] = []
    left = SHOWN_BYTES
    for word in argv:
        left -= len(json.dumps(word)) + 1
        if left < 0:
            break
        found.append(word)
    return found


def _beginning(argv: Sequence[str]) -> list[str]:
    return [word[:WORD_LIMIT] for word in argv[:WORDS_LIMIT]]


def control_group(pid: int) -> str | None:
    """Its cgroup path, in systemd's own hierarchy if there is one, else in the unified one."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            rows = [line.split(":", 2) for line in file.read(ARGUMENTS_LIMIT_BYTES).split("\n")]
    except OSError:
        return None
    paths: dict[str, str] = {row[1]: row[2] for row in rows if len(row) == 3}
    return paths.get("name=systemd", paths.get(""))


def working_directory(pid: int) -> str | None:
    """None if it cannot be read; the path of a removed directory ends in ` (deleted)`."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def program(pid: int) -> str:
    """The path of its executable; empty if it cannot be read."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def environment(pid: int) -> dict[str, str]:
    """Its environment at start, unless it overwrote it; empty if it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read(ENVIRONMENT_LIMIT_BYTES).split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in entries)
    return {name: value for name, equals, value in pairs if name and equals}


def descendants(pid: int, among: Sequence[Process] | None = None) -> list[Process]:
    """Children and their descendants; parents before their children."""
    by_parent: dict[int, list[Process]] = {}
    for process in read_all() if among is None else among:
        by_parent.setdefault(process.parent, []).append(process)
    found = list(by_parent.get(pid, []))
    for process in found:
        found.extend(by_parent.get(process.pid, []))
    return found


def pool_children(pid: int, among: Sequence[Process] | None = None) -> list[Process]:
    """Direct children that may run tasks: no zombies, no helper processes of Python."""
    return [
        process
        for process in (read_all() if among is None else among)
        if process.parent == pid
        and process.state not in "ZX"
        and not any(helper in word for helper in HELPERS for word in process.argv)
    ]


def same(process: Process) -> bool:
    """Whether this same process still runs (a zombie does not)."""
    now = read(process.pid)
    return now is not None and now.start_ticks == process.start_ticks and now.state not in "ZX"
