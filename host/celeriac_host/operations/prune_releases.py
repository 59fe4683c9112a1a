"""Removes the oldest code folders; always keeps the current and the previous one.

Touches: folders below releases/ in the app's folder that are named after commits, as the
  app's user; what other users left in them, as root.
Undo: nothing to undo: they stay removed.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import git, trees
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return not _surplus(args, host)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    folder = os.path.join(args["deployTo"], "releases")
    try:
        surplus = _surplus(args, host)
        left = trees.remove(host, app_user.named(args), folder, surplus)
    except OperationError as error:
        # No reason to undo a deploy that works.
        return f"could not remove older code folders: {error.message}"
    removed = ", ".join(git.short(each) for each in surplus if each not in left)
    paths = ", ".join(os.path.join(folder, each) for each in left)
    return f"removed {removed or 'nothing'}{f'; could not remove {paths}' if left else ''}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _surplus(args: dict[str, Any], host: System) -> list[str]:
    """The folders that were unpacked or used the longest ago."""
    found = trees.releases(host, app_user.named(args), args["deployTo"])
    if found is None:
        return []
    newest = [each for each in found.names if git.COMMIT.fullmatch(each)]
    spared = {found.current_name, *args["spare"]}
    others = [each for each in newest if each not in spared]
    stay = max(args["keep"] - len(spared.intersection(newest)), 0)
    return others[stay:]
