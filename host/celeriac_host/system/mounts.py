"""What is mounted where, by the kernel: nothing there is asked, which may never answer."""

from __future__ import annotations

import os
import re
from typing import Mapping, NamedTuple

from celeriac_host.system.swaps import unescaped

# They may wait for another machine or program.
DISTANT = re.compile(
    r"nfs|cifs|smb|9p|afs|ceph|gluster|lustre|ocfs|gfs|beegfs|fuse|autofs|virtiofs|davfs|vboxsf"
)
# Of the kernel.
UNREAL = re.compile(
    r"proc|sysfs|cgroup2?|devpts|devtmpfs|mqueue|tracefs|debugfs|securityfs|pstore|bpf|configfs"
    r"|hugetlbfs|fusectl|binfmt_misc|efivarfs|rpc_pipefs|nsfs|ramfs"
)


class Mount(NamedTuple):
    point: str
    kind: str
    device: str
    writable: bool


def mounted() -> dict[str, Mount]:
    """As this process sees them."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return all_mounts(file.read())


def all_mounts(text: str) -> dict[str, Mount]:
    """proc(5), mountinfo: by mount point; of several there, the last one is seen."""
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, about = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(about) < 3:
            continue
        options = {*fields[5].split(","), *about[2].split(",")}
        point = unescaped(fields[4])
        found[point] = Mount(point, about[0], fields[2], "ro" not in options)
    return found


def mount_of(path: str, mounts: Mapping[str, Mount]) -> Mount | None:
    """By its name alone."""
    place = os.path.normpath(path)
    while place not in mounts and place not in ("/", ""):
        place = os.path.dirname(place)
    return mounts.get(place)


def below(folder: str, mounts: Mapping[str, Mount]) -> list[Mount]:
    return [mount for point, mount in sorted(mounts.items()) if point.startswith(folder + "/")]
