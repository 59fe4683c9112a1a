"""What a unit has logged since a time or a cursor, grouped: see LoggedFact."""

from __future__ import annotations

import re
import time
from typing import Any

from celeriac_host.app.log_groups import MOST_TEXT, Groups, Line, described
from celeriac_host.facts import journal
from celeriac_host.system import unit_journal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

FIELDS = "MESSAGE,_PID"
ENTRY_LIMIT = 200_000
# For the comparison: so much of what was logged before.
EARLIER_LIMIT = 50_000
EARLIER_SECONDS = 7 * 86_400
# Beyond that, an entry is not parsed, only its beginning is searched.
LONG_LINE_BYTES = 64 * 1024
# Of journald itself, when it drops lines of a service that logs too fast.
DROPPED = ("MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e", "_TRANSPORT=driver")
SUPPRESSED = re.compile(r"Suppressed (\d{1,12}) messages from (\S+)")
CURSOR = re.compile(r"[0-9A-Za-z=;]{1,400}")
PID = re.compile(rb'"_PID":"(\d{1,10})"')


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """`after`, a cursor of an earlier look, takes precedence over `since`."""
    unit, since = full_name(args["unit"]), args.get("since")
    of_unit = f"_SYSTEMD_UNIT={unit}"
    after = args.get("after")
    begin = _begin(after, since)
    reader = Reader()
    journal.read(host, [*begin, "-n", str(ENTRY_LIMIT), of_unit], reader.take, FIELDS)
    before = None
    if after is None and since is not None:
        before = _earlier(host, of_unit, float(since))
    reader.groups.end()
    return {
        "since": since,
        "cursor": reader.cursor or after or "",
        "complete": reader.groups.entries < ENTRY_LIMIT,
        "dropped": _dropped(host, begin, unit),
        "earlier": None if before is None else before.entries,
        **described(reader.groups, before),
    }


def _begin(after: Any, since: Any) -> list[str]:
    """Raises OperationError."""
    if after is not None:
        if not isinstance(after, str) or not CURSOR.fullmatch(after):
            raise OperationError("invalid cursor of the journal")
        return [f"--after-cursor={after}"]
    return [] if since is None else [f"--since=@{float(since):.6f}"]


def _earlier(host: System, of_unit: str, since: float) -> Groups | None:
    """What was logged in the days before; None if that cannot be read."""
    reader = Reader()
    span = [f"--since=@{since - EARLIER_SECONDS:.6f}", f"--until=@{since:.6f}"]
    try:
        journal.read(host, [*span, "-n", str(EARLIER_LIMIT), of_unit], reader.take, FIELDS)
    except OperationError:
        return None
    reader.groups.end()
    return reader.groups


def _dropped(host: System, begin: list[str], unit: str) -> int:
    """How many lines journald says it dropped; it says so only when it takes lines again."""
    total = 0

    def take(line: bytes) -> None:
        nonlocal total
        match = SUPPRESSED.match(unit_journal.message(journal.parsed(line)))
        if match and match.group(2).rpartition("/")[2] == unit:
            total += int(match.group(1))

    journal.read(host, [*begin, "-n", "10000", *DROPPED], take)
    return total


class Reader:
    """Entries of the journal as JSON lines."""

    def __init__(self) -> None:
        self.groups = Groups()
        self.cursor = ""

    def take(self, line: bytes) -> None:
        if len(line) > LONG_LINE_BYTES:
            self.groups.take(_beginning(line))
            return
        entry = journal.parsed(line)
        cursor = entry.get("__CURSOR")
        if isinstance(cursor, str) and CURSOR.fullmatch(cursor):
            self.cursor = cursor
        at = journal.at(entry) or time.time()
        self.groups.take(Line(at, str(entry.get("_PID", "")), unit_journal.message(entry)))


def _beginning(line: bytes) -> Line:
    """An overlong entry, of which only the beginning of the text is read."""
    text = line.partition(b'"MESSAGE":')[2][:MOST_TEXT].strip(b'"').decode("utf-8", "replace")
    # A quote in the text is escaped, so this is the field.
    pid = PID.search(line)
    return Line(time.time(), pid.group(1).decode("ascii") if pid else "", text)
