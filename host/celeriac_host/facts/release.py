"""The code of the app on the host: a Git checkout, or a folder with code folders."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.app import environments
from celeriac_host.code import git
from celeriac_host.code.sources import working_directory
from celeriac_host.facts.unit import full_name
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import user_name
from celeriac_host.system.system import System

# Commits that an upload can be based on; a host that is further behind gets more than it needs.
COMMIT_LIMIT = 1000
REF_LIMIT = 300
LISTED = 20


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """With `source: none`, the kind is `none`."""
    unit = full_name(args["unit"])
    tree: dict[str, Any] = {"kind": "none"}
    if args["source"] == "git":
        tree = _checkout(args["checkout"] or working_directory(host, unit), host)
    elif args["source"] == "upload":
        tree = _releases(args["deployTo"])
    return {"tree": tree, "installed": environments.recorded(host.state, unit)}


def _checkout(directory: str, host: System) -> dict[str, Any]:
    try:
        found = git.find(directory) if directory and os.path.isdir(directory) else None
        if found is None:
            return {"kind": "absent", "path": directory}
        head = git.head(host, found)
        dirty = git.dirty(host, found)
        return {
            "kind": "checkout",
            "path": found.path,
            "owner": found.owner.name,
            "head": head,
            "branch": git.branch(host, found),
            "known": _known(found, head, host),
            "shallow": _shallow(found, host),
            "dirty": dirty[:LISTED],
            "dirtyCount": len(dirty),
        }
    except OperationError as error:
        return {"kind": "unusable", "path": directory, "problem": error.message}


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
    done = host.run(["cat", "--", path], user=found.owner, check=False)
    return [each for each in done.out.split() if git.COMMIT.fullmatch(each)]


def _releases(base: str) -> dict[str, Any]:
    if not os.path.isdir(base):
        return {"kind": "absent", "path": base}
    link = os.path.join(base, "current")
    if os.path.lexists(link) and not os.path.islink(link):
        return {"kind": "unusable", "path": base, "problem": f"{link} is not a link"}
    try:
        names = os.listdir(os.path.join(base, "releases"))
    except FileNotFoundError:
        names = []
    except OSError as error:
        return {"kind": "unusable", "path": base, "problem": f"{error.filename}: {error.strerror}"}
    return {
        "kind": "releases",
        "path": base,
        "owner": user_name(os.stat(base).st_uid),
        "current": os.readlink(link) if os.path.islink(link) else None,
        "releases": sorted(each for each in names if git.COMMIT.fullmatch(each)),
    }
