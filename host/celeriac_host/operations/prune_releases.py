"""Removes the oldest code folders; always keeps the current and the previous one.

Touches: folders below releases/ in the app's folder that are named after commits.
Undo: nothing to undo: they stay removed.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import git, trees
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return not _surplus(args)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    surplus = _surplus(args)
    folder = os.path.join(args["deployTo"], "releases")
    names = [os.path.basename(each) for each in surplus]
    try:
        left = trees.remove(host, trees.owner_of(args["deployTo"]), folder, names)
    except OperationError as error:
        # No reason to undo a deploy that works.
        return f"could not remove older code folders: {error.message}"
    removed = ", ".join(git.short(os.path.basename(each)) for each in surplus if each not in left)
    kept = f"; could not remove {', '.join(left)}" if left else ""
    return f"removed {removed or 'nothing'}{kept}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _surplus(args: dict[str, Any]) -> list[str]:
    """The folders that were unpacked or used the longest ago."""
    base = args["deployTo"]
    folder = os.path.join(base, "releases")
    try:
        names = [each for each in os.listdir(folder) if git.COMMIT.fullmatch(each)]
    except OSError:
        return []
    current = os.path.basename(os.path.realpath(os.path.join(base, "current")))
    spared = {current, *args["spare"]}
    paths = [os.path.join(folder, each) for each in names]
    newest = sorted(paths, key=lambda path: os.lstat(path).st_ctime, reverse=True)
    others = [path for path in newest if os.path.basename(path) not in spared]
    stay = max(args["keep"] - len(spared.intersection(names)), 0)
    return others[stay:]
