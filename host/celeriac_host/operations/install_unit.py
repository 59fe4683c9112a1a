"""Backs up and writes a unit file or drop-in, and reloads systemd.

Touches: that file; systemd's daemon-reload; for a running worker, a drop-in below /run that keeps
  its memory limits until start-unit.
Undo: restores the file byte for byte, or removes it; no drop-in below /run; daemon-reload.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state import aside
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files, limits, unit_values, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

MODE = 0o644


def check(args: dict[str, Any], host: System) -> bool:
    return _written(args) and _read_by_manager(args, host)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit, path = args["unit"], args["path"]
    if not _written(args):
        found = aside.expect(path, args["expects"])
        mode = MODE if found is None else found.mode
        aside.change(journal, path, found, args["text"], mode)
    journal.keep("held", True)
    limits.hold(unit, host)
    units.reload(host)
    if not _read_by_manager(args, host):
        raise OperationError(f"systemd does not read {path} for {unit}, even after a daemon-reload")
    return f"{path} installed"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    restored = aside.restore(journal)
    dropped = bool(journal.get("held")) and limits.drop(args["unit"])
    if restored is not None or dropped:
        units.reload(host)
    return restored or ("memory limits of the unit restored" if dropped else None)


def _written(args: dict[str, Any]) -> bool:
    found = files.find(args["path"])
    return found is not None and found.content == args["text"].encode("utf-8")


def _read_by_manager(args: dict[str, Any], host: System) -> bool:
    seen = units.show(host, args["unit"], ["NeedDaemonReload", "DropInPaths"])
    if seen.get("NeedDaemonReload") != "no":
        return False
    # systemd does not notice the first drop-in of a unit: it never read that folder.
    path = args["path"]
    return not path.endswith(".conf") or path in unit_values.split_words(
        seen.get("DropInPaths", "")
    )
