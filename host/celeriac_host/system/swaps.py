"""Swap areas: which the kernel uses, turning one on and off, what a file of one is."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System, Tick

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SIGNATURE = b"SWAPSPACE2"
SWAPOFF_TIMEOUT_SECONDS = 900.0
# Where mkswap puts them in the first page.
UUID_AT, LABEL_AT = 1036, 1052


class Active(NamedTuple):
    path: str
    size_bytes: int
    used_bytes: int
    priority: int


def all_active() -> list[Active]:
    """/proc/swaps; it escapes white space in paths as octal."""
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
    """Raises OperationError, with the reason in words where the kernel forbids it."""
    # A negative priority is the kernel's own choice; it can't be asked for.
    wanted = ["-p", str(priority)] if priority >= 0 else []
    done = host.run(["swapon", *wanted, "--", path], timeout=60, check=False)
    if done.code == 0:
        return
    lines = done.lines()
    message = lines[-1] if lines else f"exit code {done.code}"
    if "not permitted" in message:
        virt = host.run(["systemd-detect-virt", "-c"], check=False).out.strip()
        kind = f"a {virt} container" if virt not in ("", "none") else "a container"
        message = (
            f"the kernel does not let swap be turned on ({message}): inside {kind} only the "
            "outer host can; set swap there, or leave it out here"
        )
    else:
        message = f"{path} could not be turned on as swap: {message}"
    raise OperationError(message, ran=done.argv, exit_code=done.code, evidence=lines)


def turn_off(host: System, path: str) -> None:
    """Refuses when memory could not take back what is swapped out. Raises OperationError."""
    now = active(path)
    if now is None:
        return
    room = memory_available()
    if now.used_bytes > room:
        raise OperationError(
            f"{path} holds {mebibytes(now.used_bytes)} MiB and only {mebibytes(room)} MiB of "
            "memory are available: turning it off would make the kernel kill processes"
        )

    def tell() -> None:
        left = active(path)
        if left is not None:
            host.note(f"turning {path} off: {mebibytes(left.used_bytes)} MiB left in it")

    host.run(["swapoff", "--", path], timeout=SWAPOFF_TIMEOUT_SECONDS, tick=Tick(5, tell))


def memory_available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", file.read(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def mount_of(place: str) -> tuple[str, str]:
    """Mount point and file system type. The last of several mounts on one point hides the rest."""
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
    """What mkswap wrote into the first page."""

    uuid: str
    label: str


def header(path: str) -> Header | None:
    """None when the file is not formatted as swap."""
    with open(path, "rb") as file:
        page = file.read(PAGE_BYTES)
    if not page.endswith(SIGNATURE) or len(page) != PAGE_BYTES:
        return None
    digits = page[UUID_AT : UUID_AT + 16].hex()
    uuid = "-".join(re.findall(r"(.{8})(.{4})(.{4})(.{4})(.{12})", digits)[0])
    label = page[LABEL_AT : LABEL_AT + 16].split(b"\0")[0].decode("utf-8", "replace")
    return Header(uuid, label)


def mebibytes(size_bytes: int) -> int:
    """Whole MiB, the one unit of messages here: sizes for people are written by the runner."""
    return size_bytes // (1024 * 1024)
