"""Removes a folder if it is empty.

Touches: that folder.
Undo: makes it again, with its mode and owner.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return not os.path.lexists(args["path"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path = args["path"]
    about = os.lstat(path)
    if not stat.S_ISDIR(about.st_mode):
        raise OperationError(f"{path} is not a folder")
    if os.listdir(path):
        return f"{path} is not empty and stays"
    was = {"mode": stat.S_IMODE(about.st_mode), "uid": about.st_uid, "gid": about.st_gid}
    journal.keep("was", was)
    os.rmdir(path)
    files.sync_folder(os.path.dirname(path))
    return f"{path} removed"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None or os.path.lexists(args["path"]):
        return None
    os.mkdir(args["path"], 0o700)
    os.chown(args["path"], was["uid"], was["gid"])
    os.chmod(args["path"], was["mode"])
    return f"{args['path']} made again"
