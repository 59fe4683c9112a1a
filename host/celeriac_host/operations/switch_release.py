"""Points the link `current` at a code folder, in one rename.

Touches: the link `current` in the app's folder.
Undo: restores the earlier link, or removes it if there was none.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import git, trees
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return _target(args["deployTo"]) == _wanted(args)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    base, target = args["deployTo"], _wanted(args)
    if not os.path.isdir(os.path.join(base, target)):
        raise OperationError(f"{base}/{target} does not exist")
    was = _target(base)
    if was != args["expects"]:
        raise OperationError(
            f"{base}/current is {was or 'missing'}; it was {args['expects'] or 'missing'} "
            "when the plan was made; run again"
        )
    journal.keep("was", {"target": was, "to": target})
    _switch(host, base, target)
    return f"{base}/current points to {target}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None:
        return None
    base = args["deployTo"]
    now = _target(base)
    if now not in (was["target"], was["to"]):
        raise OperationError(
            f"{base}/current not restored: somebody else changed it since ({now or 'removed'})"
        )
    if now != was["target"]:
        if was["target"] and not os.path.isdir(os.path.join(base, was["target"])):
            raise OperationError(
                f"cannot restore {base}/current: {was['target']} was removed since; deploy that "
                "commit again"
            )
        _switch(host, base, was["target"])
    elif os.path.islink(os.path.join(base, ".current.celeriac")):
        # Interrupted between the new link and its renaming.
        trees.work(host, trees.owner_of(base), "forget", {"link": os.path.join(base, "current")})
    if was["target"] is None:
        return f"{base}/current removed again"
    return f"{base}/current points to {was['target']} again"


def _switch(host: System, base: str, target: str | None) -> None:
    asked = {"link": os.path.join(base, "current"), "target": target}
    trees.work(host, trees.owner_of(base), "switch", asked)


def _wanted(args: dict[str, Any]) -> str:
    return "releases/" + git.require_commit(args["commit"])


def _target(base: str) -> str | None:
    """Its target, as written; None if missing. Raises OperationError if it is not a link."""
    link = os.path.join(base, "current")
    if not os.path.lexists(link):
        return None
    if not os.path.islink(link):
        raise OperationError(f"{link} is not a link; move it away")
    return os.readlink(link)
