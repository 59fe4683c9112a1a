"""Writes a unit file beside a backup, and has the manager read it.

Touches: the unit file; systemd's daemon-reload; for a worker that runs, a drop-in below /run that
  keeps its memory limits until start-unit.
Undo: the file as it was, to the byte, or none; no drop-in; daemon-reload.
"""

from __future__ import annotations

from typing import Any

from celeriac_host import aside, files, limits, units
from celeriac_host.errors import OperationError
from celeriac_host.journal import StepJournal
from celeriac_host.system import System

MODE = 0o644


def check(args: dict[str, Any], host: System) -> bool:
    return _written(args) and _read_by_manager(args["unit"], host)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit, path = args["unit"], args["path"]
    if not _written(args):
        found = aside.expect(path, args["expects"])
        mode = MODE if found is None else found.mode
        aside.change(journal, path, found, args["text"], mode)
    journal.keep("held", True)
    limits.hold(unit, host)
    units.reload(host)
    if not _read_by_manager(unit, host):
        raise OperationError(f"systemd still wants a daemon-reload for {unit} after one")
    return f"{path} installed"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    restored = aside.put_back(journal)
    released = bool(journal.get("held")) and limits.release(args["unit"])
    if restored is not None or released:
        units.reload(host)
    return restored or ("its memory limits are those of its unit again" if released else None)


def _written(args: dict[str, Any]) -> bool:
    found = files.find(args["path"])
    return found is not None and found.content == args["text"].encode("utf-8")


def _read_by_manager(unit: str, host: System) -> bool:
    return units.show(host, unit, ["NeedDaemonReload"]).get("NeedDaemonReload") == "no"
