"""Describes the messages that dead workers left in the broker."""

from __future__ import annotations

from typing import Any


def describe(report: dict[str, Any]) -> str:
    if "problem" in report:
        return f"could not look for messages of dead workers: {report['problem']}"
    count = report["count"]
    if not count:
        return "no unacknowledged message of a dead worker"
    tasks = ", ".join(f"{number} {name}" for name, number in report["tasks"].items())
    found = f"{count} unacknowledged message{'' if count == 1 else 's'} ({tasks})"
    oldest = f"the oldest delivered {report['oldestSeconds']:.0f} s ago"
    restored = report["restored"]
    if restored:
        why = f"; {report['why']}" if report["why"] else ""
        return f"{restored} of {found}, {oldest}, returned to their queues{why}"
    if report["why"]:
        return f"{found}, {oldest}; not returned to their queues: {report['why']}"
    others = (
        f"; other workers may hold them: {', '.join(report['others'][:5])}"
        if report["others"]
        else ""
    )
    return f"{found}, {oldest}{others}"
