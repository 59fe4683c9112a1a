"""Sets mode and owner of a regular file.

Touches: that file's mode and owner.
Undo: restores both.
"""

from __future__ import annotations

import os
import pwd
import stat
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    about = os.lstat(_regular(args["path"]))
    return (stat.S_IMODE(about.st_mode), about.st_uid) == (int(args["mode"], 8), _uid(args))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path = _regular(args["path"])
    about = os.lstat(path)
    journal.keep("was", {"mode": stat.S_IMODE(about.st_mode), "uid": about.st_uid})
    _set(path, int(args["mode"], 8), _uid(args))
    return f"{path}: mode {args['mode']}, owner {args['owner']}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None:
        return None
    _set(_regular(args["path"]), was["mode"], was["uid"])
    return f"{args['path']}: mode {was['mode']:04o} again"


def _uid(args: dict[str, Any]) -> int:
    try:
        return pwd.getpwnam(args["owner"]).pw_uid
    except KeyError:
        raise OperationError(f"user {args['owner']} does not exist on this host") from None


def _regular(path: str) -> str:
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        raise OperationError(f"{path} does not exist; expected a regular file") from None
    if not stat.S_ISREG(about.st_mode):
        raise OperationError(f"{path} is not a regular file")
    return path


def _set(path: str, mode: int, uid: int) -> None:
    """Never follows a link that was created meanwhile."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Restrict the mode first: neither owner ever has the rights meant for the other.
        os.fchmod(handle, mode & 0o600)
        os.fchown(handle, uid, -1)
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)
