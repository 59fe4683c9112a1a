"""Which code the release that runs put in place, and which is there now."""

from __future__ import annotations

import os
from typing import Any, Sequence

from celeriac_host.code import git, trees
from celeriac_host.state.journal import read_plan, transactions_folder
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError, describe
from celeriac_host.system.system import System

PATHS = {"checkout-code": "checkout", "switch-release": "deployTo"}


def look(transactions: Sequence[str], host: System) -> dict[str, Any] | None:
    """By the first of these, newest first, that put code in place; None: no plan shows one."""
    for ident in transactions:
        plan = read_plan(os.path.join(transactions_folder(host.state), ident))
        for operation in reversed(plan["operations"] if plan else []):
            if operation["op"] in PATHS:
                path = operation[PATHS[operation["op"]]]
                wanted = operation["commit"]
                return {"path": path, "wanted": wanted, **_there(operation, path, host)}
    return None


def _there(operation: dict[str, Any], path: str, host: System) -> dict[str, Any]:
    """The `actual` commit, or a `problem`."""
    try:
        user = app_user.named(operation)
        if operation["op"] == "switch-release":
            target = trees.current(host, user, path) or ""
            # A folder of releases has the name of its commit.
            name = os.path.basename(target)
            return {"actual": name if git.COMMIT.fullmatch(name) else target, "problem": ""}
        # What runs as root needs a look at who may change it; what runs as the app does not.
        own = user.uid == 0
        checkout = git.require(host, user, path) if own else git.Checkout(path, user)
        return {"actual": git.head(host, checkout), "problem": ""}
    except (OperationError, OSError) as error:
        return {"actual": None, "problem": describe(error)}
