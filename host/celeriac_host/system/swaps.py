"""Swap areas: lists the active ones, enables and disables them, reads their headers."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
from typing import NamedTuple

from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SIGNATURE = b"SWAPSPACE2"
SWAPOFF_TIMEOUT_SECONDS = 900.0
# Their offsets in the first page, as mkswap writes it.
UUID_AT, LABEL_AT = 1036, 1052


class Active(NamedTuple):
    path: str
    size_bytes: int
    used_bytes: int
    priority: int


def all_active() -> list[Active]:
    """Reads /proc/swaps, which escapes white space in paths as octal."""
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [
        Active(unescaped(row[0]), int(row[2]) * 1024, int(row[3]) * 1024, int(row[4]))
        for row in rows
        if len(row) == 5
    ]


def active(path: str) -> Active | None:
    real = os.path.realpath(path)
    return next((each for each in all_active() if each.path in (path, real)), None)


def unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def turn_on(host: System, path: str, priority: int = -1) -> None:
    """Raises OperationError, with an explanation where the kernel forbids it."""
    # The kernel chooses negative priorities itself; swapon cannot request one.
    wanted = ["-p", str(priority)] if priority >= 0 else []
    done = host.run(["swapon", *wanted, "--", path], timeout=60, check=False)
    if done.code == 0:
        return
    lines = done.lines()
    said = lines[-1] if lines else f"exit code {done.code}"
    if "not permitted" in said:
        virt = host.run(["systemd-detect-virt", "-c"], check=False).out.strip()
        kind = f"a {virt} container" if virt not in ("", "none") else "a container"
        problem = (
            f"the kernel does not allow swapon inside {kind} ({said}); enable swap on the "
            "outer host, or do not configure it here"
        )
    else:
        problem = f"could not enable swap on {path}: {said}"
    raise OperationError(problem, ran=done.argv, exit_code=done.code, evidence=lines)


def turn_off(host: System, path: str) -> None:
    """Refuses if the swapped-out pages do not fit into memory. Raises OperationError."""
    now = active(path)
    if now is None:
        return
    room = memory_available()
    if now.used_bytes > room:
        raise OperationError(
            f"cannot disable swap on {path}: it holds {mebibytes(now.used_bytes)} MiB, but only "
            f"{mebibytes(room)} MiB of memory are available; the kernel would kill processes"
        )

    def tell() -> None:
        left = active(path)
        if left is not None:
            host.note(f"disabling swap on {path}: {mebibytes(left.used_bytes)} MiB left")

    host.run(["swapoff", "--", path], timeout=SWAPOFF_TIMEOUT_SECONDS, tick=Tick(5, tell))


def memory_available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", file.read(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def mount_of(place: str) -> tuple[str, str]:
    """Mount point and file system type. The last mount on a mount point hides earlier ones."""
    found = ("/", "unknown")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            point = unescaped(left.split()[4])
            inside = place == point or place.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(found[0]):
                found = (point, right.split()[0])
    return found


class Header(NamedTuple):
    """The fields that mkswap wrote into the first page."""

    uuid: str
    label: str


def header(path: str) -> Header | None:
    """The header, or None if the file is not formatted as swap."""
    with files.regular(path, os.O_RDONLY | os.O_NOFOLLOW) as file:
        page = file.read(PAGE_BYTES)
    if not page.endswith(SIGNATURE) or len(page) != PAGE_BYTES:
        return None
    digits = page[UUID_AT : UUID_AT + 16].hex()
    uuid = "-".join(re.findall(r"(.{8})(.{4})(.{4})(.{4})(.{12})", digits)[0])
    label = page[LABEL_AT : LABEL_AT + 16].split(b"\0")[0].decode("utf-8", "replace")
    return Header(uuid, label)


# ioctl_iflags(2): FS_IOC_GETFLAGS is _IOR('f', 1, long).
GET_FLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1
NOCOW_FLAG = 0x00800000


def nocow(path: str) -> bool | None:
    """Whether copy-on-write is off for the file (`chattr +C`); None: it has no such flags."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        flags = fcntl.ioctl(handle, GET_FLAGS, bytes(struct.calcsize("l")))
    except OSError:
        return None
    finally:
        os.close(handle)
    return bool(int.from_bytes(flags[:4], sys.byteorder) & NOCOW_FLAG)


def mebibytes(size_bytes: int) -> int:
    """Whole MiB, the only unit in messages of the agent; the runner formats all other sizes."""
    return size_bytes // (1024 * 1024)
