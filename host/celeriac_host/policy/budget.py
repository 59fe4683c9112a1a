"""How many changes a user asks for within an hour, and how many sessions there are at a time."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time

from celeriac_host.policy.refusal import Refused
from celeriac_host.state import lock_file

FOLDER = "/run/celeriac"
MOST_SESSIONS = 16
HOUR_SECONDS = 3600.0


def take_place(asker: str) -> int:
    """A handle that is open while this session lasts. Raises Refused when all places are taken.

    Each user has places of its own, so that a key that may only look keeps nobody from deploying.
    """
    os.makedirs(FOLDER, 0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    for number in range(MOST_SESSIONS):
        handle = os.open(os.path.join(FOLDER, f"session-{_plain(asker)}-{number}"), flags, 0o600)
        if lock_file.taken(handle, fcntl.LOCK_EX):
            return handle
        os.close(handle)
    raise Refused("limits", f"at most {MOST_SESSIONS} sessions at a time are allowed")


def spend(most: int, asker: str) -> None:
    """Counts one more of this user. Raises Refused when there were too many, or it cannot."""
    name = f"changes-{_plain(asker)}.json"
    try:
        os.makedirs(FOLDER, 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(os.path.join(FOLDER, name), flags, 0o600)
    except OSError as error:
        raise Refused("limits", f"changes cannot be counted: {error.strerror}") from None
    with os.fdopen(handle, "r+", encoding="ascii") as file:
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Since boot: nobody can set this clock.
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        recent = [each for each in _read(file.read()) if now - HOUR_SECONDS < each <= now]
        if len(recent) >= most:
            raise Refused("limits", f"at most {most} changes per hour are allowed")
        file.seek(0)
        file.truncate()
        json.dump([*recent, now], file)


def _plain(asker: str) -> str:
    return re.sub("[^a-z0-9_-]", "_", asker)


def _read(text: str) -> list[float]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    numbers = found if isinstance(found, list) else []
    return [float(each) for each in numbers if isinstance(each, (int, float))]
