"""The user of the app for an undo: the step may be one of an older version, which named none."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state.journal import StepJournal, read_plan
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System


def of_step(args: dict[str, Any], host: System, journal: StepJournal) -> Identity:
    """The named user, or that of the unit. Raises OperationError."""
    if "user" in args:
        return app_user.named(args)
    plan = read_plan(journal.folder) or {}
    unit = args.get("unit") or plan.get("meta", {}).get("unit")
    if not unit:
        raise OperationError(
            f"transaction {os.path.basename(journal.folder)} names neither a unit nor a user"
        )
    return identity(app_user.name_of_unit(host, unit))
