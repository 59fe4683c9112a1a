"""Counts what a unit wrote to the journal since the last tick. It keeps no text of it.

The verdict on a release needs the lines themselves, and reads them by its own rules (`src/verify`);
these counts are what is left of a day when nobody was connected.
"""

from __future__ import annotations

import json
import re
from typing import Any

from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Budget, follow
from celeriac_host.system.system import System

NAMES = ("errors", "tracebacks", "rateLimited", "dropped")
# Of one tick; beyond it only the fact that there was more is kept.
MOST = Budget(total_bytes=4 * 1024 * 1024, lines=4000)
TIMEOUT_SECONDS = 10.0
LINE_LIMIT = 2048
CURSOR_LIMIT = 1000
# journald's own message about lines of a unit that it dropped.
DROPPED_ID = "a596d6fe7bfa4994828e72309e95d61e"
DROPPED = re.compile(r"Suppressed (\d{1,9}) messages from (\S+)")
# `[2026-01-18 11:02:03,123: ERROR/MainProcess]` of Celery.
ERROR = re.compile(r"^\[[\d: ,.-]{10,30}: (?:ERROR|CRITICAL|FATAL)/")
TRACEBACK = re.compile(r"^\s*Traceback \(most recent call last\):")
# A status, as HTTP clients and servers log it: the number alone may be anything.
STATUS = re.compile(
    r"(?<![\w.-])429 (?:Too Many Requests|Client Error)\b"
    r"|\bHTTPS?(?:/\d(?:\.\d)?)?\"?(?: error)? 429(?![\w%.,-])"
    r"|\b(?:status|error|response|http)[ _-]?(?:code)?[\"']?(?: is| was| of)? ?[:=]{0,2} ?"
    r"[\"']?429(?![\w%.,-])"
    r"|<(?:Client)?Response \[429\b",
    re.IGNORECASE,
)


def count(host: System, unit: str, cursor: Any) -> tuple[dict[str, int] | None, str]:
    """The counts since the cursor, and the new cursor; no counts if there was none."""
    if not isinstance(cursor, str) or not 0 < len(cursor) <= CURSOR_LIMIT:
        return None, _end(host)
    found = _Counts(unit, cursor)
    argv = ["journalctl", "--no-pager", "-q", "-a", "-o", "json"]
    argv += ["--output-fields=MESSAGE,PRIORITY,MESSAGE_ID", f"--after-cursor={cursor}"]
    argv += [f"_SYSTEMD_UNIT={unit}", "+", "_TRANSPORT=driver", f"MESSAGE_ID={DROPPED_ID}"]
    try:
        ended = follow(host, argv, found.take, TIMEOUT_SECONDS, most=MOST)
    except OperationError:
        # A flood: the next tick goes on from the end of the journal.
        found.counts["dropped"] += 1
        return found.counts, _end(host) or found.cursor
    if ended.code is None or (ended.code != 0 and ended.err.strip()):
        # E.g. its files were damaged and are replaced by new ones.
        return None, _end(host)
    return found.counts, found.cursor


def _end(host: System) -> str:
    try:
        return units.cursor(host)
    except OperationError:
        return ""


class _Counts:
    def __init__(self, unit: str, cursor: str) -> None:
        self.unit = unit
        self.cursor = cursor
        self.counts = dict.fromkeys(NAMES, 0)

    def take(self, line: bytes) -> None:
        entry = _parsed(line)
        where = entry.get("__CURSOR")
        if isinstance(where, str):
            self.cursor = where
        message = units.message(entry)[:LINE_LIMIT]
        if entry.get("MESSAGE_ID") == DROPPED_ID:
            match = DROPPED.search(message)
            if match and match.group(2).rstrip(".") == self.unit:
                self.counts["dropped"] += int(match.group(1))
            return
        if TRACEBACK.search(message):
            self.counts["tracebacks"] += 1
        if ERROR.search(message) or entry.get("PRIORITY") in ("0", "1", "2", "3"):
            self.counts["errors"] += 1
        if "429" in message and STATUS.search(message):
            self.counts["rateLimited"] += 1


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
