"""`systemd-analyze verify` over a unit's text, before it is installed.

Touches: nothing.
Undo: nothing to undo.
"""

from __future__ import annotations

import os
import re
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

UNIT_NAME = re.compile(
    r"(?:^|(?<=[\s'\"/]))([\w:.\\@-]+\.(?:service|socket|target|device|mount|automount|swap|timer"
    r"|path|slice|scope))\b"
)


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    unit = args["unit"]
    # /run is memory: it has room when the disk is full.
    folder = f"/run/celeriac-{os.urandom(4).hex()}"
    os.mkdir(folder, 0o700)
    try:
        path = os.path.join(folder, unit)
        with open(path, "w", encoding="utf-8") as file:
            file.write(args["text"])
        for drop_in in args.get("dropIns", ()):
            os.makedirs(path + ".d", 0o700, exist_ok=True)
            with open(os.path.join(path + ".d", drop_in["name"]), "w", encoding="utf-8") as file:
                file.write(drop_in["text"])
        done = host.run(["systemd-analyze", "verify", "--man=no", path], timeout=90, check=False)
    finally:
        files.remove_tree(folder)
    lines = [line for line in done.err.splitlines() if line.strip()]
    # It often exits 0 despite problems: its output counts.
    found = [line.replace(folder + "/", "") for line in lines if _concerns(line, unit, folder)]
    if not found and done.code != 0 and not lines:
        found = [f"systemd-analyze verify exited with code {done.code} and no output"]
    if found:
        raise OperationError(
            f"systemd-analyze verify reports a problem in {unit}: {found[0]}",
            ran=done.argv,
            exit_code=done.code,
            evidence=found,
        )
    return f"systemd-analyze verify reports no problem in {unit}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _concerns(line: str, unit: str, folder: str) -> bool:
    """Whether a line is about this unit; others begin with another unit's path or name."""
    if folder in line:
        return True
    named = UNIT_NAME.match(line) or re.match(r"(?:/\S+/)([\w:.\\@-]+\.[a-z]+)(?:\.d/\S+)?:", line)
    if named is None:
        return True
    name, _, suffix = unit.rpartition(".")
    ours = {unit}
    if "@" in name:
        # systemd-analyze checks a template through an instance that it makes up.
        stem = re.escape(name[: name.index("@") + 1])
        return re.fullmatch(rf"{stem}[^@]*\.{suffix}", named.group(1)) is not None
    return named.group(1) in ours
