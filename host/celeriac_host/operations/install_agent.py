"""Writes this agent to the host as a program, for hardened mode.

Touches: that file.
Undo: restores the file byte for byte, or removes it.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state import aside
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files, installed
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    found = files.find(args["path"])
    return args["version"] == installed.version() and installed.is_this(found, args["python"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path, wanted = args["path"], args["version"]
    if wanted != installed.version():
        raise OperationError(
            f"the plan installs agent {wanted}, but this one is {installed.version()}"
        )
    content = installed.text(args["python"]).encode("ascii")
    found = aside.expect(path, args["expects"], also=files.sha256(content))
    aside.keep(journal, path, found, files.sha256(content))
    files.make_folders(os.path.dirname(path))
    files.write(path, content, 0o755, 0, 0)
    return f"{path}: agent {wanted} installed"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    return aside.restore(journal)
