"""The Python sources of an app, and which of them the running worker was started with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections import deque
from contextlib import suppress
from typing import Iterator

from celeriac_host.system import files
from celeriac_host.system.system import System
from celeriac_host.system.units import show

FILE_LIMIT = 20_000
# Larger ones, which no person writes, are told apart by their size.
SOURCE_LIMIT_BYTES = 4 * 1024 * 1024
SKIPPED = ("node_modules", "__pycache__", "site-packages")
# In the state folder: unit → what its worker was started with.
FOLDER = "running"


def working_directory(host: System, unit: str) -> str:
    """The directory of a unit's processes; empty if none is set."""
    seen = show(host, unit, ["WorkingDirectory", "User"])
    path = seen.get("WorkingDirectory", "").lstrip("!")
    if path == "~":
        return os.path.expanduser("~" + seen.get("User", ""))
    return path


def walk(directory: str, host: System) -> Iterator[str]:
    """Breadth first, so that a limit omits the deepest folders; in the same order each time."""
    folders = deque([os.path.realpath(directory)])
    while folders:
        host.heed()
        found, below = _entries(folders.popleft())
        folders.extend(below)
        yield from found


def is_skipped(folder: str) -> bool:
    """Whether it is a hidden folder (.git, .venv, .tox) or one of third-party code."""
    return folder.startswith(".") or folder in SKIPPED


def remember(host: System, unit: str) -> None:
    """Called when the unit has been started: this is the code that it runs.

    Best effort: without this record, the times of the files decide.
    """
    with suppress(OSError):
        seen = show(host, unit, ["InvocationID"])
        record = {
            "invocation": seen.get("InvocationID", ""),
            "at": time.time(),
            "sources": fingerprint(working_directory(host, unit), host),
        }
        path = _path(host.state, unit)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        files.write(path, json.dumps(record).encode("ascii"), 0o600, os.geteuid(), os.getegid())


def started_with_these(host: System, unit: str, directory: str) -> bool | None:
    """Whether the worker that runs was started with the sources as they are; None if unknown."""
    try:
        with open(_path(host.state, unit), encoding="ascii") as file:
            record = json.load(file)
        known, sources = record["invocation"], record["sources"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not known or known != show(host, unit, ["InvocationID"]).get("InvocationID"):
        return None
    return bool(sources == fingerprint(directory, host))


def fingerprint(directory: str, host: System) -> str:
    """Of the names and contents of all sources; no clock has a part in it."""
    digest = hashlib.sha256()
    for number, path in enumerate(walk(directory, host) if directory else ()):
        if number >= FILE_LIMIT:
            break
        if path.endswith(".py"):
            digest.update(f"{path}\0{_content(path)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _content(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return str(error.strerror)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            return ""
        # The app's user owns these files: none of them may fill our memory, or keep us busy.
        if about.st_size > SOURCE_LIMIT_BYTES:
            return f"{about.st_size} bytes"
        return files.sha256(file.read(SOURCE_LIMIT_BYTES))


def _path(state: str, unit: str) -> str:
    return os.path.join(state, FOLDER, re.sub(r"[^A-Za-z0-9@._-]", "_", unit) + ".json")


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """The files of a folder, and its folders that may contain the app's own code."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return [], []
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return [], []
    folders = [
        entry.path
        for entry in entries
        if entry.is_dir(follow_symlinks=False) and not is_skipped(entry.name)
    ]
    return [entry.path for entry in entries if entry.is_file()], folders
