"""Whether an installer may work in the environment of a unit's interpreter."""

from __future__ import annotations

from typing import Any

from celeriac_host.code import environments, trees
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name


def look(args: dict[str, Any], host: System) -> dict[str, Any] | None:
    """Why not: it is somebody else's. None also where that is not known yet.

    An environment may come with the code, so that one that is not there is no reason.
    """
    user = args["user"]
    try:
        environments.find(host, full_name(args["unit"]), args["interpreter"], identity(user))
    except trees.NotOwn as error:
        return error.fact(user)
    except OperationError:
        return None
    return None
