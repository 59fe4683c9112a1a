"""The newest Python source of the app, to compare with the start of the worker."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from celeriac_host.facts.unit import full_name
from celeriac_host.system.system import System
from celeriac_host.system.units import show

FILE_LIMIT = 20_000
SKIPPED = ("node_modules", "__pycache__", "site-packages")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    directory = working_directory(host, args["unit"])
    if not directory:
        return {"newest": None, "truncated": False}
    return newest_source(directory, host)


def working_directory(host: System, unit: str) -> str:
    """The directory of a unit's processes; empty if none is set."""
    seen = show(host, full_name(unit), ["WorkingDirectory", "User"])
    path = seen.get("WorkingDirectory", "").lstrip("!")
    if path == "~":
        return os.path.expanduser("~" + seen.get("User", ""))
    return path


def newest_source(directory: str, host: System) -> dict[str, Any]:
    """Searches breadth first, so that the limit omits the deepest folders."""
    folders = deque([os.path.realpath(directory)])
    newest: dict[str, Any] | None = None
    seen = 0
    while folders:
        host.heed()
        files, below = _entries(folders.popleft())
        folders.extend(below)
        for path in files:
            seen += 1
            if seen > FILE_LIMIT:
                return {"newest": newest, "truncated": True}
            if not path.endswith(".py"):
                continue
            try:
                modified = os.stat(path).st_mtime
            except OSError:
                continue
            if newest is None or modified > newest["modified"]:
                newest = {"path": path, "modified": modified}
    return {"newest": newest, "truncated": False}


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """The files of a folder, and its folders that may contain the app's own code."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
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


def is_skipped(folder: str) -> bool:
    """Whether it is a hidden folder (.git, .venv, .tox) or one of third-party code."""
    return folder.startswith(".") or folder in SKIPPED
