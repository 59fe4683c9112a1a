"""What the undo of transactions would do, from their journals: for a plan that people read."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state.journal import IDENT, Journal, read_plan, transactions_folder
from celeriac_host.system.system import System

DIFF_LIMIT = 16 * 1024
# An answer is one line of at most 1 MiB.
LIMIT = 400 * 1024
ROWS_LIMIT = 200


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    """In the order of the undo: the steps that were done, the last first."""
    left = LIMIT
    found = []
    for ident in args["transactions"]:
        folder = os.path.join(transactions_folder(host.state), ident)
        plan = read_plan(folder) if IDENT.fullmatch(ident) else None
        if plan is None:
            continue
        done = {each.get("index") for each in Journal(folder).entries() if each["event"] == "done"}
        steps = []
        for index, operation in reversed(list(enumerate(plan["operations"]))):
            if index not in done:
                continue
            diff = operation.get("diff") or ""
            short = diff if len(diff) <= min(DIFF_LIMIT, left) else ""
            rows = _rows(operation)
            listed = rows[: max(min(ROWS_LIMIT, left // 200), 0)]
            left -= len(short) + sum(map(len, listed))
            steps.append(
                {
                    "op": operation["op"],
                    "unit": operation.get("unit"),
                    "path": operation.get("path"),
                    "title": operation.get("title", operation["op"]),
                    "diff": short,
                    "cut": short != diff,
                    "rows": listed,
                    "rowCount": len(rows),
                }
            )
        found.append({"id": ident, "steps": steps})
    return found


def _rows(operation: dict[str, Any]) -> list[str]:
    """Each row of a repair, as it will be again; those that changed since are skipped then."""
    if operation["op"] != "repair-jobs":
        return []
    lines = []
    for row in operation.get("rows", []):
        change = row["change"]
        name = f"{row['table']} {row['id']}"
        if change["kind"] == "delete":
            lines.append(f"{name}: written again")
        elif change["kind"] != "keep":
            columns = (f"{each} back to {row['seen'].get(each)!r}" for each in change["set"])
            lines.append(f"{name}: {', '.join(columns)}"[:500])
    return lines
