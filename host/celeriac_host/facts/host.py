"""The host: operating system, kernel, memory, clock."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Any

from celeriac_host.system import bus
from celeriac_host.system.system import System
from celeriac_host.system.unit_values import split_words

OS_RELEASES = ("/etc/os-release", "/usr/lib/os-release")
# As systemd calls what shares its kernel with others (src/basic/virt.c), and what does not.
CONTAINERS = (
    *("systemd-nspawn", "lxc", "lxc-libvirt", "docker", "podman", "openvz", "rkt", "wsl", "proot"),
    *("pouch", "container-other"),
)
MACHINES = (
    *("kvm", "amazon", "qemu", "bochs", "xen", "uml", "vmware", "oracle", "microsoft", "zvm"),
    *("parallels", "bhyve", "qnx", "acrn", "powervm", "apple", "sre", "google", "vm-other"),
)


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    release = _os_release()
    machine = os.uname()
    version, virtual = _told(host)
    return {
        "os": {
            "id": release.get("ID", ""),
            "versionId": release.get("VERSION_ID", ""),
            "name": release.get("PRETTY_NAME", release.get("NAME", "")),
        },
        "kernel": machine.release,
        "systemd": _systemd_version(host) if version is None else version,
        "container": (
            _container(host) if virtual is None else (virtual if virtual in CONTAINERS else None)
        ),
        "cgroupVersion": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "cpus": os.cpu_count() or 1,
        "memory": memory(),
        "now": time.time(),
        "bootId": _read("/proc/sys/kernel/random/boot_id").strip(),
        "uptime": float(_read("/proc/uptime").split()[0]),
        # Of systemd's timestamps, which stand still while the machine sleeps.
        "monotonic": time.clock_gettime(time.CLOCK_MONOTONIC),
        "hostname": machine.nodename,
        "python": sys.version.split()[0],
    }


def memory() -> dict[str, int]:
    """/proc/meminfo, in bytes."""
    found = re.findall(r"^(\w+):\s+(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    size = {name: int(kib) * 1024 for name, kib in found}
    return {
        "totalBytes": size["MemTotal"],
        "availableBytes": size.get("MemAvailable", size["MemFree"]),
        "swapTotalBytes": size.get("SwapTotal", 0),
        "swapFreeBytes": size.get("SwapFree", 0),
    }


def _os_release() -> dict[str, str]:
    """os-release(5): shell assignments."""
    for path in OS_RELEASES:
        try:
            text = _read(path)
        except OSError:
            continue
        lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
        return {
            name.strip(): " ".join(split_words(value.replace("'", '"')))
            for name, equals, value in lines
            if equals
        }
    return {}


def _told(host: System) -> tuple[int | None, str | None]:
    """By systemd itself: its version, and in what it runs; each None if unknown."""
    names = ("Version", "Virtualization")
    calls = [bus.property_of(bus.MANAGER, "Manager", name) for name in names]
    said = [str(values[0]) if values else "" for values in host.systemd(calls) or ([], [])]
    version = re.search(r"[0-9]+", said[0])
    # Without a version, an empty answer says nothing either.
    known = version is not None and said[1] in ("", *CONTAINERS, *MACHINES)
    return int(version.group()) if version else None, said[1] if known else None


def _systemd_version(host: System) -> int:
    """The version; 0 without systemctl."""
    done = host.run(["systemctl", "--version"], timeout=15, check=False)
    match = re.match(r"systemd (\d+)", done.out)
    return int(match.group(1)) if match else 0


def _container(host: System) -> str | None:
    done = host.run(["systemd-detect-virt", "-c"], timeout=15, check=False)
    kind = done.out.strip()
    return None if done.code != 0 or kind in ("", "none") else kind


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
