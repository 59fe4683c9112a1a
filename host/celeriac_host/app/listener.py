"""Runs a program of `programs/` and reads its messages until it ends.

The process belongs to the app: it may hang, exit, or print anything. Its time is limited, and its
messages are not trusted.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Mapping

from celeriac_host.app import app_process, questions, reports
from celeriac_host.app.reports import clipped
from celeriac_host.system import unit_journal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Ended
from celeriac_host.system.system import System

# Beyond that, what a program says meanwhile is not passed on; each may become a line for people.
MOST_MESSAGES = 20_000
PURPOSES = {
    "broker": "talks to the worker",
    "messages": "reads the broker's messages",
    "probe": "sends the probes",
    "queues": "asks the broker",
    "send": "sends the tasks",
}
# The stage in which tasks are sent.
SENDING = "waiting for the probes"
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

    def start(heard: _Heard) -> Ended | None:
        return app_process.run(host, program, request, heard.take, timeout, like)

    return _heard(program, request, timeout, hear, start)[1]


def ask(
    host: System,
    program: str,
    request: dict[str, Any],
    timeout: float,
    hear: Hear | None = None,
    like: int = 0,
) -> dict[str, Any]:
    """As `run`, but by a process that may have answered earlier questions, and waits for more.

    If such a process has no plain answer, a fresh one is asked once: what the old one has gathered
    may be to blame. Not where something could be done twice.
    """
    end = time.monotonic() + timeout
    known = host.app if isinstance(host.app, questions.Respondent) else None
    begun = known.begun if known else 0
    heard, found = _asked(host, program, request, timeout, hear, like)
    left = end - time.monotonic()
    was_known = known is not None and known.begun > begun
    if not was_known or left <= 0 or not _may_be_asked_again(heard, request):
        return found
    again, other = _asked(host, program, request, left, hear, like)
    return found if again.report is None else other


def _asked(
    host: System,
    program: str,
    request: dict[str, Any],
    timeout: float,
    hear: Hear | None,
    like: int,
) -> tuple[_Heard, dict[str, Any]]:
    def start(heard: _Heard) -> Ended | None:
        return questions.ask(host, program, request, heard.take, lambda: heard.ended, timeout, like)

    heard, found = _heard(program, request, timeout, hear, start)
    if not heard.is_plain():
        host.end_app()
    return heard, found


def _heard(
    program: str,
    request: dict[str, Any],
    timeout: float,
    hear: Hear | None,
    start: Callable[[_Heard], Ended | None],
) -> tuple[_Heard, dict[str, Any]]:
    """What a run of the program said, and its report, or why there is none."""
    heard = _Heard(hear, lambda report: reports.checked(program, request, report))
    try:
        ended = start(heard)
    except OperationError as error:
        return heard, {"problem": error.message, "evidence": list(error.evidence)}
    return heard, _found(heard, program, timeout, ended)


def _may_be_asked_again(heard: _Heard, request: Mapping[str, Any]) -> bool:
    report = heard.report or {}
    if heard.is_plain() or "jobs" in report or report.get("kind") == "unknown":
        return False
    # Tasks of the app may have been sent; a canary does nothing.
    return request.get("kind") != "task" or heard.stage != SENDING


def _found(heard: _Heard, program: str, timeout: float, ended: Ended | None) -> dict[str, Any]:
    if heard.report is not None:
        return heard.report
    if heard.invalid or ended is None:
        name = f"the process that {PURPOSES[program]}"
        return {"problem": f"{name} sent an invalid report, {heard.invalid}", "evidence": []}
    lines = app_process.last_lines(ended)
    return {"problem": _silence(ended, program, heard.stage, timeout, lines), "evidence": lines}


class _Heard:
    """The messages of one run so far."""

    def __init__(self, hear: Hear | None, check: Callable[[Message], Message]) -> None:
        self.hear = hear
        self.check = check
        self.count = 0
        self.ended = False
        self.invalid = ""
        self.stage = "starting its interpreter"
        self.report: dict[str, Any] | None = None

    def is_plain(self) -> bool:
        """Whether all went well: what failed once is asked of a fresh process next time."""
        report = self.report
        return report is not None and not report.get("problem") and not report.get("unreachable")

    def take(self, message: Message) -> Any:
        # One report, the last message. Whatever comes after it is not the program's.
        if self.ended:
            return None
        if isinstance(message.get("stage"), str):
            self.stage = clipped(message["stage"])
            return None
        if isinstance(message.get("report"), dict):
            self.ended = True
            try:
                self.report = self.check(message["report"])
            except reports.Invalid as problem:
                self.invalid = str(problem)
            return None
        self.count += 1
        if self.count > MOST_MESSAGES:
            return None
        if self.hear is not None:
            return self.hear(message)
        return None


def _silence(ended: Ended, program: str, stage: str, timeout: float, lines: list[str]) -> str:
    name = f"the process that {PURPOSES[program]}"
    if ended.code is None:
        return f"{name} did not finish within {timeout:g} s while {stage}"
    why = unit_journal.last_exception(lines) or (lines[-1] if lines else f"exit code {ended.code}")
    return f"{name} exited while {stage}: {clipped(why)}"
