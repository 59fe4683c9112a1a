"""The user of an app: the unit's, or one that the workflow names. Never whoever owns a path."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state.journal import StepJournal, read_plan
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System

PROPERTIES = ("User", "Group", "SupplementaryGroups", "DynamicUser")


def named(args: dict[str, Any]) -> Identity:
    """The user that an operation names. Raises OperationError."""
    return identity(args["user"])


def of_step(args: dict[str, Any], host: System, journal: StepJournal) -> Identity:
    """For an undo: an operation of an older version names no user. Raises OperationError."""
    if "user" in args:
        return named(args)
    plan = read_plan(journal.folder) or {}
    unit = args.get("unit") or plan.get("meta", {}).get("unit")
    if not unit:
        raise OperationError(
            f"transaction {os.path.basename(journal.folder)} names neither a unit nor a user"
        )
    return identity(name_of_unit(host, unit))


def name_of_unit(host: System, unit: str) -> str:
    """The `User=` of a unit, root if it has none. Raises OperationError."""
    seen = units.show(host, unit, PROPERTIES)
    return _name(unit, seen)


def of_unit(host: System, unit: str) -> Identity:
    """The user and the groups of a unit's processes. Raises OperationError."""
    seen = units.show(host, unit, PROPERTIES)
    groups = seen.get("SupplementaryGroups", "").split()
    return identity(_name(unit, seen), seen.get("Group", ""), groups)


def _name(unit: str, seen: dict[str, str]) -> str:
    if seen.get("DynamicUser") == "yes":
        raise OperationError(
            f"{unit} has DynamicUser=, so no user owns its code; name the owner of the code in the "
            "input `app-user`"
        )
    return seen.get("User") or "root"
