"""systemd units: their properties, what systemctl does to them, and their processes."""

from __future__ import annotations

import os
import re
import signal
from typing import Sequence

from celeriac_host.system import processes
from celeriac_host.system.system import Completed, System

PROPERTY = re.compile(r"([A-Z][A-Za-z0-9]*)=(.*)", re.DOTALL)
CGROUP_ROOT = "/sys/fs/cgroup"


def show(host: System, unit: str, properties: Sequence[str] | None = None) -> dict[str, str]:
    """`systemctl show`: property → value as printed; repeated properties are joined by newlines."""
    wanted = ["-p", ",".join(properties)] if properties else []
    return _shown(host, unit, ["--no-pager", *wanted])


def show_all(host: System, unit: str) -> dict[str, str]:
    """Every property, even empty ones; a missing unit has a LoadState. Once in each look."""
    if host.moment is None:
        return _shown(host, unit, ["--all", "--no-pager"])
    known = host.moment.units
    if unit not in known:
        known[unit] = _shown(host, unit, ["--all", "--no-pager"])
    return dict(known[unit])


def glance(host: System, unit: str, properties: Sequence[str]) -> dict[str, str]:
    """As `show`; in a look, as all its facts see the unit: of one moment, asked once."""
    if host.moment is None:
        return show(host, unit, properties)
    whole = show_all(host, unit)
    return {name: whole[name] for name in properties if name in whole}


def _shown(host: System, unit: str, words: Sequence[str]) -> dict[str, str]:
    done = host.run(["systemctl", "show", *words, "--", unit], timeout=30)
    found: dict[str, str] = {}
    last = ""
    for line in done.out.splitlines():
        match = PROPERTY.fullmatch(line)
        if match is None:
            # The value contains a line break: this line continues it.
            if last:
                found[last] += "\n" + line
            continue
        last, value = match.group(1), match.group(2)
        found[last] = f"{found[last]}\n{value}" if last in found else value
    return found


def control(
    host: System, verb: str, *words: str, timeout: float = 90.0, shielded: bool = False
) -> Completed:
    """`systemctl VERB …`; if shielded, it also finishes without the runner."""
    argv = ["systemctl", "--no-pager", "--no-ask-password", verb, *words]
    if not shielded:
        return host.run(argv, timeout=timeout)
    with host.shielded():
        return host.run(argv, timeout=timeout)


def reload(host: System) -> None:
    """Makes systemd reread all unit files. Never interrupted."""
    control(host, "daemon-reload", shielded=True)


UP = ("running", "degraded", "starting", "initializing", "maintenance")


def going_down(host: System) -> bool:
    """Whether the host is shutting down; systemd may not even answer then."""
    with host.shielded():
        for _ in range(3):
            done = host.run(["systemctl", "is-system-running"], timeout=30, check=False)
            # A signal to our control group may also have ended this command: it reported nothing.
            if done.code != -signal.SIGTERM:
                break
    return done.out.strip() not in UP


def number(value: str | None) -> int:
    """The number; 0 for an empty, missing or non-numeric property (`[not set]`)."""
    return int(value) if value and value.isdigit() else 0


def running(main_pid: int) -> str:
    """`main 812, 5 children`."""
    if not main_pid:
        return "no main process"
    count = len(processes.pool_children(main_pid))
    return f"main {main_pid}, {count} {'child' if count == 1 else 'children'}"


def cgroup_folder(group: str) -> str | None:
    """The folder of a ControlGroup, for either cgroup version; None if it does not exist."""
    if not group:
        return None
    for root in (CGROUP_ROOT, CGROUP_ROOT + "/unified", CGROUP_ROOT + "/systemd"):
        if os.path.exists(f"{root}{group}/cgroup.procs"):
            return root + group
    return None


def memory_folder_v1(folder: str) -> str | None:
    """Where cgroup v1 counts the memory of a unit; None with cgroup v2. `folder`: cgroup_folder."""
    for root in (CGROUP_ROOT + "/unified", CGROUP_ROOT + "/systemd"):
        if folder.startswith(root + "/"):
            return CGROUP_ROOT + "/memory" + folder[len(root) :]
    return None


def cgroup_processes(group: str) -> list[processes.Process]:
    """Every running process in a control group and its subgroups."""
    folder = cgroup_folder(group)
    found: list[processes.Process] = []
    for path, _, _ in os.walk(folder) if folder else ():
        try:
            with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
                pids = [int(line) for line in file]
        except OSError:
            continue
        read = (processes.read(pid) for pid in pids)
        found.extend(process for process in read if process and process.state not in "ZX")
    return found


def exposure(host: System, unit: str) -> float | None:
    """The exposure by `systemd-analyze security`: 0 (safe) to 10; None if unknown."""
    argv = ["systemd-analyze", "security", "--no-pager", "--", unit]
    done = host.run(argv, timeout=60, check=False)
    match = re.search(r"exposure level for .*?: ([0-9.]+)", done.out)
    return float(match.group(1)) if match else None


def version(host: System) -> int:
    """The version of the systemd that runs; 0 if it does not say."""
    said = host.run(["systemctl", "show", "-p", "Version"], timeout=30, check=False).out
    match = re.search(r"[0-9]+", said)
    return int(match.group()) if match else 0
