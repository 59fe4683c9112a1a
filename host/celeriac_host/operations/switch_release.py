"""Points the link `current` at a code folder, in one rename.

Touches: the link `current` in the app's folder, as the app's user.
Undo: restores the earlier link, or removes it if there was none.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import git, trees, undo_user
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return trees.current(host, app_user.named(args), args["deployTo"]) == _wanted(args)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    base, target, user = args["deployTo"], _wanted(args), app_user.named(args)
    was = trees.current(host, user, base)
    if was != args["expects"]:
        raise OperationError(
            f"{base}/current is {was or 'missing'}; it was {args['expects'] or 'missing'} "
            "when the plan was made; run again"
        )
    journal.keep("was", {"target": was, "to": target})
    _switch(host, user, base, target)
    return f"{base}/current points to {target}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None:
        return None
    base, user = args["deployTo"], undo_user.of_step(args, host, journal)
    now = trees.current(host, user, base)
    if now not in (was["target"], was["to"]):
        raise OperationError(
            f"{base}/current not restored: somebody else changed it since ({now or 'removed'})"
        )
    if now != was["target"]:
        _switch(host, user, base, was["target"])
    else:
        # Perhaps interrupted between the new link and its renaming.
        trees.work(host, user, "tree", "forget", {"link": os.path.join(base, "current")})
    if was["target"] is None:
        return f"{base}/current removed again"
    return f"{base}/current points to {was['target']} again"


def _switch(host: System, user: Identity, base: str, target: str | None) -> None:
    asked = {"link": os.path.join(base, "current"), "target": target}
    trees.work(host, user, "tree", "switch", asked)


def _wanted(args: dict[str, Any]) -> str:
    return "releases/" + git.require_commit(args["commit"])
