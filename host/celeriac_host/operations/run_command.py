"""Runs a command of the app as the unit would: its user, directory and environment.

Touches: whatever the command changes.
Undo: nothing: what the command did stays.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import deque
from contextlib import suppress
from typing import Any

from celeriac_host.app import code_folders
from celeriac_host.app.programs.app_side import URL_PASSWORD
from celeriac_host.state.journal import TODO, StepJournal
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Budget, follow
from celeriac_host.system.system import System

EVIDENCE_LINES = 12
LINE_LIMIT = 500
ENV = "/usr/bin/env"
LINES_LIMIT = 2000
# Beyond that it is ended: what it prints goes through this program.
MOST = Budget(total_bytes=64 * 1024 * 1024, lines=1_000_000)
# Its stderr joins stdout, so that its lines stay in order; no input: it must not ask anything.
JOINED = 'exec "$@" 2>&1 </dev/null'


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    change = args.get("instead")
    where = code_folders.moved(units.context(host, args["unit"]), change)
    interpreter = units.expanded(code_folders.instead(args["interpreter"], change), where)
    argv = code_folders.instead(args["argv"], change)
    words = [*interpreter, *argv[1:]] if argv[0] in ("python", "python3") else argv
    said = " ".join(map(shlex.quote, args["argv"]))
    last: deque[str] = deque(maxlen=EVIDENCE_LINES)
    count = 0

    def on_line(line: bytes) -> None:
        nonlocal count
        text = URL_PASSWORD.sub(r"\1:**@", line.decode("utf-8", "replace").rstrip())[:LINE_LIMIT]
        if text.strip():
            count += 1
            last.append(text)
            if count <= LINES_LIMIT:
                host.note(text)

    journal.keep("begun", True)
    begun = time.monotonic()
    # Programs of the worker's own environment come first.
    path = where.environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    programs = [word for word in interpreter if word.startswith("/") and word != ENV]
    own = [os.path.dirname(word) for word in programs[:1]]
    ended = follow(
        host,
        ["/bin/sh", "-c", JOINED, "sh", *words],
        on_line,
        timeout=float(args["timeoutSeconds"]),
        whom=where.identity,
        cwd=where.directory,
        env={
            **where.environment,
            "PATH": ":".join([*own, path]),
            "PYTHONUNBUFFERED": "1",
            # No byte code: the code may be undone, and Python compares only its size and second.
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        asked=where.restrictions,
        most=MOST,
    )
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
