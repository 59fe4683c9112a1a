"""How often each row was reset: a job that is reset again and again must fail in the end.

`resets.json` in the state folder: database → row, by the name that the plan gives it → times.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Iterable

from celeriac_host.system import files

NAME = "resets.json"
# The most rows of one database; the oldest are dropped first.
ROWS_LIMIT = 10000


def read(state: str, database: str) -> dict[str, int]:
    return _all(state).get(database, {})


def count(state: str, database: str, rows: Iterable[str], by: int) -> None:
    """Adds `by`, which may be negative, to the count of each row. Raises OSError."""
    wanted = list(rows)
    if not wanted:
        return
    everything = _all(state)
    counts = everything.setdefault(database, {})
    for row in wanted:
        times = counts.pop(row, 0) + by
        if times > 0:
            counts[row] = times
    for row in list(counts)[: max(len(counts) - ROWS_LIMIT, 0)]:
        del counts[row]
    content = json.dumps(everything).encode("ascii")
    files.write(os.path.join(state, NAME), content, 0o600, os.geteuid(), os.getegid())


def _all(state: str) -> dict[str, dict[str, int]]:
    # An unreadable file counts as empty: it only decides when to give up.
    with suppress(OSError, ValueError):
        with open(os.path.join(state, NAME), encoding="ascii") as file:
            found = json.load(file)
        if isinstance(found, dict):
            return {str(name): dict(rows) for name, rows in found.items() if isinstance(rows, dict)}
    return {}
