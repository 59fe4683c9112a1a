"""One writer a host: an flock that dies with its holder, and so can't go stale."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import Any, Iterator

from celeriac_host.errors import Fault
from celeriac_host.system import System

NOTE_SECONDS = 5.0
POLL_SECONDS = 0.3


@contextmanager
def held(host: System, meta: dict[str, Any]) -> Iterator[None]:
    """Waits for it up to `lockTimeoutSeconds`, naming the holder. Raises Fault, RunnerGone."""
    path = os.path.join(host.state, "lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait(host, handle, float(meta.get("lockTimeoutSeconds", 0)))
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        _label(handle, f"{meta['holder']} ({meta['action']}, since {since}, pid {os.getpid()})")
        try:
            yield
        finally:
            _label(handle, "")
    finally:
        os.close(handle)


def _wait(host: System, handle: int, timeout: float) -> None:
    begun = time.monotonic()
    next_note = begun
    while not _taken(handle):
        now = time.monotonic()
        holder = os.pread(handle, 4096, 0).decode("utf-8", "replace").strip() or "somebody"
        if now - begun >= timeout:
            raise Fault(
                f"the lock of this host was not had within {timeout:g} s: {holder} holds it",
                next="wait until that run has ended, then run this one again",
            )
        if now >= next_note:
            next_note = now + NOTE_SECONDS
            host.note(f"waiting for the lock of this host, held by {holder}")
        host.sleep(POLL_SECONDS)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _label(handle: int, text: str) -> None:
    # Only for people: on a full disk the lock holds without it.
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode("utf-8", "replace"), 0)
    except OSError:
        pass
