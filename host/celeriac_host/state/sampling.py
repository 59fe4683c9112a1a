"""Which units are sampled, as `sampled/<unit>.json` says, and where the sampler's timer is.

A unit is sampled from the release on that changed it until that release is proven or undone. The
record names the file systems to watch, how long the soak is to be (`soakSeconds`) and what fails it
(`soakLimits`; older records lack either), and which beginning it is (`begun`). What the last tick
saw is in `sampled/<unit>.seen`; without it, the next sample lacks what needs two ticks.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import Any, Sequence

from celeriac_host.state import guard_timer
from celeriac_host.system import files

NAME = "celeriac-sampler"
# Of `soakLimits`: numbers, and those that may be None.
COUNTS = ("failureLimit", "consecutive")
MAYBE_COUNTS = ("rateLimitMax", "errorRateMax")
FOLDER = "sampled"
# Whose file systems are watched, of one unit.
MOST_PATHS = 20
RECORD = re.compile(r"([A-Za-z0-9:_\\@-][A-Za-z0-9:_.\\@-]*)\.json")
SEEN = ".seen"
NEW = ".new"
SEEN_LIMIT_BYTES = 64 * 1024


def link() -> str:
    """The link that enables the timer at boot."""
    return os.path.join(guard_timer.FOLDER, guard_timer.WANTS, f"{NAME}.timer")


def read(state: str, unit: str) -> dict[str, Any] | None:
    """The record of a unit; None if it is not sampled."""
    return _object(_path(state, unit + ".json"))


def is_wanted(state: str, unit: str) -> bool:
    return read(state, unit) is not None


def wanted(state: str) -> list[str]:
    """The units that are sampled."""
    matches = (RECORD.fullmatch(name) for name in files.names(os.path.join(state, FOLDER)))
    return [match.group(1) for match in matches if match and is_wanted(state, match.group(1))]


def fact(state: str, unit: str) -> dict[str, Any]:
    """As in SamplingFact."""
    record = read(state, unit)
    wanted: Any = (record or {}).get("soakSeconds")
    known = type(wanted) in (int, float) and wanted >= 0
    return {
        "sampling": record is not None,
        "soakSeconds": wanted if known else None,
        "soakLimits": _limits(record or {}),
    }


def _limits(record: dict[str, Any]) -> dict[str, Any] | None:
    """Those that can be read: that one is missing must show. None: the deploy recorded none."""
    found = record.get("soakLimits")
    if found is None:
        return None
    if not isinstance(found, dict):
        return {}
    known = {name: found[name] for name in COUNTS if _is_count(found.get(name))}
    maybe = {name: found[name] for name in MAYBE_COUNTS if name in found}
    for name, value in maybe.items():
        if value is None or _is_count(value):
            known[name] = value
    return known


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def want(
    state: str,
    unit: str,
    paths: Sequence[str],
    soak_seconds: float | None = None,
    soak_limits: dict[str, Any] | None = None,
) -> None:
    """Has a unit sampled, durably. Raises OSError."""
    os.makedirs(os.path.join(state, FOLDER), 0o700, exist_ok=True)
    record = {
        "unit": unit,
        "paths": list(paths),
        "soakSeconds": soak_seconds,
        "soakLimits": soak_limits,
        # Its samples are counted anew, by the sampler alone: it may be at work now.
        "begun": os.urandom(8).hex(),
    }
    content = json.dumps(record).encode("ascii")
    files.write(_path(state, unit + ".json"), content, 0o600, os.geteuid(), os.getegid())


def forget(state: str, unit: str) -> None:
    """The samples that it has stay. Raises OSError."""
    files.remove(_path(state, unit + ".json"))
    for name in (unit + SEEN, unit + SEEN + NEW):
        with suppress(FileNotFoundError):
            os.unlink(_path(state, name))


def seen(state: str, unit: str) -> dict[str, Any]:
    """What the last tick saw; empty if unknown."""
    return _object(_path(state, unit + SEEN)) or {}


def see(state: str, unit: str, what: dict[str, Any]) -> None:
    """Not durable: losing it costs one sample its differences. Raises OSError."""
    where = _path(state, unit + SEEN)
    # One sampler runs at a time, so the name is its own.
    handle = os.open(where + NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        json.dump(what, file)
    os.rename(where + NEW, where)


def _path(state: str, name: str) -> str:
    return os.path.join(state, FOLDER, name)


def _object(path: str) -> dict[str, Any] | None:
    try:
        found = json.loads(files.read(path, SEEN_LIMIT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
