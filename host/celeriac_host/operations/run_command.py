"""Runs a command of the app as the unit would: its user, directory and environment.

Touches: whatever the command changes.
Undo: nothing: what the command did stays.
"""

from __future__ import annotations

import shlex
import time
from collections import deque
from contextlib import suppress
from typing import Any

from celeriac_host.app import commands
from celeriac_host.state.journal import TODO, StepJournal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

EVIDENCE_LINES = 12
LINES_LIMIT = 2000


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    said = " ".join(map(shlex.quote, args["argv"]))
    last: deque[str] = deque(maxlen=EVIDENCE_LINES)
    count = 0

    def on_line(text: str) -> None:
        nonlocal count
        if text.strip():
            count += 1
            last.append(text)
            if count <= LINES_LIMIT:
                host.note(text)

    journal.keep("begun", True)
    begun = time.monotonic()
    ended = commands.run(host, args, on_line)
    if ended.code == 0:
        return f"`{said}` succeeded in {time.monotonic() - begun:.1f} s"
    why = f"failed (exit code {ended.code})"
    if ended.code is None:
        why = f"did not end within {args['timeoutSeconds']:g} s"
    elif ended.code < 0:
        why = f"was ended by signal {-ended.code}"
    raise OperationError(
        f"`{said}` {why}" + (f": {last[-1].strip()}" if last else ""),
        ran=args["argv"],
        exit_code=ended.code if ended.code is not None and ended.code >= 0 else None,
        evidence=list(last),
    )


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    if journal.get("begun") is None:
        return None
    said = " ".join(map(shlex.quote, args["argv"]))
    # A full disk is no reason to call the undo failed.
    with suppress(OSError):
        journal.keep(TODO, f"check what `{said}` did: it is not undone")
    return f"what `{said}` did is not undone"
