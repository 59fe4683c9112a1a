"""The file behind the host's lock (`transaction/lock.py`): whether it is held, and by whom."""

from __future__ import annotations

import fcntl
import os


def path(state: str) -> str:
    return os.path.join(state, "lock")


def is_held(state: str) -> bool:
    """Whether somebody holds the lock. Concurrent checks do not disturb each other."""
    return holder(state) is not None


def holder(state: str) -> str | None:
    """Who holds the lock, for people; None if nobody does."""
    try:
        handle = os.open(path(state), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return None if taken(handle, fcntl.LOCK_SH) else text(handle)
    finally:
        os.close(handle)


def text(handle: int) -> str:
    """Who took the lock; `somebody` on a full disk."""
    return os.pread(handle, 4096, 0).decode("utf-8", "replace").strip() or "somebody"


def taken(handle: int, kind: int) -> bool:
    """Takes the lock of this kind, without waiting; False if somebody else holds it."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
