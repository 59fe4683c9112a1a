"""Backs up a file and writes it atomically.

Touches: that file.
Undo: restores the file byte for byte, or removes it; a Python module that another unit needs stays.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.app import shared_modules
from celeriac_host.state import aside
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    found = files.find(args["path"])
    return (
        found is not None
        and found.content == args["text"].encode("utf-8")
        and found.mode == int(args["mode"], 8)
    )


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path = args["path"]
    wanted = files.sha256(args["text"].encode("utf-8"))
    found = aside.expect(path, args["expects"], also=wanted)
    shared_modules.remember(journal, path)
    aside.change(journal, path, found, args["text"], int(args["mode"], 8))
    return f"{path} written ({args['mode']})"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    return shared_modules.restore(journal, host)
