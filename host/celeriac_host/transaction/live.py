"""The progress of a running transaction, in memory (/run): any connected run can follow it.

One JSON object per line: progress as in the protocol, at the end `{"kind": "outcome", …}`. A full
disk does not affect it and a reboot loses it; what must last is in the journal.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, Callable, Dict

from celeriac_host.state import lock_file
from celeriac_host.system.system import System

FOLDER = "/run/celeriac"
POLL_SECONDS = 0.1
LIMIT_BYTES = 8 * 1024 * 1024

Emit = Callable[[Dict[str, Any]], object]


class Live:
    """The writing end. Never raises: the work goes on even if nobody can follow it."""

    def __init__(self, ident: str) -> None:
        self.handle = -1
        with suppress(OSError):
            os.makedirs(FOLDER, 0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self.handle = os.open(_path(ident), flags | os.O_NOFOLLOW, 0o600)

    def tell(self, progress: dict[str, Any]) -> None:
        with suppress(OSError):
            if progress["kind"] != "note" or os.fstat(self.handle).st_size < LIMIT_BYTES:
                os.write(self.handle, json.dumps(progress).encode("ascii") + b"\n")


def follow(ident: str, host: System, emit: Emit) -> dict[str, Any] | None:
    """Emits the progress until the outcome; None if the process ended without one.

    Raises RunnerGone: the work goes on without its listener.
    """
    reader = _Reader(ident)
    quiet = 0
    while True:
        for progress in reader.read():
            if progress["kind"] == "outcome":
                outcome: dict[str, Any] = progress["outcome"]
                return outcome
            emit(progress)
            quiet = 0
        quiet += 1
        # Once a second: the lock is free if the process has died.
        if quiet % 10 == 0 and not lock_file.is_held(host.state):
            ends = [each["outcome"] for each in reader.read() if each["kind"] == "outcome"]
            return ends[-1] if ends else None
        host.sleep(POLL_SECONDS)


def forget(ident: str) -> None:
    with suppress(OSError):
        os.unlink(_path(ident))


class _Reader:
    def __init__(self, ident: str) -> None:
        self.path = _path(ident)
        self.position = 0

    def read(self) -> list[dict[str, Any]]:
        """The complete lines since the last call."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.position)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self.position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def _path(ident: str) -> str:
    return os.path.join(FOLDER, ident + ".jsonl")
