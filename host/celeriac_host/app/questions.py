"""Asks one process of an app several questions: to import the app is most of what each costs.

The process is that of the app's user, and waits for the next question only: the agent ends it
before it does anything else. Whatever is not plain (an error, no report, another environment,
another run of the unit) is followed by a fresh one. A question that this process has not begun is
asked of a fresh one; so that nothing is done twice, it is begun only when we have heard of it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any, Callable

from celeriac_host.app import app_process
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Dialogue, Ended
from celeriac_host.system.system import System

PROGRAM = "questions"
# systemd ends its service then, if an agent that was killed has left it.
LIFE_SECONDS = 600.0
# For the last question to end before that.
MARGIN_SECONDS = 30.0
# A process that waits begins at once.
NOTICE_SECONDS = 5.0
LEAVE_SECONDS = 2.0

Take = Callable[["dict[str, Any]"], Any]


class Respondent:
    """A process of an app that answers questions."""

    def __init__(
        self, host: System, python: app_process.Interpreter, invocation: str, timeout: float
    ) -> None:
        """`invocation`: the run of the unit that is asked about. Raises OperationError."""
        self.python = python
        self.invocation = invocation
        life = max(LIFE_SECONDS, timeout + MARGIN_SECONDS)
        self.until = time.monotonic() + life
        # How many questions it has begun.
        self.begun = 0
        self.is_busy = False
        self.sent = {app_process.SHARED}
        self.talk = Dialogue(
            host,
            [*python.argv, "-c", app_process.text(PROGRAM)],
            life,
            python.identity,
            python.environment,
            python.directory,
            python.restrictions,
        )

    def serves(self, python: app_process.Interpreter, invocation: str, timeout: float) -> bool:
        """Whether it may be asked such a question."""
        return (
            self.python.is_like(python)
            and self.invocation == invocation
            and self.until - time.monotonic() >= timeout + MARGIN_SECONDS
            and self.talk.process.poll() is None
        )

    def begins(self, name: str, request: dict[str, Any], timeout: float) -> bool | None:
        """Asks the program `name`. True: it has begun. False, None: as `Dialogue.exchange`."""
        self.is_busy = True
        heard: list[bool] = []
        # Nobody can have answered to it before.
        name_of_question = os.urandom(8).hex()

        def take(message: dict[str, Any]) -> Any:
            # What comes before is of an earlier question.
            if message != {"question": name_of_question}:
                return None
            heard.append(True)
            self.begun += 1
            return "go"

        question = {
            "name": name_of_question,
            "program": name,
            "modules": self._modules(name),
            "request": request,
        }
        payload = json.dumps(question).encode("ascii") + b"\n"
        on_line = app_process.answers(take)
        return self.talk.exchange(payload, on_line, timeout, app_process.MOST, lambda: bool(heard))

    def _modules(self, name: str) -> list[tuple[str, str]]:
        names = (*app_process.IMPORTS.get(name, ()), name)
        new = [each for each in names if each not in self.sent]
        self.sent.update(new)
        return [(each, app_process.source(each)) for each in new]

    def goes_on(self, take: Take, timeout: float, is_over: Callable[[], bool]) -> bool | None:
        """Hears its answer. Returns as `Dialogue.exchange`."""
        on_line = app_process.answers(take)
        found = self.talk.exchange(b"", on_line, timeout, app_process.MOST, is_over)
        self.is_busy = not found
        return found

    def end(self) -> None:
        # One that waits leaves at once.
        self.talk.end(0.0 if self.is_busy else LEAVE_SECONDS)
        # Of one that was at work, whoever asked it tells.
        if not self.is_busy:
            self.talk.host.tell_left(self.talk.process, self.talk.argv)


def ask(
    host: System,
    name: str,
    request: dict[str, Any],
    take: Take,
    is_over: Callable[[], bool],
    timeout: float,
    like: int = 0,
) -> Ended | None:
    """As `app_process.run`, until `is_over`. None: the process waits for another question.

    `request` has the `invocation` of the unit, too.
    """
    python = app_process.interpreter(host, request, like)
    end = time.monotonic() + timeout
    try:
        has_begun, known = _begin(host, name, request, python, timeout)
        goes_on = has_begun and known.goes_on(take, end - time.monotonic(), is_over)
    except BaseException:
        host.end_app()
        raise
    if goes_on:
        return None
    host.end_app()
    return known.talk.late() if goes_on is None else known.talk.ended()


def _begin(
    host: System,
    name: str,
    request: dict[str, Any],
    python: app_process.Interpreter,
    timeout: float,
) -> tuple[bool | None, Respondent]:
    known, invocation = host.app, request["invocation"]
    if isinstance(known, Respondent) and known.serves(python, invocation, timeout):
        # What it did while it waited, e.g. print without end, is no answer to this question.
        with suppress(OperationError):
            if known.begins(name, request, NOTICE_SECONDS):
                return True, known
    host.end_app()
    fresh = host.app = Respondent(host, python, invocation, timeout)
    return fresh.begins(name, request, timeout), fresh
