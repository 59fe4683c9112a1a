"""A backup of a job database, and how the database differs from it now."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.store import backups
from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """`backup` is a path, or `latest`: the newest one that no restore made."""
    path = args["database"]
    backup = backups.chosen(host.state, path, args["backup"])
    if backup is None:
        known = backups.listed(host.state, path)
        return {"kind": "absent", "known": known[-5:]}
    taken = os.lstat(backup).st_mtime
    try:
        differences = open_store(path, host, args["unit"], args.get("user")).compare(backup)
    except OperationError as error:
        return {"kind": "unknown", "path": backup, "takenAt": taken, "problem": error.message}
    return {"kind": "compared", "path": backup, "takenAt": taken, "differences": differences}
