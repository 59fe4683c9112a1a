"""How often a row was made pending again: one that is reset for ever would never be seen to fail.

`resets.json` in the state folder: database → row, by the name that the plan gives it → times.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Iterable

from celeriac_host.system import files

NAME = "resets.json"
# Of one database; the oldest go first.
ROWS_LIMIT = 10000


def read(state: str, database: str) -> dict[str, int]:
    return _all(state).get(database, {})


def count(state: str, database: str, rows: Iterable[str], by: int) -> None:
    """`by` more, or less, for each of these rows. Raises OSError."""
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
    # What can't be read counts from nothing: it only says when to give up.
    with suppress(OSError, ValueError):
        with open(os.path.join(state, NAME), encoding="ascii") as file:
            found = json.load(file)
        if isinstance(found, dict):
            return {str(name): dict(rows) for name, rows in found.items() if isinstance(rows, dict)}
    return {}
