"""What protects the host, and the worker, from programs that work on the app's files.

Git, pip, psql and our own programs there must write what the unit may not, so the unit's rules for
files are not theirs. Its network, its slice and its restrictions of system calls are. Its limit of
memory is one for the worker: what builds a package may need more, and gets what the host can spare.
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
    "PrivateNetwork",
    "NetworkNamespacePath",
    "RestrictNamespaces",
    "LockPersonality",
    "RestrictRealtime",
    "SystemCallArchitectures",
)
NETWORK = PROPERTIES[:5]
SHOWN = (*PROPERTIES, "Slice", "TasksMax", "LoadState")
FIXED = (
    # Of the keeper, which is root. Its programs have none.
    ("CapabilityBoundingSet", "CAP_SETUID CAP_SETGID CAP_KILL CAP_SYS_RESOURCE"),
    ("KillMode", "control-group"),
    # The keeper survives the program that is too large, and tells of it.
    ("OOMPolicy", "continue"),
)
# Of the host's memory; swap is not limited. The rest is for what must not stop: systemd, sshd.
MEMORY_EIGHTHS = 7
LEAST_DATA_BYTES = 1024**3
# A build starts a thread or more for each processor, and each of its compilers.
LEAST_TASKS, MOST_TASKS = 1024, 4096
MOST_PROCESSES = 4096
CGROUPS = "/sys/fs/cgroup"


def box(seen: Mapping[str, str]) -> Restrictions:
    """For the app of the unit with these properties (`systemctl show`); none: defaults."""
    # A unit that does not exist has properties, too.
    known = seen if seen.get("LoadState") == "loaded" else {}
    tasks = known.get("TasksMax", "")
    allowed = int(tasks) if tasks.isdigit() else MOST_TASKS
    limits = [
        *FIXED,
        ("MemoryMax", str(_memory_bytes("MemTotal") // 8 * MEMORY_EIGHTHS)),
        ("TasksMax", str(min(max(allowed, LEAST_TASKS), MOST_TASKS))),
    ]
    limits += [("Slice", known["Slice"])] if known.get("Slice") else []
    limits += [pair for name in PROPERTIES for pair in values_of(name, known)]
    return Restrictions(limits, {}, 0o022, False)


def without_network(limits: Restrictions) -> Restrictions:
    """The same for an installer, which has to reach the package index."""
    left = [(name, value) for name, value in limits.properties if name not in NETWORK]
    return limits._replace(properties=left)


def memory_limit() -> dict[str, tuple[int, int]]:
    """For one process, where nothing limits what all of them use."""
    most = max(_memory_bytes("MemTotal", "SwapTotal"), LEAST_DATA_BYTES)
    return {"DATA": (most, most)}


def process_limit() -> dict[str, tuple[int, int]]:
    """For all processes of the user, the app's included, where no control group limits them."""
    return {"NPROC": (MOST_PROCESSES, MOST_PROCESSES)}


def join(pid: int) -> None:
    """Puts this process, while it is root's, into the control groups of another one."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, path in lines:
        name = controllers[len("name=") :] if controllers.startswith("name=") else controllers
        for root in (f"{CGROUPS}/{name}",) if name else (CGROUPS, f"{CGROUPS}/unified"):
            with suppress(OSError), open(f"{root}{path}/cgroup.procs", "w") as file:
                file.write("0")


def _memory_bytes(*names: str) -> int:
    """Of /proc/meminfo, where a container shows its own, if any."""
    found = {}
    with suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return sum(found.get(name, 0) for name in names) or pages
