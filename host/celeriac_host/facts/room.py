"""Free bytes and inodes of the file systems that the app of a unit writes to.

They are found by the mounts, not by the paths: a path of the app may lead to a file system that
does not answer. Those of networks and of FUSE are named, and not asked.
"""

from __future__ import annotations

import os
from typing import Any, Mapping

from celeriac_host.system import unit_context, unit_values, units
from celeriac_host.system.mounts import DISTANT, UNREAL, Mount, below, mount_of, mounted
from celeriac_host.system.system import System

# Of the system, and of brokers and databases on the same host.
USUAL = (
    *("/", "/tmp", "/var/tmp", "/var/log", "/var/lib/celeriac"),
    *("/var/lib/redis", "/var/lib/rabbitmq", "/var/lib/postgresql"),
)
# Property of a unit → where the folders that it names are.
OWN = {
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "RuntimeDirectory": "/run",
}
PROPERTIES = ("WorkingDirectory", "User", "ReadWritePaths", *OWN)
MOST = 50


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    seen = units.glance(host, args["unit"], PROPERTIES)
    mounts = mounted()
    folder = unit_context.working_directory(seen)
    paths = [*USUAL, *_named(seen), *args["paths"]]
    found = [mount_of(path, mounts) for path in paths]
    if folder is not None:
        found += [mount_of(folder, mounts), *below(folder, mounts)]
    chosen: dict[str, Mount] = {}
    for mount in found:
        if mount is not None and mount.writable and not UNREAL.fullmatch(mount.kind):
            chosen.setdefault(mount.device, mount)
    return [_room(each) for each in list(chosen.values())[:MOST]]


def _named(seen: Mapping[str, str]) -> list[str]:
    own = [f"{above}/{name}" for key, above in OWN.items() for name in seen.get(key, "").split()]
    writable = unit_values.split_words(seen.get("ReadWritePaths", ""))
    return own + [path.lstrip("-+") for path in writable]


def _room(mount: Mount) -> dict[str, Any]:
    about = {"mountPoint": mount.point, "type": mount.kind}
    if DISTANT.match(mount.kind):
        return {**about, "bytes": None, "inodes": None}
    try:
        room = os.statvfs(mount.point)
    except OSError:
        return {**about, "bytes": None, "inodes": None}
    used = (room.f_blocks - room.f_bfree) * room.f_frsize
    free = room.f_bavail * room.f_frsize
    # Some file systems make inodes as they need them, and report none.
    inodes = {"used": room.f_files - room.f_ffree, "free": room.f_favail}
    return {
        **about,
        "bytes": {"used": used, "free": free} if room.f_blocks else None,
        "inodes": inodes if room.f_files else None,
    }
