"""Adds a system user without a password, which only a key of its `authorized_keys` lets in.

Touches: the databases of users and groups, the user's home and `.ssh`, which stay root's.
Undo: removes the user and the folders that it added.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import accounts, files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    folders = (args["home"], os.path.join(args["home"], ".ssh"))
    return accounts.is_ours(accounts.find(args["user"])) and all(map(_is_roots, folders))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    user, home = args["user"], args["home"]
    found = accounts.find(user)
    if found is not None and not accounts.is_ours(found):
        raise OperationError(f"the user {user} exists, but Celeriac did not create it")
    missing = [each for each in (os.path.join(home, ".ssh"), home) if not os.path.lexists(each)]
    journal.keep("made", {"user": found is None, "folders": missing})
    if found is None:
        accounts.create(user, home, host)
    accounts.make_folders(home, host)
    return f"user {user} added" if found is None else f"{home} prepared for {user}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    made = journal.get("made")
    if made is None:
        return None
    user = args["user"]
    if made["user"] and accounts.is_ours(accounts.find(user)):
        accounts.remove(user, host)
    files.remove_folders(made["folders"])
    return f"user {user} removed again" if made["user"] else None


def _is_roots(folder: str) -> bool:
    try:
        about = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == 0 and about.st_mode & 0o777 == 0o755
