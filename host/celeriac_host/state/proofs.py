"""What each release of a unit has proven, derived from the ledger.

Release 0 is `before` Celeriac. Any other is `awaiting` its verdict, then `unproven` until a soak
shows that it is `proven` or `failed`. An unproven one that a newer release replaces is
`superseded`; one that was rolled back is `undone`, and the one before it runs again.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.state import ledger

PROVEN = "proven"
FAILED = "failed"
UNPROVEN = "unproven"


def of_unit(state: str, unit: str) -> list[dict[str, Any]]:
    """The releases of a unit, oldest first, each with its `state`, `since` when and `by` whom."""
    releases = ledger.of_unit(state, unit)
    waiting = ledger.awaiting(state, unit)
    awaited = waiting["transactions"] if waiting else []
    standing = [each["release"] for each in releases if not _is_undone(each)]
    newest = max(standing, default=0)
    found = []
    # When the last newer release was rolled back: since then, the one below it runs again.
    again = 0.0
    # The one that replaced the next of this loop.
    newer: dict[str, Any] | None = None
    for release in reversed(releases):
        state_of, since, by = _judge(release, awaited, newest, again)
        if state_of == "superseded" and newer is not None:
            since, by = newer["at"], newer["holder"]
        found.append({**release, "state": state_of, "since": since, "by": by})
        if _is_undone(release):
            again = max(again, release["judgedAt"])
        else:
            newer = release
    return found[::-1]


def current(state: str, unit: str) -> dict[str, Any] | None:
    """The release that runs; None: none of Celeriac's does."""
    standing = [each for each in of_unit(state, unit) if each["state"] not in ("before", "undone")]
    return standing[-1] if standing else None


def _is_undone(release: dict[str, Any]) -> bool:
    return bool(release.get("verdict") == "rolled-back")


def _judge(
    release: dict[str, Any], awaited: list[str], newest: int, again: float
) -> tuple[str, float, str]:
    at, verdict = release["at"], release.get("verdict")
    if release["transaction"] is None:
        return "before", at, ""
    if _is_undone(release):
        return "undone", release["judgedAt"], release["judgedBy"]
    if release.get("soak") in (PROVEN, FAILED):
        return release["soak"], release["soakAt"], release["soakBy"]
    if verdict != "confirmed" or release["transaction"] in awaited:
        return "awaiting", at, release["holder"]
    since = max(release["judgedAt"], again)
    by = release["judgedBy"] or release["holder"]
    return (UNPROVEN if release["release"] == newest else "superseded"), since, by
