"""Removes a system user that `create-user` added, and its empty home.

Touches: the databases of users and groups, the user's home and `.ssh`.
Undo: adds the user again, with the same ids.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import accounts, files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return accounts.find(args["user"]) is None


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    user = args["user"]
    found = accounts.find(user)
    if found is None or not accounts.is_ours(found):
        raise OperationError(f"the user {user} was not created by Celeriac; it stays")
    running = accounts.process_count(found.uid)
    if running:
        raise OperationError(f"{running} processes run as {user}; expected none: wait, or end them")
    journal.keep("was", {"uid": found.uid, "gid": found.gid, "home": found.home})
    accounts.remove(user, host)
    files.remove_folders([os.path.join(found.home, ".ssh"), found.home])
    kept = f"; {found.home} is not empty and stays" if os.path.lexists(found.home) else ""
    return f"user {user} removed{kept}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None:
        return None
    user = args["user"]
    if accounts.find(user) is None:
        accounts.create(user, was["home"], host, (was["uid"], was["gid"]))
    accounts.make_folders(was["home"], host)
    return f"user {user} added again"
