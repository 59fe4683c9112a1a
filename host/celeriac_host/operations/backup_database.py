"""Backs up a job database (online backup) and keeps the last few backups.

Touches: /var/lib/celeriac/backups; the database is only read.
Undo: nothing to undo: the backup stays.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.store import copies
from celeriac_host.store.stores import open_store
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

# In the name of a backup that a restore makes of the content that it replaces.
BEFORE_RESTORE = "-before-restore"


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path = args["database"]
    folder = os.path.join(host.state, "backups")
    with open_store(path, host).copied(None, None) as copy:
        size = os.lstat(copy.path).st_size
        free = copies.free_bytes(folder)
        if free < size + copies.MARGIN_BYTES:
            raise OperationError(
                f"no room for a backup of {path}: it needs {size + copies.MARGIN_BYTES} bytes, but "
                f"only {free} are free in {folder}"
            )
        target = _free_name(folder, path, args.get("mark", ""))
        journal.keep("backup", target)
        _write(copy.path, target)
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


def _stem(path: str) -> str:
    """The file's name and a hash of its path: two apps may use the same file name."""
    name = os.path.basename(path)
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", os.path.splitext(name)[0])[:80]
    return f"{plain}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"


def chosen(host: System, path: str, wanted: str) -> str | None:
    """Path of the wanted backup; None if there is no such backup of this database.

    `latest` is not what a restore saved: it would bring back what was just replaced.
    """
    ours = listed(host, path)
    if wanted != "latest":
        return wanted if wanted in ours else None
    usual = [each for each in ours if not each.endswith(f"{BEFORE_RESTORE}.db")]
    return usual[-1] if usual else None


def _free_name(folder: str, path: str, mark: str) -> str:
    stem = os.path.join(folder, f"{_stem(path)}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    candidates = [f"{stem}{mark}.db", *(f"{stem}-{n}{mark}.db" for n in range(2, 100))]
    return next(name for name in candidates if not os.path.lexists(name))


def _write(copy: str, target: str) -> None:
    half = target + ".part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(copies.open_copy(copy), "rb") as source, os.fdopen(
            os.open(half, flags, 0o600), "wb"
        ) as file:
            shutil.copyfileobj(source, file, 1024 * 1024)
            file.flush()
            os.fsync(file.fileno())
        os.rename(half, target)
    except BaseException:
        if os.path.lexists(half):
            os.unlink(half)
        raise
    files.sync_folder(os.path.dirname(target))


def listed(host: System, path: str) -> list[str]:
    """Backups of this database, oldest first."""
    folder = os.path.join(host.state, "backups")
    pattern = re.compile(
        re.escape(_stem(path)) + rf"-\d{{8}}T\d{{6}}Z(-\d+)?({BEFORE_RESTORE})?\.db"
    )
    ours = [os.path.join(folder, name) for name in os.listdir(folder) if pattern.fullmatch(name)]
    return sorted(ours, key=lambda each: (os.lstat(each).st_mtime_ns, each))


def prune(host: System, path: str, keep: int, spare: tuple[str, ...]) -> int:
    """Removes the oldest until `keep` are left; returns how many it removed."""
    ours = listed(host, path)
    old = [name for name in ours if name not in spare][: max(len(ours) - max(keep, 1), 0)]
    for name in old:
        os.unlink(name)
    return len(old)
