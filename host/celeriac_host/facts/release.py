"""The code of the app on the host: a Git checkout, or a folder with code folders."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import environments, git, trees
from celeriac_host.code.sources import working_directory
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

# Commits that an upload can be based on; a host that is further behind gets more than it needs.
COMMIT_LIMIT = 1000
REF_LIMIT = 300
LISTED = 20
RELEASE_LIMIT = 1000


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """With `source: none`, the kind is `none`. Without `user`: the unit's."""
    unit = full_name(args["unit"])
    tree: dict[str, Any] = {"kind": "none"}
    if args["source"] == "git":
        tree = _tree(_checkout, args["checkout"] or working_directory(host, unit), args, host)
    elif args["source"] == "upload":
        tree = _tree(_releases, args["deployTo"], args, host)
    return {"tree": tree, "installed": environments.recorded(host.state, unit)}


def _tree(kind: Any, path: str, args: dict[str, Any], host: System) -> dict[str, Any]:
    """Everything is read by a process of the app's user."""
    user = ""
    try:
        user = args.get("user") or app_user.name_of_unit(host, full_name(args["unit"]))
        found: dict[str, Any] = kind(path, identity(user), host)
    except trees.NotOwn as error:
        return error.fact(user)
    except OperationError as error:
        return {"kind": "unusable", "path": path, "problem": error.message}
    return found


def _checkout(directory: str, user: Identity, host: System) -> dict[str, Any]:
    found = git.find(host, user, directory)
    if found is None:
        return {"kind": "absent", "path": directory}
    head = git.head(host, found)
    dirty = git.dirty(host, found)
    return {
        "kind": "checkout",
        "path": found.path,
        "user": user.name,
        "head": head,
        "branch": git.branch(host, found),
        "known": _known(found, head, host),
        "shallow": _shallow(found, host),
        "dirty": dirty[:LISTED],
        "dirtyCount": len(dirty),
    }


def _known(found: git.Checkout, head: str, host: System) -> list[str]:
    """Commits in the checkout: HEAD, its history, and those of branches and tags."""
    words = ["rev-list", f"--max-count={COMMIT_LIMIT}", "HEAD"]
    history = git.run(host, found, *words).out.split()
    form = "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname)"
    lines = git.run(host, found, "for-each-ref", f"--count={REF_LIMIT}", form).out.splitlines()
    refs = [
        words[words.index("commit") + 1] for words in map(str.split, lines) if "commit" in words
    ]
    return list(dict.fromkeys([head, *history, *refs]))


def _shallow(found: git.Checkout, host: System) -> list[str]:
    """Commits whose parents were not fetched."""
    if git.line(host, found, "rev-parse", "--is-shallow-repository", check=False) != "true":
        return []
    path = os.path.join(found.path, git.line(host, found, "rev-parse", "--git-path", "shallow"))
    done = host.run(["cat", "--", path], user=found.user, cwd="/", check=False)
    return [each for each in done.out.split() if git.COMMIT.fullmatch(each)]


def _releases(base: str, user: Identity, host: System) -> dict[str, Any]:
    found = trees.releases(host, user, base)
    if found is None:
        return {"kind": "absent", "path": base}
    return {
        "kind": "releases",
        "path": base,
        "user": user.name,
        "current": trees.current(host, user, base),
        # The newest come first.
        "releases": sorted(list(filter(git.COMMIT.fullmatch, found.names))[:RELEASE_LIMIT]),
    }
