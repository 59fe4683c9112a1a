"""Words for what dead workers left in the broker."""

from __future__ import annotations

from typing import Any


def describe(report: dict[str, Any]) -> str:
    if "problem" in report:
        return f"messages of dead workers were not looked for: {report['problem']}"
    count = report["count"]
    if not count:
        return "no message was left unacked by a dead worker"
    tasks = ", ".join(f"{number} {name}" for name, number in report["tasks"].items())
    found = f"{count} message{'' if count == 1 else 's'} left unacked ({tasks})"
    oldest = f"the oldest for {report['oldestSeconds']:.0f} s"
    restored = report["restored"]
    if restored:
        why = f"; {report['why']}" if report["why"] else ""
        return f"{restored} of {found}, {oldest}, put back into their queues{why}"
    if report["why"]:
        return f"{found}, {oldest}; not put back: {report['why']}"
    others = f"; or held by {', '.join(report['others'][:5])}" if report["others"] else ""
    return f"{found}, {oldest}{others}"
