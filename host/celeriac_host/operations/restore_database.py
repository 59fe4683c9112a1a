"""Restores a backup of a SQLite database, after a backup of its current content.

Touches: the database, through SQLite itself, so that the app may have it open;
/var/lib/celeriac/backups.
Undo: restores the earlier content the same way.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.operations import backup_database
from celeriac_host.state.journal import StepJournal
from celeriac_host.store import backups
from celeriac_host.store.store import Store
from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

UNDO_BUSY_SECONDS = 30.0


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path = args["database"]
    backup = _find(args["backup"], path, host)
    # Prune none: the one to restore may be the oldest.
    keep = len(backups.listed(host.state, path)) + 1
    whose = {"database": path, "unit": args["unit"], "user": args.get("user")}
    saved = {**whose, "keep": keep, "mark": backups.BEFORE_RESTORE}
    _, now = backup_database.do(saved, host, journal)
    journal.keep("restoring", backup)
    _store(args, host).replace(backup, args["busyTimeoutSeconds"])
    backup_database.prune(host, path, args["keep"], spare=(backup, now["path"]))
    size = os.lstat(backup).st_size
    done = f"{path} restored from {backup}; its earlier content is in {now['path']}"
    return done, {"from": backup, "path": path, "sizeBytes": size, "before": now["path"]}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    if journal.get("restoring") is None:
        return backup_database.undo(args, host, journal)
    before = journal.get("backup")
    _store(args, host).replace(before, UNDO_BUSY_SECONDS)
    return f"{args['database']} restored from {before}"


def _store(args: dict[str, Any], host: System) -> Store:
    # Plans of older versions name neither.
    return open_store(args["database"], host, args.get("unit", ""), args.get("user"))


def _find(wanted: str, path: str, host: System) -> str:
    """Path of the backup. Raises OperationError unless it is one of this database."""
    found = backups.chosen(host.state, path, wanted)
    if found is not None:
        return found
    known = ", ".join(backups.listed(host.state, path)[-5:]) or "none"
    what = "no backup" if wanted == "latest" else f"{wanted} is not a backup"
    raise OperationError(f"{what} of {path} in {host.state}/backups; available: {known}")
