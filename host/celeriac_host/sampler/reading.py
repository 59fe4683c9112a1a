"""Reads one sample of a unit: systemd, its cgroup, its processes, its journal, the disks."""

from __future__ import annotations

import os
import re
import time
from typing import Any, Sequence

from celeriac_host.sampler import journal
from celeriac_host.state import ledger, sampling
from celeriac_host.system import files, mounts, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import NO_LIMIT_BYTES

PROPERTIES = (
    "ActiveState",
    "SubState",
    "Result",
    "InvocationID",
    "NRestarts",
    "MainPID",
    "ControlGroup",
    "StatusText",
)
SYSTEMCTL_SECONDS = 10.0
KERNEL_LIMIT_BYTES = 64 * 1024
MEMINFO = "/proc/meminfo"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MOST_PROCESSES = 1000
MOST_QUEUES = 50
# The support module reports once a minute.
FRESH_SECONDS = 150.0
# ` [at=86400 active=2 processed=120 waiting:celery=3]`, at the end of the unit's status.
REPORT = re.compile(r" \[at=(\d{1,15})((?: [!-~]{1,300})*)\]\Z")
ACTIVE = re.compile(r"active=(\d{1,9})")
PROCESSED = re.compile(r"processed=(\d{1,15})")
QUEUES = re.compile(r"queues=(\d{1,4})")
WAITING = re.compile(r"waiting:([A-Za-z0-9_.~%-]{1,255})=(\d{1,15})")
STATUS_LIMIT = 8192


def unit_states(host: System, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What systemd says about each unit, asked once; empty if it does not answer."""
    if not names:
        return {}
    argv = ["systemctl", "show", "--no-pager", "-p", ",".join(PROPERTIES), "--", *names]
    try:
        blocks = host.run(argv, timeout=SYSTEMCTL_SECONDS).out.split("\n\n")
    except OperationError:
        return {}
    # In the order of the names: an alias answers with another name.
    if len(blocks) != len(names):
        return {}
    matches = ((units.PROPERTY.fullmatch(line) for line in block.splitlines()) for block in blocks)
    return {
        name: {match.group(1): match.group(2) for match in lines if match}
        for name, lines in zip(names, matches)
    }


def sample(
    host: System,
    unit: str,
    seen: dict[str, str] | None,
    before: dict[str, Any],
    changing: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sample, and what the next tick needs of this one. `seen`: None if it is not known.

    `changing`: a run held the host's lock when systemd was asked.
    """
    record = sampling.read(host.state, unit) or {}
    group = None if seen is None else units.cgroup_folder(seen.get("ControlGroup", ""))
    counted, cursor = journal.count(host, unit, before.get("cursor"))
    release = _release(host, unit, before.get("ledger"))
    taken = {
        "v": 1,
        "at": round(time.time(), 1),
        "boot": files.text(BOOT_ID, KERNEL_LIMIT_BYTES).strip(),
        "uptime": round(time.clock_gettime(time.CLOCK_BOOTTIME), 1),
        "changing": changing,
        "release": None if release is None else release["release"],
        "unit": None if seen is None else _unit(seen),
        "memory": None if seen is None else _memory(group, units.number(seen.get("MainPID"))),
        "host": _host(),
        "events": _events(group),
        "pressure": _pressures(group),
        "worker": None if seen is None else worker(seen.get("StatusText", ""), time.monotonic()),
        "journal": counted,
        "disk": _disks(record.get("paths")),
    }
    begun = record.get("begun")
    # The release before has its own.
    ticks = before.get("ticks") if before.get("begun") == begun else 0
    return taken, {
        "cursor": cursor,
        "at": taken["at"],
        "ledger": release,
        "begun": begun,
        "ticks": (ticks if isinstance(ticks, int) else 0) + 1,
        "totals": _totals(before.get("totals"), counted),
        "last": before.get("last") if seen is None else _last(taken),
    }


def _release(host: System, unit: str, kept: Any) -> dict[str, Any] | None:
    """The release that runs, by the ledger, which is read only if it has changed since.

    `kept`: what this returned for the sample before. None if it is not known.
    """
    try:
        mark = ledger.mark(host.state)
        if isinstance(kept, dict) and "release" in kept and kept.get("mark") == mark:
            return kept
        return {"mark": mark, "release": ledger.current(host.state, unit)}
    except OSError:
        return None


def _last(taken: dict[str, Any]) -> dict[str, Any]:
    events = taken["events"]
    return {"unit": taken["unit"], "oomKill": None if events is None else events["oomKill"]}


def worker(status: str, now: float) -> dict[str, Any] | None:
    """What the support module reported; None if it is too old. The app may write anything there."""
    found = REPORT.search(status) if len(status) <= STATUS_LIMIT else None
    if found is None or not -5 <= now - int(found.group(1)) <= FRESH_SECONDS:
        return None
    words = found.group(2).split()
    active = _first(ACTIVE, words)
    if active is None:
        return None
    return {
        "queues": _lengths(words),
        "active": active,
        "processed": _first(PROCESSED, words),
    }


def _lengths(words: Sequence[str]) -> dict[str, int] | None:
    """None unless it says how many queues there are, and tells of all of them."""
    matches = [match for match in map(WAITING.fullmatch, words) if match]
    lengths = {_queue(match.group(1)): int(match.group(2)) for match in matches[:MOST_QUEUES]}
    return lengths if _first(QUEUES, words) == len(lengths) else None


def _queue(quoted: str) -> str:
    if "%" not in quoted:
        return quoted
    # Loaded late: it takes as long as the reading of a sample.
    from urllib.parse import unquote

    # "replace": a lone surrogate could not be sent on.
    return unquote(quoted, "utf-8", "replace")


def _first(pattern: re.Pattern[str], words: Sequence[str]) -> int | None:
    matches = (pattern.fullmatch(word) for word in words)
    return next((int(match.group(1)) for match in matches if match), None)


def _unit(seen: dict[str, str]) -> dict[str, Any]:
    return {
        "active": seen.get("ActiveState", ""),
        "sub": seen.get("SubState", ""),
        "invocation": seen.get("InvocationID", ""),
        "restarts": units.number(seen.get("NRestarts")),
        "result": seen.get("Result", ""),
    }


def _text(folder: str | None, name: str) -> str | None:
    if folder is None:
        return None
    try:
        return files.text(os.path.join(folder, name), KERNEL_LIMIT_BYTES)
    except OSError:
        return None


def _number(folder: str | None, name: str) -> int | None:
    """None also for `max`."""
    text = (_text(folder, name) or "").strip()
    return int(text) if text.isdigit() else None


def _rows(text: str | None) -> dict[str, int]:
    """`name 12`, or `Name:   12 kB`."""
    rows = (line.replace(":", " ").split() for line in (text or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) >= 2 and row[1].isdigit()}


def _memory(group: str | None, main: int) -> dict[str, Any] | None:
    if group is None:
        return None
    sizes = _resident(group)
    counted = _counted(group) or _counted_v1(group) or _summed(sizes)
    if counted is None:
        return None
    return {
        **counted,
        "main": None if sizes is None else sizes.get(main),
        "children": None
        if sizes is None or main not in sizes
        else sum(size for pid, size in sizes.items() if pid != main),
    }


def _counted(group: str) -> dict[str, int | None] | None:
    """By the kernel, for the unit's cgroup."""
    current = _number(group, "memory.current")
    if not current:
        return None
    return {
        "current": current,
        "anon": _rows(_text(group, "memory.stat")).get("anon"),
        "peak": _number(group, "memory.peak"),
        "swap": _number(group, "memory.swap.current"),
        "high": _number(group, "memory.high"),
        "max": _number(group, "memory.max"),
    }


def _counted_v1(group: str) -> dict[str, int | None] | None:
    """The same in cgroup v1, which has a folder for each controller, and no MemoryHigh."""
    folder = units.memory_folder_v1(group)
    current = _number(folder, "memory.usage_in_bytes")
    if not current:
        return None
    with_swap = _number(folder, "memory.memsw.usage_in_bytes")
    limit = _number(folder, "memory.limit_in_bytes")
    return {
        "current": current,
        "anon": _rows(_text(folder, "memory.stat")).get("total_rss"),
        "peak": _number(folder, "memory.max_usage_in_bytes"),
        "swap": None if with_swap is None else max(with_swap - current, 0),
        "high": None,
        "max": None if limit is None or limit >= NO_LIMIT_BYTES else limit,
    }


def _summed(sizes: dict[int, int] | None) -> dict[str, int | None] | None:
    """Where nobody counts for the unit, e.g. in a container: pages that two share count twice."""
    unknown = dict.fromkeys(("anon", "peak", "swap", "high", "max"))
    return {"current": sum(sizes.values()), **unknown} if sizes else None


def _resident(group: str) -> dict[int, int] | None:
    """Resident memory of each process of the cgroup; None if there are too many."""
    page = os.sysconf("SC_PAGESIZE")
    found: dict[int, int] = {}
    for folder, _, _ in os.walk(group):
        for pid in (_text(folder, "cgroup.procs") or "").split():
            if len(found) >= MOST_PROCESSES:
                return None
            words = (_text(f"/proc/{pid}", "statm") or "").split()
            if len(words) > 1:
                found[int(pid)] = int(words[1]) * page
    return found


def _host() -> dict[str, int]:
    rows = _rows(files.text(MEMINFO, KERNEL_LIMIT_BYTES))
    names = (("available", "MemAvailable"), ("swapFree", "SwapFree"))
    return {name: rows.get(key, 0) * 1024 for name, key in names}


def _events(group: str | None) -> dict[str, int] | None:
    rows = _rows(_text(group, "memory.events"))
    keys = (("high", "high"), ("max", "max"), ("oom", "oom"), ("oomKill", "oom_kill"))
    return {name: rows.get(key, 0) for name, key in keys} if rows else None


def _pressures(group: str | None) -> dict[str, Any] | None:
    memory, io = (_pressure(_text(group, f"{name}.pressure")) for name in ("memory", "io"))
    return None if memory is None or io is None else {"memory": memory, "io": io}


def _pressure(text: str | None) -> dict[str, int] | None:
    found = dict(re.findall(r"^(some|full) .*\btotal=(\d+)$", text or "", re.MULTILINE))
    return {name: int(found.get(name, 0)) for name in ("some", "full")} if found else None


def _disks(paths: Any) -> list[dict[str, Any]]:
    """Each file system once, by the first of the paths on it. Nothing there is opened.

    Without those of networks and of FUSE: one that never answers would end all samples.
    """
    found = []
    known = set()
    seen = mounts.mounted()
    for path in paths[: sampling.MOST_PATHS] if isinstance(paths, list) else ():
        mount = mounts.mount_of(path, seen) if isinstance(path, str) else None
        if mount is not None and mounts.DISTANT.match(mount.kind):
            continue
        try:
            about = os.statvfs(path)
        except (OSError, ValueError, TypeError):
            continue
        # Some file systems have no id.
        ident = about.f_fsid or path
        if ident in known:
            continue
        known.add(ident)
        found.append(
            {
                "path": path,
                "free": about.f_bavail * about.f_frsize,
                "size": about.f_blocks * about.f_frsize,
                "inodesFree": about.f_favail,
                "inodes": about.f_files,
            }
        )
    return found


def _totals(before: Any, counted: dict[str, Any] | None) -> dict[str, int]:
    """Of the journal since the sampling began: Prometheus wants counters that only grow."""
    known = before if isinstance(before, dict) else {}
    return {
        name: (known[name] if isinstance(known.get(name), int) else 0)
        + (0 if counted is None else counted[name])
        for name in journal.NAMES
    }
