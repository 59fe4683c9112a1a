"""Counts what a unit wrote to the journal since the last tick. It keeps no text of it.

What an error is, `app/log_groups.py` says, as for a verify; what a status 429 is, `rate_limits.py`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from celeriac_host.app.log_groups import MOST_TEXT, Groups, Line
from celeriac_host.sampler.rate_limits import is_rate_limit
from celeriac_host.system import unit_journal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Budget, follow
from celeriac_host.system.system import System

NAMES = ("errors", "tracebacks", "rateLimited", "dropped", "unread")
# Of one tick; beyond it only the fact that there was more is kept.
MOST = Budget(total_bytes=4 * 1024 * 1024, lines=4000)
TIMEOUT_SECONDS = 10.0
CURSOR_LIMIT = 1000
# journald's own message about lines of a unit that it dropped.
DROPPED_ID = "a596d6fe7bfa4994828e72309e95d61e"
DROPPED = re.compile(r"Suppressed (\d{1,9}) messages from (\S+)")

# Not within a message, where each quote has a backslash. Without parsing: a line may be cut off.
CURSOR_KEY = b'"__CURSOR"'
CURSOR = re.compile(rb'"__CURSOR" ?: ?"([^"\\]{1,1000})"')
# What may count, in the JSON of a line: `in` is ten times as fast as a pattern with alternatives.
# Bytes that are not UTF-8 are printed as a list of numbers.
MAY_COUNT = (
    *(b"429", b"Traceback", b"ERROR", b"CRITICAL", b"FATAL", b'"MESSAGE":[', b'"MESSAGE" : ['),
    DROPPED_ID.encode("ascii"),
)


def count(host: System, unit: str, cursor: Any) -> tuple[dict[str, Any] | None, str]:
    """The counts since the cursor, and the new cursor; no counts if there was none."""
    if not isinstance(cursor, str) or not 0 < len(cursor) <= CURSOR_LIMIT:
        return None, _end(host)
    found = _Counts(unit, cursor)
    argv = ["journalctl", "--no-pager", "-q", "-a", "-o", "json"]
    argv += ["--output-fields=MESSAGE,MESSAGE_ID,_PID", f"--after-cursor={cursor}"]
    argv += [f"_SYSTEMD_UNIT={unit}", "+", "_TRANSPORT=driver", f"MESSAGE_ID={DROPPED_ID}"]
    try:
        ended = follow(host, argv, found.take, TIMEOUT_SECONDS, most=MOST)
    except OperationError:
        # A flood: the next tick goes on from the end of the journal.
        found.unread = True
        return found.counts(), _end(host) or found.cursor
    if ended.code is None or (ended.code != 0 and ended.err.strip()):
        # E.g. its files were damaged and are replaced by new ones.
        return None, _end(host)
    return found.counts(), found.cursor


def _end(host: System) -> str:
    try:
        return unit_journal.cursor(host)
    except OperationError:
        return ""


class _Counts:
    def __init__(self, unit: str, cursor: str) -> None:
        self.unit = unit
        self.before = cursor
        self.last = b""
        self.groups = Groups()
        self.rate_limited = 0
        self.dropped = 0
        self.unread = False

    def take(self, line: bytes) -> None:
        if CURSOR_KEY in line:
            self.last = line
        # Most lines are not worth parsing.
        if self.groups.is_idle and not any(piece in line for piece in MAY_COUNT):
            return
        entry = _parsed(line)
        message = unit_journal.message(entry)[:MOST_TEXT]
        if entry.get("MESSAGE_ID") == DROPPED_ID:
            match = DROPPED.search(message)
            if match and match.group(2).rstrip(".") == self.unit:
                self.dropped += int(match.group(1))
            return
        self.groups.take(Line(0.0, str(entry.get("_PID", "")), message))
        self.rate_limited += is_rate_limit(message)

    @property
    def cursor(self) -> str:
        """Of the last line; without any, the one before."""
        found = CURSOR.search(self.last)
        return found.group(1).decode("ascii", "replace") if found else self.before

    def counts(self) -> dict[str, Any]:
        self.groups.end()
        errors, tracebacks = self.groups.errors, self.groups.tracebacks
        values = (errors, tracebacks, self.rate_limited, self.dropped, self.unread)
        return dict(zip(NAMES, values))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
