"""Runs a command of the app as its unit would: user, directory, environment and restrictions."""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, Sequence

from celeriac_host.app import code_folders
from celeriac_host.app.programs.app_side import URL_PASSWORD
from celeriac_host.system import unit_context
from celeriac_host.system.following import Budget, Ended, follow
from celeriac_host.system.system import System

LINE_LIMIT = 500
ENV = "/usr/bin/env"
# Beyond that it is ended: what it prints goes through this program.
MOST = Budget(total_bytes=64 * 1024 * 1024, lines=1_000_000)
# Its stderr joins stdout, so that its lines stay in order; no input: it must not ask anything.
JOINED = 'exec "$@" 2>&1 </dev/null'


def run(
    host: System,
    request: Mapping[str, Any],
    on_line: Callable[[str], object],
) -> Ended:
    """Runs `argv` of the request; `on_line` gets what it prints, without passwords in URLs.

    `python` is the unit's own interpreter. With `instead`, in the code that comes next. Raises
    OperationError.
    """
    change = request.get("instead")
    where = code_folders.moved(unit_context.context(host, request["unit"]), change)
    interpreter = unit_context.expanded(code_folders.instead(request["interpreter"], change), where)
    argv = code_folders.instead(request["argv"], change)
    words = [*interpreter, *argv[1:]] if argv[0] in ("python", "python3") else argv

    def take(line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        on_line(URL_PASSWORD.sub(r"\1:**@", text)[:LINE_LIMIT])

    return follow(
        host,
        ["/bin/sh", "-c", JOINED, "sh", *words],
        take,
        timeout=float(request["timeoutSeconds"]),
        whom=where.identity,
        cwd=where.directory,
        env={
            **where.environment,
            "PATH": _path(interpreter, where.environment),
            "PYTHONUNBUFFERED": "1",
            # No byte code: the code may be undone, and Python compares only its size and second.
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        asked=where.restrictions,
        most=MOST,
    )


def _path(interpreter: Sequence[str], environment: Mapping[str, str]) -> str:
    """Programs of the worker's own environment come first."""
    path = environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    programs = [word for word in interpreter if word.startswith("/") and word != ENV]
    return ":".join([*(os.path.dirname(word) for word in programs[:1]), path])
