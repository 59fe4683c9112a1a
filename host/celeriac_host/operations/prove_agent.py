"""Starts the installed agent as the key will: as its user, with sudo.

Touches: nothing.
Undo: nothing to undo.
"""

from __future__ import annotations

import json
from typing import Any, Sequence

from celeriac_host.state.journal import StepJournal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

BYE = b'{"id":1,"ask":"bye","protocol":1}\n'


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    user, path = args["user"], args["path"]
    argv = ["runuser", "-u", user, "--", "sudo", "-n", path]
    done = host.run(argv, input=BYE, cwd="/", check=False)
    found = _hello(argv, done.out)
    if found is None:
        lines = done.lines()
        raise OperationError(
            f"{user} cannot start {path}: {lines[-1] if lines else 'it did not say hello'}",
            ran=argv,
            exit_code=done.code,
            evidence=lines,
        )
    problem = _problem(found, args)
    if problem:
        raise OperationError(f"{path}: {problem}", ran=argv, evidence=done.lines())
    return f"{user} starts agent {args['version']}, and nothing else, with sudo"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    return None


def _hello(argv: Sequence[str], out: str) -> dict[str, Any] | None:
    for line in out.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("hello") == "celeriac":
            return message
    return None


def _problem(hello: dict[str, Any], args: dict[str, Any]) -> str:
    if hello.get("version") != args["version"]:
        return f"expected version {args['version']}, found {hello.get('version')}"
    if hello.get("access") != args["access"]:
        return f"expected access `{args['access']}`, found `{hello.get('access')}`"
    return ""
