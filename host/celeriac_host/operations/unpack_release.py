"""Unpacks the uploaded archive of a commit into its code folder.

Touches: releases/<commit> and shared/ in the app's folder, as the app's user.
Undo: removes the code folder; shared paths that were created stay.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import git, parcels, trees, undo_user
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    shared = [each["path"] for each in args["shared"]]
    asked = {"base": args["deployTo"], "name": _name(args), "shared": shared}
    return bool(trees.work(host, app_user.named(args), "tree", "is-unpacked", asked))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    user, release = app_user.named(args), _release(args)
    asked = {"base": args["deployTo"], "name": _name(args), "shared": args["shared"]}
    if _name(args) in _present(host, user, args).names:
        trees.work(host, user, "tree", "unpack", asked)
        return f"{release} exists; its shared paths are linked"
    journal.keep("makes", release)
    with parcels.open_whole(args["sha256"], host) as archive:
        said = trees.work(host, user, "tree", "unpack", asked, stdin=archive)
    return f"{release} contains {said['files']} files and folders, owned by {user.name}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    release = journal.get("makes")
    if release is None:
        return None
    user, folder = undo_user.of_step(args, host, journal), os.path.dirname(release)
    if _present(host, user, args).current_name == _name(args):
        return f"{release} not removed: current points to it"
    names = [_name(args), f".{_name(args)}.part"]
    left = trees.remove(host, user, folder, names)
    return f"could not remove all of {release}" if left else f"{release} removed again"


def _present(host: System, user: Identity, args: dict[str, Any]) -> trees.Releases:
    found = trees.releases(host, user, args["deployTo"])
    if found is None:
        raise OperationError(f"{args['deployTo']} is not a folder")
    return found


def _name(args: dict[str, Any]) -> str:
    return git.require_commit(args["commit"])


def _release(args: dict[str, Any]) -> str:
    return os.path.join(args["deployTo"], "releases", _name(args))
