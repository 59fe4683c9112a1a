"""The user that the app runs as: of its unit, or named by the workflow; never a file's owner."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System

PROPERTIES = ("LoadState", "User", "Group", "SupplementaryGroups", "DynamicUser")


class AppUser(NamedTuple):
    """Who works on the app's files, and how to say why."""

    identity: Identity
    # What runs as this user: `shop-worker.service`, or `the app`.
    what: str

    @property
    def name(self) -> str:
        return self.identity.name


def app_user(host: System, unit: str, user: str | None = None) -> AppUser:
    """`user` if given, otherwise the unit's `User=`, which is root if it has none.

    Raises OperationError if there is no such user; or no such unit, and no user is given. Without a
    unit, an agent that is not root works as who it is: it could do nothing else.
    """
    if user is not None:
        try:
            own = _of_unit(host, unit)
        except OperationError:
            own = None
        # The unit may give its user more groups than the user has otherwise.
        if own is not None and user in (own.name, str(own.identity.uid)):
            return own
        return AppUser(identity(user), "the app")
    try:
        return _of_unit(host, unit)
    except OperationError:
        if os.geteuid() == 0:
            raise
        return AppUser(identity(str(os.geteuid())), "the app")


def named(args: dict[str, Any]) -> Identity:
    """The user that an operation names. Raises OperationError."""
    user = args.get("user")
    if not isinstance(user, str) or not user:
        raise OperationError("the plan does not name the user of the app")
    return identity(user)


def name_of_unit(host: System, unit: str) -> str:
    """The `User=` of a unit, root if it has none: who owns its code. Raises OperationError."""
    return _owner(unit, units.glance(host, unit, PROPERTIES))


def of_unit(host: System, unit: str) -> Identity:
    """The user and the groups of a unit's processes, who own its code. Raises OperationError."""
    seen = units.glance(host, unit, PROPERTIES)
    _owner(unit, seen)
    return _identity(seen)


def _owner(unit: str, seen: dict[str, str]) -> str:
    if seen.get("DynamicUser") == "yes":
        raise OperationError(
            f"{unit} has DynamicUser=, so no user owns its code; name the owner of the code in the "
            "input `app-user`"
        )
    return seen.get("User") or "root"


def of_properties(seen: dict[str, str]) -> Identity:
    """The user and the groups of a unit's processes (`systemctl show`). Raises OperationError."""
    return _identity(seen)


def _identity(seen: dict[str, str]) -> Identity:
    groups = seen.get("SupplementaryGroups", "").split()
    return identity(seen.get("User") or "root", seen.get("Group", ""), groups)


def _of_unit(host: System, unit: str) -> AppUser:
    if not unit:
        raise _unknown("no unit")
    try:
        seen = units.glance(host, unit, PROPERTIES)
    except OperationError as error:
        raise _unknown(f"{unit}: {error.message}") from None
    state = seen.get("LoadState", "not-found")
    if state != "loaded":
        raise _unknown(f"{unit}: {'no such unit' if state == 'not-found' else state}")
    return AppUser(_identity(seen), unit)


def _unknown(why: str) -> OperationError:
    return OperationError(
        f"{why}, so the user that the app runs as is unknown; give the `unit` of the worker, "
        "or its user with `app-user`"
    )
