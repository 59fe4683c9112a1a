"""The undo of a release that wrote a Python module which other units load.

The module stays while another unit needs it. A module that an undo kept for others is removed by
the undo after which nothing refers to it any more. Each version has a folder of its own
(`module_versions`); older versions of Celeriac wrote one module for all units.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, NamedTuple, Sequence

from celeriac_host.app import module_users, module_versions
from celeriac_host.state import aside, ledger
from celeriac_host.state.journal import Journal, StepJournal, read_plan
from celeriac_host.system.system import System


def is_module(path: str) -> bool:
    return path.endswith(".py")


def brings_version(operation: dict[str, Any]) -> bool:
    """Whether this operation writes a module of which an older version may be left."""
    return operation["op"] == "write-file" and module_versions.is_version(operation["path"])


def remember(step: StepJournal, path: str) -> None:
    """Records what refers to a module without versions, and how, before it is written."""
    if is_module(path) and not module_versions.is_version(path):
        step.keep("users", module_users.find(path, _unit(step)))


class Users(NamedTuple):
    """What needs a module: units and processes that load it, and units that may return to it."""

    loading: Sequence[str]
    returning: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.loading or self.returning)

    def __str__(self) -> str:
        parts = [module_users.listed(self.loading)] if self.loading else []
        parts += [f"{each} may be rolled back to it" for each in self.returning]
        return ", ".join(parts)


def relying(step: StepJournal, host: System, unit_restored: bool = False) -> Users:
    """What needs the module as it is now, so that the undo of this step must keep it.

    If the step created the module: everything that refers to it. If it replaced an older version:
    what refers to it in another way than before, or was released since; the rest worked with the
    older version. The unit itself counts once its file has been restored.
    """
    kept = step.get("file")
    if kept is None or not is_module(kept["path"]) or not os.path.lexists(kept["path"]):
        return Users(())
    ident = os.path.basename(step.folder)
    returning = module_versions.returning(kept["path"], host.state, ident)
    if module_versions.is_version(kept["path"]) and kept["was"] is not None:
        # Somebody had changed it.
        return Users(sorted(module_users.find(kept["path"], _unit(step))))
    if module_versions.is_version(kept["path"]) and unit_restored:
        return Users(sorted(module_users.find(kept["path"])), returning)
    others = module_users.find(kept["path"], _unit(step))
    before = step.get("users")
    if kept["was"] is None or before is None:
        return Users(sorted(others), returning)
    later = ledger.units_released_after(host.state, ident)
    return Users(
        sorted(name for name, how in others.items() if before.get(name) != how or name in later)
    )


def restore(step: StepJournal, host: System) -> str | None:
    """Like `aside.restore`, but keeps a module that others need, and says so."""
    users = relying(step, host, unit_restored=True)
    if not users:
        return aside.restore(step)
    kept = step.get("file")
    if kept["was"] is None:
        # Without this mark (full disk), a module without versions is never removed.
        with suppress(OSError):
            step.keep("left", True)
    return f"{kept['path']} not restored: {users}"


def sweep(host: System) -> list[str]:
    """Removes modules that nothing refers to any more. Raises OSError.

    Those with versions, and those that earlier undos kept for others.
    """
    lines = module_versions.sweep(host.state)
    for folder, index, operation in module_versions.written_modules(host.state, "undone"):
        step = Journal(folder).step(index)
        path = operation["path"]
        if not step.get("left") or aside.changed(step.get("file")):
            continue
        if not module_users.find(path) and not module_versions.returning(path, host.state):
            lines.append(f"{aside.restore(step)}: no unit loads it any more")
            step.keep("left", False)
    return lines


def _unit(step: StepJournal) -> str | None:
    plan = read_plan(step.folder)
    unit = plan["meta"].get("unit") if plan else None
    return unit if unit is None or "." in unit else unit + ".service"
