"""Removes what killed processes of Celeriac left on the host, wherever they wrote.

Ours is what has a name that only Celeriac gives (the temporary file of a path that it writes) and
belongs to root. The paths are those in its own folders, of the transactions on record, and of the
units of the guard and the sampler. The caller holds the host's lock: so nobody else writes, and
whatever process has the number of a writer now is not that writer.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import Any, Callable, Iterator

from celeriac_host.state import guard_timer, sampler_timer, sampling
from celeriac_host.state.journal import (
    BACKUPS,
    named,
    never_started,
    read_plan,
    transactions_folder,
)
from celeriac_host.system import files, limits

# In a folder of ours, of any file.
TEMPORARY = re.compile(r"\..+" + re.escape(files.BESIDE) + r"[1-9][0-9]*")
BACKUP = re.compile(r".+-\d{8}T\d{6}Z(-\d+)?\.db\.part")
# Stored by agents without the lock: there, the writer must be dead.
UPLOAD = re.compile(r"[0-9a-f]{64}\.([1-9][0-9]*)\.part")
RUN = "/run"
CHECKS = re.compile(r"celeriac-[0-9a-f]{8}")


def find(state: str) -> list[str]:
    """Their paths; without the lock, some may be in use."""
    return sorted({*_temporary(state), *_never_started(state), *_checks()})


def sweep(state: str) -> list[str]:
    """Removes them; returns the paths of those that are gone. The caller holds the lock."""
    gone = []
    for path in find(state):
        with suppress(OSError):
            if os.path.isdir(path):
                files.remove_tree(path)
            else:
                os.unlink(path)
        if not os.path.lexists(path):
            gone.append(path)
    return gone


def _temporary(state: str) -> Iterator[str]:
    for folder in _own_folders(state):
        yield from _matching(folder, TEMPORARY)
    yield from _matching(os.path.join(state, "backups"), BACKUP)
    incoming = os.path.join(state, "incoming")
    for path in _matching(incoming, UPLOAD):
        match = UPLOAD.fullmatch(os.path.basename(path))
        if match and not os.path.isdir(f"/proc/{match.group(1)}"):
            yield path
    for path in _written_paths(state):
        yield from filter(_is_ours, files.temporary(path))
    for path in _built_paths(state):
        if _is_ours(path + files.UNFINISHED):
            yield path + files.UNFINISHED


def _own_folders(state: str) -> Iterator[str]:
    names = ("", "awaiting", "dependencies", "backups", "incoming", "running", sampling.FOLDER)
    for name in names:
        yield os.path.join(state, name)
    for ident in named(state):
        folder = os.path.join(transactions_folder(state), ident)
        yield from (folder, os.path.join(folder, BACKUPS))


def _written_paths(state: str) -> set[str]:
    """What transactions write outside, and the units of the guard and the sampler."""
    found = {*guard_timer.unit_paths(), *sampler_timer.unit_paths()}
    for operation in _operations(state):
        if _is_path(operation.get("path")):
            found.add(operation["path"])
        if operation.get("op") == "install-unit":
            found.add(limits.path_of(operation["unit"]))
    return found


def _built_paths(state: str) -> set[str]:
    return {
        operation["path"]
        for operation in _operations(state)
        if operation.get("op") == "make-swap" and _is_path(operation.get("path"))
    }


def _operations(state: str) -> Iterator[dict[str, Any]]:
    for ident in named(state):
        plan = read_plan(os.path.join(transactions_folder(state), ident)) or {}
        yield from (each for each in plan.get("operations", []) if isinstance(each, dict))


def _never_started(state: str) -> list[str]:
    return [os.path.join(transactions_folder(state), name) for name in never_started(state)]


def _checks() -> Iterator[str]:
    """Folders in which unit files were checked before their installation."""
    for name in _names(RUN):
        path = os.path.join(RUN, name)
        if CHECKS.fullmatch(name) and _is_ours(path, stat.S_ISDIR):
            yield path


def _matching(folder: str, pattern: re.Pattern[str]) -> Iterator[str]:
    for name in _names(folder):
        if pattern.fullmatch(name) and _is_ours(os.path.join(folder, name)):
            yield os.path.join(folder, name)


def _is_ours(path: str, is_kind: Callable[[int], bool] = stat.S_ISREG) -> bool:
    try:
        about = os.lstat(path)
    except OSError:
        return False
    return is_kind(about.st_mode) and about.st_uid == os.geteuid()


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/")


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
