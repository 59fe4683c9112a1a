"""Errors whose messages are written for people."""

from __future__ import annotations

import os
from typing import Sequence

# An answer is one line of at most 1 MiB, and what an app says may have any length.
MESSAGE_LIMIT, LINE_LIMIT, EVIDENCE_LIMIT = 4000, 1000, 100


class OperationError(Exception):
    """An operation failed, or a fact could not be read. What it says is cut to a limit."""

    def __init__(
        self,
        message: str,
        ran: Sequence[str] | None = None,
        exit_code: int | None = None,
        evidence: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = cut(message, MESSAGE_LIMIT)
        self.ran = ran
        self.exit_code = exit_code
        self.evidence = [cut(line, LINE_LIMIT) for line in evidence[:EVIDENCE_LIMIT]]


class Fault(OperationError):
    """The whole request failed; `next` says what a person should do."""

    def __init__(
        self,
        message: str,
        ran: Sequence[str] | None = None,
        exit_code: int | None = None,
        evidence: Sequence[str] = (),
        next: str = "",
    ) -> None:
        super().__init__(message, ran, exit_code, evidence)
        self.next = next


class RunnerGone(BaseException):
    """The runner disconnected, or this process received a signal to end: stop.

    Not an `Exception`, so that no handler of ordinary errors swallows it.
    """


class GoingDown(BaseException):
    """The host is shutting down: change nothing more; the guard continues after the boot."""


def cut(text: str, limit: int) -> str:
    """The beginning of a text that is longer than the limit."""
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def describe(error: BaseException) -> str:
    """One line: the message if it is meant for people, else type, message and place."""
    if isinstance(error, OperationError):
        return error.message
    if isinstance(error, RunnerGone):
        return "the runner disconnected"
    if isinstance(error, OSError) and error.strerror:
        named = isinstance(error.filename, (str, bytes))
        where = f": {os.fsdecode(error.filename)}" if named else ""
        return f"{error.strerror}{where}{_place(error)}"
    return f"{type(error).__name__}: {cut(str(error), MESSAGE_LIMIT)}{_place(error)}"


def _place(error: BaseException) -> str:
    # Imported here: the import is slow and seldom needed.
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
