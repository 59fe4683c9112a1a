"""A backup put back in place of what a SQLite database holds now, which is backed up first.

Touches: the database, through SQLite itself, so that the app may have it open;
/var/lib/celeriac/backups.
Undo: what it held before comes back the same way.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from typing import Any

from celeriac_host.operations import backup_database
from celeriac_host.state.journal import StepJournal
from celeriac_host.store import sqlite
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

UNDO_BUSY_SECONDS = 30.0


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path = args["database"]
    backup = _find(args["backup"], path, host)
    # None is pruned: the one that is restored may be the oldest.
    keep = len(backup_database.listed(host, path)) + 1
    _, now = backup_database.do({"database": path, "keep": keep}, host, journal)
    journal.keep("restoring", backup)
    _restore(backup, path, host, args["busyTimeoutSeconds"])
    backup_database.prune(host, path, args["keep"], spare=(backup, now["path"]))
    size = os.lstat(backup).st_size
    done = f"{path} holds again what {backup} does; what it held is in {now['path']}"
    return done, {"from": backup, "path": path, "sizeBytes": size, "before": now["path"]}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    if journal.get("restoring") is None:
        return backup_database.undo(args, host, journal)
    before = journal.get("backup")
    _restore(before, args["database"], host, UNDO_BUSY_SECONDS)
    return f"{args['database']} holds again what it did before, from {before}"


def _find(wanted: str, path: str, host: System) -> str:
    """Path of the backup. Raises OperationError unless it is one of this database."""
    ours = backup_database.listed(host, path)
    if wanted == "latest":
        if not ours:
            raise OperationError(f"there is no backup of {path} in {host.state}/backups")
        return ours[-1]
    if wanted not in ours:
        known = ", ".join(ours[-5:]) or "none"
        raise OperationError(f"{wanted} is no backup of {path}; there are: {known}")
    return wanted


def _restore(backup: str, path: str, host: System, busy_seconds: float) -> None:
    """As the owner of the database, who may not read our backups: so from a copy."""
    about = sqlite.find(path)
    size = os.lstat(backup).st_size
    with sqlite.folder_for_copy(size) as folder:
        copy = os.path.join(folder, "copy.db")
        shutil.copyfile(backup, copy)
        if os.geteuid() == 0:
            for each in (copy, folder):
                os.chown(each, about.st_uid, about.st_gid)
        sqlite.ask(path, host, lambda: _copy_over(copy, path, busy_seconds))


def _copy_over(copy: str, path: str, busy_seconds: float) -> None:
    deadline = time.monotonic() + busy_seconds

    def refuse_waiting(status: int, remaining: int, total: int) -> None:
        # Connection.backup tries again for ever while somebody holds the database.
        busy = status in (sqlite.SQLITE_BUSY, sqlite.SQLITE_LOCKED)
        if busy and time.monotonic() > deadline:
            raise sqlite.Locked(f"waited {busy_seconds:g} s")

    with sqlite.opened(copy, "mode=ro", busy_seconds) as source:
        said = source.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if said != "ok":
            raise OperationError(f"the backup is damaged: {said}; nothing was changed")
        with sqlite.opened(path, "mode=rw", busy_seconds) as target:
            try:
                source.backup(target, progress=refuse_waiting)
            except sqlite3.OperationalError as error:
                if sqlite.is_busy(error):
                    raise sqlite.Locked(f"waited {busy_seconds:g} s") from None
                raise
