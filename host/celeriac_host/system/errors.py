"""Errors whose messages are written for people."""

from __future__ import annotations

import os
from typing import Sequence


class OperationError(Exception):
    """An operation failed, or a fact could not be read."""

    def __init__(
        self,
        message: str,
        ran: Sequence[str] | None = None,
        exit_code: int | None = None,
        evidence: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.ran = ran
        self.exit_code = exit_code
        self.evidence = evidence


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
    return f"{type(error).__name__}: {error}{_place(error)}"


def _place(error: BaseException) -> str:
    # Imported here: the import is slow and seldom needed.
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
