"""What protects the host, and the worker, from programs that work on the app's files.

Git, pip, psql and our own programs there must write what the unit may not, so the unit's rules for
files are not theirs. Its limits of memory and tasks, its slice and its network are.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Mapping

from celeriac_host.system.services import Restrictions, values_of

# Beside what a unit sets, by `systemctl show`.
PROPERTIES = (
    "IPAddressAllow",
    "IPAddressDeny",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "LockPersonality",
    "RestrictRealtime",
    "SystemCallArchitectures",
)
NETWORK = ("IPAddressAllow", "IPAddressDeny", "RestrictAddressFamilies")
SHOWN = (*PROPERTIES, "Slice", "MemoryMax", "MemoryHigh", "MemorySwapMax", "TasksMax", "LoadState")
FIXED = (
    # Of the keeper, which is root. Its programs have none.
    ("CapabilityBoundingSet", "CAP_SETUID CAP_SETGID CAP_KILL"),
    ("KillMode", "control-group"),
    ("KillSignal", "SIGKILL"),
    # The keeper survives the program that is too large, and tells of it.
    ("OOMPolicy", "continue"),
    # Rather these than the app, where the memory of the host runs out.
    ("OOMScoreAdjust", "500"),
)
GIB = 1024**3
# A worker with less may need more than that for its packages.
LEAST_MEMORY_BYTES = GIB
LEAST_TASKS, USUAL_TASKS, MOST_TASKS = 256, 512, 1024
# Without systemd: of all processes of the user, the app's included.
MOST_PROCESSES = 4096
CGROUPS = "/sys/fs/cgroup"


def box(seen: Mapping[str, str]) -> Restrictions:
    """For the app of the unit with these properties (`systemctl show`); none: defaults."""
    # A unit that does not exist has properties, too.
    known = seen if seen.get("LoadState") == "loaded" else {}
    usual = _memory_of_host() // 4 * 3
    least = min(LEAST_MEMORY_BYTES, usual)
    memory = max(_number(known, "MemoryMax", usual), least)
    high = _number(known, "MemoryHigh", 0)
    tasks = min(max(_number(known, "TasksMax", USUAL_TASKS), LEAST_TASKS), MOST_TASKS)
    limits = [*FIXED, ("MemoryMax", str(memory)), ("TasksMax", str(tasks))]
    # Below it, it would only make them slow.
    limits += [("MemoryHigh", str(high))] if high >= least else []
    if "MemorySwapMax" in known and known["MemorySwapMax"].isdigit():
        limits.append(("MemorySwapMax", known["MemorySwapMax"]))
    limits += [("Slice", known["Slice"])] if known.get("Slice") else []
    limits += [pair for name in PROPERTIES for pair in values_of(name, known)]
    rlimits = {"CORE": ("0", "0")}
    if not has_memory_controller():
        rlimits["DATA"] = (str(memory), str(memory))
    return Restrictions(limits, rlimits, 0o022, False)


def without_network(limits: Restrictions) -> Restrictions:
    """The same for an installer, which has to reach the package index."""
    left = [(name, value) for name, value in limits.properties if name not in NETWORK]
    return limits._replace(properties=left)


def own_limits() -> dict[str, tuple[int, int]]:
    """Limits of each program where there is no systemd, by the name of the resource."""
    memory = _memory_of_host() // 4 * 3
    return {"DATA": (memory, memory), "NPROC": (MOST_PROCESSES, MOST_PROCESSES)}


def has_memory_controller(root: str = CGROUPS) -> bool:
    """Whether the kernel can limit the memory of services."""
    try:
        with open(root + "/cgroup.controllers", encoding="ascii") as file:
            return "memory" in file.read(4096).split()
    except OSError:
        return os.path.exists(root + "/memory/memory.limit_in_bytes")


def join(pid: int) -> None:
    """Puts this process, while it is root's, into the control groups of another one."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, path in lines:
        name = controllers[len("name=") :] if controllers.startswith("name=") else controllers
        for root in (f"{CGROUPS}/{name}",) if name else (CGROUPS, f"{CGROUPS}/unified"):
            with suppress(OSError), open(f"{root}{path}/cgroup.procs", "w") as file:
                file.write("0")


def _number(seen: Mapping[str, str], name: str, otherwise: int) -> int:
    value = seen.get(name, "")
    return int(value) if value.isdigit() else otherwise


def _memory_of_host() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
