"""Swap: the file, the active areas, fstab, and the free disk space."""

from __future__ import annotations

import os
import stat
from typing import Any

from celeriac_host.facts.files import file_fact, octal_mode, what
from celeriac_host.system import files, swaps
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import user_name
from celeriac_host.system.system import System

MEBIBYTE = 1024 * 1024
ENABLED = "/etc/systemd/system/swap.target.wants"


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    path = args["path"]
    return {
        "file": swap_file(path),
        "active": active(),
        "fstab": file_fact("/etc/fstab"),
        "enabledUnits": files.names(ENABLED),
        "filesystem": filesystem(path),
    }


def swap_file(path: str) -> dict[str, Any]:
    try:
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            return {"kind": "symlink", "target": os.readlink(path)}
        if not stat.S_ISREG(about.st_mode):
            return {"kind": "other", "what": what(about.st_mode)}
        formatted = is_formatted(path)
        blank = not formatted and is_blank(path, about.st_size)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    except OSError as error:
        raise OperationError(f"cannot read {path}: {error.strerror}") from None
    return {
        "kind": "file",
        "sizeBytes": about.st_size,
        "allocatedBytes": about.st_blocks * 512,
        "mode": octal_mode(about.st_mode),
        "owner": user_name(about.st_uid),
        "formatted": formatted,
        "blank": blank,
        "nocow": swaps.nocow(path),
    }


def is_formatted(path: str) -> bool:
    """The kernel looks for the signature in the last ten bytes of the first page."""
    with files.regular(path, os.O_RDONLY | os.O_NOFOLLOW) as file:
        file.seek(swaps.PAGE_BYTES - len(swaps.SIGNATURE))
        return file.read(len(swaps.SIGNATURE)) == swaps.SIGNATURE


def is_blank(path: str, size: int) -> bool:
    """Whether both ends are zeros: a swap file that mkswap has not formatted yet."""
    with files.regular(path, os.O_RDONLY | os.O_NOFOLLOW) as file:
        for at in (0, max(size - MEBIBYTE, 0)):
            file.seek(at)
            piece = file.read(MEBIBYTE)
            if piece.count(0) != len(piece):
                return False
    return True


def active() -> list[dict[str, Any]]:
    """/proc/swaps; its sizes are in KiB, its paths escaped."""
    try:
        with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split() for line in file][1:]
    except FileNotFoundError:
        return []
    return [
        {
            "path": swaps.unescaped(row[0]),
            "type": row[1],
            "sizeBytes": int(row[2]) * 1024,
            "usedBytes": int(row[3]) * 1024,
            "priority": int(row[4]),
        }
        for row in rows
        if len(row) == 5
    ]


def filesystem(path: str) -> dict[str, Any]:
    """The file system of the path, or of its nearest existing parent."""
    place = os.path.realpath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    room = os.statvfs(place)
    point, kind = swaps.mount_of(place)
    return {
        "type": kind,
        "mountPoint": point,
        "sizeBytes": room.f_blocks * room.f_frsize,
        "freeBytes": room.f_bavail * room.f_frsize,
    }
