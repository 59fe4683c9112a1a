"""Unpacks the uploaded archive of a commit into its code folder.

Touches: releases/<commit> and shared/ in the app's folder, as the owner of that folder.
Undo: removes the code folder; shared paths that were created stay.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import git, parcels, trees
from celeriac_host.state.journal import StepJournal
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    release = _release(args)
    linked = all(os.path.islink(os.path.join(release, each["path"])) for each in args["shared"])
    return os.path.isdir(release) and linked


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    base, release = args["deployTo"], _release(args)
    owner = trees.owner_of(base)
    asked = {"base": base, "name": args["commit"], "shared": args["shared"]}
    if os.path.isdir(release):
        trees.work(host, owner, "unpack", asked)
        return f"{release} exists; its shared paths are linked"
    journal.keep("makes", release)
    with parcels.open_whole(args["sha256"], host) as archive:
        said = trees.work(host, owner, "unpack", asked, stdin=archive)
    return f"{release} contains {said['files']} files and folders, owned by {owner.name}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    release = journal.get("makes")
    if release is None:
        return None
    base = args["deployTo"]
    if os.path.realpath(os.path.join(base, "current")) == os.path.realpath(release):
        return f"{release} not removed: current points to it"
    folder = os.path.dirname(release)
    names = [args["commit"], f".{args['commit']}.part"]
    there = [each for each in names if os.path.lexists(os.path.join(folder, each))]
    left = trees.remove(host, trees.owner_of(base), folder, there)
    return f"could not remove all of {release}" if left else f"{release} removed again"


def _release(args: dict[str, Any]) -> str:
    return os.path.join(args["deployTo"], "releases", git.require_commit(args["commit"]))
