"""Runs a program of ours in a process of the app: its interpreter, user and environment."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from celeriac_host.app.programs.app_side import URL_PASSWORD
from celeriac_host.system import own_program, processes, unit_context, units
from celeriac_host.system.following import Budget, Ended, follow
from celeriac_host.system.identities import Identity
from celeriac_host.system.services import Restrictions
from celeriac_host.system.system import System

PACKAGE = "celeriac_host.app.programs"
SHARED = "app_side"
# What else a program imports; what these import themselves comes first.
IMPORTS: Mapping[str, Sequence[str]] = {
    "broker": ("remote_control",),
    "messages": ("rabbitmq",),
    "probe": ("remote_control", "probe_places"),
    "queues": ("rabbitmq", "remote_control"),
    "sources": ("digests",),
}
EVIDENCE_LINES = 12
# A report of every task in a large broker has some megabytes.
MOST = Budget(total_bytes=32 * 1024 * 1024, lines=20_000)
PATH = "PYTHONPATH="
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
# Variables that systemd sets for one process only.
ITS_OWN = (
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
# Makes the shared modules importable under their own names, then runs the program.
TEXT = """
import sys, types
def make(name):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    return module
make("celeriac_host"), make("celeriac_host.app")
package = make("{package}")
for name, text in {shared!r}:
    module = make("{package}." + name)
    setattr(package, name, module)
    exec(compile(text, name + ".py", "exec"), module.__dict__)
exec(compile({text!r}, "{name}.py", "exec"), {{"__name__": "__main__"}})
"""


class Interpreter(NamedTuple):
    """How the Python of an app is started, as its worker is."""

    argv: Sequence[str]
    identity: Identity
    directory: str
    environment: Mapping[str, str]
    restrictions: Restrictions

    def is_like(self, other: Interpreter) -> bool:
        """Whether a process of the one is as good as one of the other."""
        return self._without_replaced() == other._without_replaced()

    def _without_replaced(self) -> Interpreter:
        """Without the variables that an `env` in front of the Python sets itself."""
        replaced = {word.partition("=")[0] for word in self.argv if ASSIGNMENT.match(word)}
        rest = {name: value for name, value in self.environment.items() if name not in replaced}
        return self._replace(environment=rest)


def interpreter(host: System, request: Mapping[str, Any], like: int = 0) -> Interpreter:
    """`request` has unit, interpreter and pythonPath; `like` as in `run`. Raises OperationError."""
    where = unit_context.context(host, request["unit"])
    own = _environment_of(like, where, host, request["unit"])
    environment = own or where.environment
    directory = where.directory
    if own and not os.path.isdir(directory):
        directory = processes.working_directory(like) or directory
    words = unit_context.expanded(request["interpreter"], where._replace(environment=environment))
    paths = [*request["pythonPath"], *filter(None, [environment.get("PYTHONPATH")])]
    return Interpreter(
        [PATH + _once(word[len(PATH) :]) if word.startswith(PATH) else word for word in words],
        where.identity,
        directory,
        {
            **environment,
            # No byte code: the code may be undone, and Python compares only its size and second.
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"PYTHONPATH": _once(":".join(paths))} if paths else {}),
        },
        where.restrictions,
    )


def _once(folders: str) -> str:
    """A search path with each folder once: the environment of a worker has what its line adds."""
    return ":".join(dict.fromkeys(folders.split(":")))


def answers(take: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes | None]:
    """Hands each message of a program to `take`, and its answer to the program."""

    def on_line(line: bytes) -> bytes | None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return None
        answer = take(message) if isinstance(message, dict) else None
        return None if answer is None else json.dumps(answer).encode("ascii") + b"\n"

    return on_line


def run(
    host: System,
    name: str,
    request: dict[str, Any],
    take: Callable[[dict[str, Any]], Any],
    timeout: float,
    like: int = 0,
) -> Ended:
    """Runs the program `name`; `take` gets each message, and may return an answer to it.

    `request` has unit, interpreter, app and pythonPath. `like` is a process of the unit whose
    environment is used, if it can be read; and its directory, as long as the release with that of
    the unit is not there. Raises OperationError, RunnerGone, and what `take`
    raises.
    """
    python = interpreter(host, request, like)
    return follow(
        host,
        [*python.argv, "-c", text(name)],
        answers(take),
        timeout=timeout,
        whom=python.identity,
        cwd=python.directory,
        env=python.environment,
        payload=json.dumps(request).encode("ascii") + b"\n",
        asked=python.restrictions,
        most=MOST,
    )


def last_lines(ended: Ended) -> list[str]:
    """The last lines of its stderr, without the passwords in URLs."""
    return [URL_PASSWORD.sub(r"\1:**@", line) for line in ended.lines(EVIDENCE_LINES)]


def tell_evidence(host: System, report: dict[str, Any]) -> None:
    """Reports the evidence of a program's problem, line by line."""
    for line in report.get("evidence", ()):
        host.note(line)


def _environment_of(
    pid: int, where: unit_context.Context, host: System, unit: str
) -> dict[str, str]:
    """The environment that systemd started it with: the unit may have changed. Empty: unknown.

    A process may have overwritten it; its invocation id shows whether it did. Only processes of the
    unit's own user are read.
    """
    process = processes.read(pid) if pid else None
    if process is None or process.user != where.identity.name:
        return {}
    found = processes.environment(pid)
    run_id = units.glance(host, unit, ["InvocationID"])["InvocationID"]
    if not run_id or found.get("INVOCATION_ID") != run_id:
        return {}
    return {name: value for name, value in found.items() if name not in ITS_OWN}


def text(name: str) -> str:
    """The text that the app's interpreter runs."""
    return assembled(name, (SHARED, *IMPORTS.get(name, ())))


def assembled(name: str, imports: Sequence[str]) -> str:
    """A program for `python -c`, with the modules of ours that it imports."""
    shared = [(each, source(each)) for each in imports]
    return TEXT.format(package=PACKAGE, shared=shared, name=name, text=source(name))


def source(name: str) -> str:
    """The text of one of our programs for the app's interpreter."""
    return own_program.source(PACKAGE + "." + name)
