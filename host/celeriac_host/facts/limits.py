"""What bounds the memory of a unit, and of the services beside it."""

from __future__ import annotations

import os
import re
from typing import Any

from celeriac_host.facts.unit import text_of
from celeriac_host.system import bus, services, units
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name
from celeriac_host.system.unit_values import NO_LIMIT_BYTES

PROPERTIES = ("Id", "ActiveState", "Slice", "ControlGroup", "MemoryMax", "MemoryCurrent")
# Of those that have a limit.
MORE = ("MemoryMax", "MemoryCurrent", "Slice")
NOT_SET = (1 << 64) - 1
PROPORTIONAL = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    name = full_name(args["unit"])
    seen = [
        block for block in _units(host) if 0 < units.number(block.get("MemoryMax")) < NO_LIMIT_BYTES
    ]
    return {
        "controller": _has_controller(),
        "ownMeminfo": _own_meminfo(),
        "system": _system(),
        "unitBytes": _proportional(units.glance(host, name, ["ControlGroup"])["ControlGroup"]),
        "slices": [
            {"name": block["Id"], "memoryMaxBytes": int(block["MemoryMax"])}
            for block in seen
            if block.get("Id", "").endswith(".slice")
        ],
        "services": [
            {
                "name": block["Id"],
                "activeState": block.get("ActiveState", ""),
                "slice": block.get("Slice", ""),
                "memoryMaxBytes": int(block["MemoryMax"]),
                # Without the controller it is `[not set]`.
                "currentBytes": units.number(block.get("MemoryCurrent")) or None,
            }
            for block in seen
            # Nor a program that another run of Celeriac has started for a moment.
            if block.get("Id", "").endswith(".service")
            and block["Id"] != name
            and not services.is_own(block["Id"])
        ],
    }


def _units(host: System) -> list[dict[str, str]]:
    """The loaded services and slices."""
    found = _told(host)
    return _shown(host) if found is None else found


def _told(host: System) -> list[dict[str, str]] | None:
    """Those with a limit, by systemd itself, as systemctl would show them; None if it did not say.

    A systemctl asks for every property of each unit, which keeps systemd busy on a host with many.
    """
    listed = bus.Call(
        bus.MANAGER, bus.PREFIX + "Manager", "ListUnitsByPatterns", ([], ["*.service", "*.slice"])
    )
    said = host.systemd([listed])
    if said is None or said[0] is None:
        return None
    # A unit that others only name has no limit.
    loaded = [row for row in said[0][0] if row[2] != "not-found" or row[3] != "inactive"]
    limits = _properties(host, [(row, "MemoryMax") for row in loaded])
    if limits is None:
        return None
    bound = [
        row for row, most in zip(loaded, limits) if type(most) is int and most < NO_LIMIT_BYTES
    ]
    more = _properties(host, [(row, name) for row in bound for name in MORE])
    if more is None:
        return None
    found = []
    for place, row in enumerate(bound):
        values = more[place * len(MORE) : (place + 1) * len(MORE)]
        shown = {name: _text(value) for name, value in zip(MORE, values)}
        found.append({"Id": row[0], "ActiveState": row[3], **shown})
    return found


def _properties(host: System, wanted: list[tuple[Any, str]]) -> list[Any] | None:
    """Each None for a unit that is gone meanwhile; None: systemd did not answer."""
    calls = [
        bus.property_of(row[6], "Slice" if row[0].endswith(".slice") else "Service", name)
        for row, name in wanted
    ]
    said = host.systemd(calls)
    return None if said is None else [values[0] if values else None for values in said]


def _text(value: Any) -> str:
    """As systemctl prints it; a number without a value is the largest one."""
    return "" if value is None or value == NOT_SET else str(value)


def _shown(host: System) -> list[dict[str, str]]:
    """By systemctl, which separates them by empty lines."""
    wanted = ["--no-pager", "-p", ",".join(PROPERTIES), "--", "*.service", "*.slice"]
    done = host.run(["systemctl", "show", *wanted], timeout=30)
    blocks = (block.splitlines() for block in done.out.split("\n\n"))
    return [
        {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
        for lines in blocks
    ]


def _has_controller() -> bool:
    """Whether the kernel can limit the memory of services."""
    root = units.CGROUP_ROOT
    version2 = text_of(root + "/cgroup.controllers")
    if version2 is not None:
        return "memory" in version2.split()
    return os.path.exists(root + "/memory/memory.limit_in_bytes")


def _own_meminfo() -> bool:
    """Whether something is mounted over /proc/meminfo, as lxcfs does with a container's own."""
    rows = (line.split() for line in (text_of("/proc/self/mountinfo") or "").splitlines())
    return any(len(row) > 4 and row[4] == "/proc/meminfo" for row in rows)


def _system() -> dict[str, int] | None:
    """The limit of the cgroup that is our root, as in a container; None if there is none."""
    root = units.CGROUP_ROOT
    if os.path.exists(root + "/cgroup.controllers"):
        limit, used = text_of(root + "/memory.max"), text_of(root + "/memory.current")
        cache = _counter(root + "/memory.stat", "file")
    else:
        limit = text_of(root + "/memory/memory.limit_in_bytes")
        used = text_of(root + "/memory/memory.usage_in_bytes")
        cache = _counter(root + "/memory/memory.stat", "total_cache")
    limit_bytes = units.number((limit or "").strip())
    used_bytes = units.number((used or "").strip())
    if not 0 < limit_bytes < NO_LIMIT_BYTES or used_bytes == 0:
        return None
    # The kernel drops the cache of files before it kills anything.
    return {"limitBytes": limit_bytes, "usedBytes": max(used_bytes - cache, 0)}


def _proportional(group: str) -> int | None:
    """The memory of the processes, shared pages divided among those that share them."""
    found = units.cgroup_processes(group)
    texts = [text_of(f"/proc/{process.pid}/smaps_rollup") for process in found]
    shares = [PROPORTIONAL.search(text) for text in texts if text]
    known = [int(share.group(1)) * 1024 for share in shares if share]
    return sum(known) if known and len(known) == len(found) else None


def _counter(path: str, name: str) -> int:
    rows = (line.split() for line in (text_of(path) or "").splitlines())
    return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == name), 0)
