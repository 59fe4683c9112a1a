"""Runs a program of `programs/` and reads its messages until it ends.

The process belongs to the app: it may hang, exit, or print anything. Its time is limited, and its
messages are not trusted.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from celeriac_host.app import app_process
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Ended
from celeriac_host.system.system import System

LONGEST_PROBLEM = 300
MOST_EVIDENCE = 20
PURPOSES = {
    "broker": "talks to the worker",
    "messages": "reads the broker's messages",
    "probe": "sends the probes",
    "send": "sends the tasks",
}
APP_FIELDS = ("unit", "interpreter", "app", "pythonPath")

Message = Dict[str, Any]
# Gets each message except stage and report; its result is the answer to the program.
Hear = Callable[[Message], Any]


def app_of(args: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an operation that name the app and how to start its process.

    Raises OperationError if one is missing, as in plans of older versions.
    """
    if any(name not in args for name in APP_FIELDS):
        raise OperationError("the plan does not say which app the worker runs")
    return {name: args[name] for name in APP_FIELDS}


def run(
    host: System,
    program: str,
    request: dict[str, Any],
    timeout: float,
    hear: Hear | None = None,
    like: int = 0,
) -> dict[str, Any]:
    """Returns its report. Without one, or if the program cannot run: `problem` and `evidence`.

    `request` and `like` as in `app_process.run`. Raises RunnerGone, and what `hear` raises.
    """
    heard = _Heard(hear)
    try:
        ended = app_process.run(host, program, request, heard.take, timeout, like)
    except OperationError as error:
        return {"problem": error.message, "evidence": list(error.evidence)}
    if heard.report is not None:
        return heard.report
    lines = app_process.last_lines(ended)
    return {"problem": _silence(ended, program, heard.stage, timeout, lines), "evidence": lines}


def clipped(text: str) -> str:
    """One printable line of limited length."""
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * LONGEST_PROBLEM])
    return line if len(line) <= LONGEST_PROBLEM else line[: LONGEST_PROBLEM - 1] + "\u2026"


class _Heard:
    """The messages of one run so far."""

    def __init__(self, hear: Hear | None) -> None:
        self.hear = hear
        self.stage = "starting its interpreter"
        self.report: dict[str, Any] | None = None

    def take(self, message: Message) -> Any:
        if isinstance(message.get("stage"), str):
            self.stage = clipped(message["stage"])
        elif isinstance(message.get("report"), dict):
            self.report = _checked(message["report"])
        elif self.hear is not None:
            return self.hear(message)
        return None


def _checked(report: dict[str, Any]) -> dict[str, Any]:
    if report.get("problem") is None:
        return report
    evidence = report.get("evidence")
    told = evidence[:MOST_EVIDENCE] if isinstance(evidence, list) else []
    return {
        **report,
        "problem": clipped(str(report["problem"])),
        "evidence": [clipped(str(line)) for line in told],
    }


def _silence(ended: Ended, program: str, stage: str, timeout: float, lines: list[str]) -> str:
    name = f"the process that {PURPOSES[program]}"
    if ended.code is None:
        return f"{name} did not finish within {timeout:g} s while {stage}"
    why = units.last_exception(lines) or (lines[-1] if lines else f"exit code {ended.code}")
    return f"{name} exited while {stage}: {clipped(why)}"
