"""The undo of a release that wrote a Python module which other units load.

The module stays while another unit needs it. A module that an undo kept for others is removed by
the undo after which nothing refers to it any more.
"""

from __future__ import annotations

import os
from contextlib import suppress

from celeriac_host.app import module_users
from celeriac_host.state import aside, ledger
from celeriac_host.state.journal import (
    Journal,
    StepJournal,
    read_plan,
    remembered,
    transactions_folder,
)
from celeriac_host.system.system import System


def is_module(path: str) -> bool:
    return path.endswith(".py")


def remember(step: StepJournal, path: str) -> None:
    """Records what refers to the module, and how, before it is written."""
    if is_module(path):
        step.keep("users", module_users.find(path, _unit(step)))


def relying(step: StepJournal, host: System) -> list[str]:
    """What else needs the module as it is now, so that the undo of this step must keep it.

    If the step created the module: everything that refers to it. If it replaced an older version:
    what refers to it in another way than before, or was released since; the rest worked with the
    older version.
    """
    kept = step.get("file")
    if kept is None or not is_module(kept["path"]) or not os.path.lexists(kept["path"]):
        return []
    others = module_users.find(kept["path"], _unit(step))
    before = step.get("users")
    if kept["was"] is None or before is None:
        return sorted(others)
    later = ledger.units_released_after(host.state, os.path.basename(step.folder))
    return sorted(name for name, how in others.items() if before.get(name) != how or name in later)


def restore(step: StepJournal, host: System) -> str | None:
    """Like `aside.restore`, but keeps a module that others need, and says so."""
    others = relying(step, host)
    if not others:
        return aside.restore(step)
    kept = step.get("file")
    if kept["was"] is None:
        # Without this mark (full disk), the module is never removed.
        with suppress(OSError):
            step.keep("left", True)
    return f"{kept['path']} not restored: {module_users.listed(others)}"


def sweep(host: System) -> list[str]:
    """Removes modules that earlier undos kept, if nothing refers to them now. Raises OSError."""
    lines = []
    for known in remembered(host.state):
        if known["state"] != "undone":
            continue
        folder = os.path.join(transactions_folder(host.state), known["id"])
        plan = read_plan(folder) or {"operations": []}
        for index, operation in enumerate(plan["operations"]):
            if operation["op"] != "write-file" or not is_module(operation["path"]):
                continue
            step = Journal(folder).step(index)
            if not step.get("left") or aside.changed(step.get("file")):
                continue
            if not module_users.find(operation["path"]):
                lines.append(f"{aside.restore(step)}: no unit loads it any more")
                step.keep("left", False)
    return lines


def _unit(step: StepJournal) -> str | None:
    plan = read_plan(step.folder)
    unit = plan["meta"].get("unit") if plan else None
    return unit if unit is None or "." in unit else unit + ".service"
