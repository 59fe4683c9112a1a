"""Backs up and removes a file.

Touches: that file.
Undo: restores the file byte for byte.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state import aside
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    return not os.path.lexists(args["path"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path = args["path"]
    found = aside.expect(path, args["expects"])
    aside.keep(journal, path, found, None)
    files.remove(path)
    return f"{path} removed"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    return aside.restore(journal)
