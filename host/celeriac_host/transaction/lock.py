"""One writer per host: an flock that ends with its holder, so it cannot become stale."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import Any

from celeriac_host.state import lock_file
from celeriac_host.system.durations import duration
from celeriac_host.system.errors import Fault
from celeriac_host.system.system import System

NOTE_SECONDS = 5.0
POLL_SECONDS = 0.3


class Lock:
    """Held while its handle, or a copy of it in another process, is open."""

    def __init__(self, handle: int) -> None:
        # It was inherited; what this process executes must not hold the lock, whoever starts it.
        os.set_inheritable(handle, False)
        self.handle = handle

    def label(self, meta: dict[str, Any]) -> None:
        """Records who holds it, for others that wait."""
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._write(f"{meta['holder']} ({meta['action']}, since {since}, pid {os.getpid()})")

    def drop(self) -> None:
        self._write("")
        self.hand_over()

    def hand_over(self) -> None:
        """Closes this handle: only the other process, with its copy, holds the lock now."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        if self.handle >= 0:
            self.drop()

    def _write(self, text: str) -> None:
        # For people only: on a full disk the lock works without it.
        with suppress(OSError):
            os.ftruncate(self.handle, 0)
            os.pwrite(self.handle, text.encode("utf-8", "replace"), 0)


def take(host: System, meta: dict[str, Any]) -> Lock:
    """Waits for the lock up to `lockTimeoutSeconds`. Raises Fault with the holder, RunnerGone."""
    handle = _open(host.state)
    try:
        _wait(host, handle, float(meta.get("lockTimeoutSeconds", 0)))
    except BaseException:
        os.close(handle)
        raise
    taken = Lock(handle)
    taken.label(meta)
    return taken


def try_take(state: str) -> Lock | None:
    """The lock, or None if it is held."""
    handle = _open(state)
    if lock_file.taken(handle, fcntl.LOCK_EX):
        return Lock(handle)
    os.close(handle)
    return None


def _open(state: str) -> int:
    return os.open(
        lock_file.path(state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )


def _wait(host: System, handle: int, timeout: float) -> None:
    begun = time.monotonic()
    next_note = begun
    while not lock_file.taken(handle, fcntl.LOCK_EX):
        now = time.monotonic()
        holder = lock_file.text(handle)
        if now - begun >= timeout:
            raise Fault(
                f"could not get the lock of this host within {duration(timeout)}: "
                f"{holder} holds it",
                next="wait until that run has finished, then run this one again",
            )
        if now >= next_note:
            next_note = now + NOTE_SECONDS
            host.note(f"waiting for the lock of this host, held by {holder}")
        host.sleep(POLL_SECONDS)
