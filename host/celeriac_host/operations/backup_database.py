"""Backs up a job database (online backup) and keeps the last few backups.

Touches: /var/lib/celeriac/backups; the database is only read.
Undo: nothing to undo: the backup stays.
"""

from __future__ import annotations

import os
from typing import Any, Iterable

from celeriac_host.state.journal import StepJournal
from celeriac_host.store import backups, copies
from celeriac_host.store.stores import open_store
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path = args["database"]
    folder = backups.folder_of(host.state)
    store = open_store(path, host, args["unit"], args.get("user"))
    with store.copied(None, None) as copy:
        size = copy.size_bytes
        free = files.free_bytes(folder)
        if free < size + copies.MARGIN_BYTES:
            raise OperationError(
                f"no room for a backup of {path}: it needs {size + copies.MARGIN_BYTES} bytes, but "
                f"only {free} are free in {folder}"
            )
        target = backups.free_name(folder, path, args.get("mark", ""))
        journal.keep("backup", target)
        _write(copy.pieces, target)
    removed = prune(host, path, args["keep"], spare=(target,))
    more = f"; removed {removed} older" if removed else ""
    return f"{path} copied to {target}{more}", {"path": target, "sizeBytes": size}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    """Keeps a complete backup, which may be needed now; removes an incomplete one."""
    target = journal.get("backup")
    half = None if target is None else target + ".part"
    if half is not None and os.path.lexists(half):
        os.unlink(half)
        return f"{half} removed"
    return None


def _write(pieces: Iterable[bytes], target: str) -> None:
    half = target + ".part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(half, flags, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.rename(half, target)
    except BaseException:
        if os.path.lexists(half):
            os.unlink(half)
        raise
    files.sync_folder(os.path.dirname(target))


def prune(host: System, path: str, keep: int, spare: tuple[str, ...]) -> int:
    """Removes the oldest until `keep` are left; returns how many it removed."""
    ours = backups.listed(host.state, path)
    old = [name for name in ours if name not in spare][: max(len(ours) - max(keep, 1), 0)]
    for name in old:
        os.unlink(name)
    return len(old)
