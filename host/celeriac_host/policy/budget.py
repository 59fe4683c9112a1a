"""How many changes were asked for within an hour, by all sessions together."""

from __future__ import annotations

import fcntl
import json
import os
import time

from celeriac_host.policy.refusal import Refused

FOLDER = "/run/celeriac"
NAME = "changes.json"
HOUR_SECONDS = 3600.0


def spend(most: int) -> None:
    """Counts one more. Raises Refused when there were too many, or they cannot be counted."""
    try:
        os.makedirs(FOLDER, 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(os.path.join(FOLDER, NAME), flags, 0o600)
    except OSError as error:
        raise Refused("limits", f"changes cannot be counted: {error.strerror}") from None
    with os.fdopen(handle, "r+", encoding="ascii") as file:
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Since boot: nobody can set this clock.
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        recent = [each for each in _read(file.read()) if now - HOUR_SECONDS < each <= now]
        if len(recent) >= most:
            raise Refused("limits", f"{most} changes within an hour are the most")
        file.seek(0)
        file.truncate()
        json.dump([*recent, now], file)


def _read(text: str) -> list[float]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    numbers = found if isinstance(found, list) else []
    return [float(each) for each in numbers if isinstance(each, (int, float))]
