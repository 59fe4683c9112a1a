"""Changes rows of a job database in one transaction, if they are as the plan saw them.

Touches: those rows; /var/lib/celeriac/resets.json.
Undo: restores each row, unless it has changed since.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.facts import tasks
from celeriac_host.state.journal import StepJournal
from celeriac_host.store import resets
from celeriac_host.store.store import Row, Store
from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

UNDO_BUSY_SECONDS = 30.0


def check(args: dict[str, Any], host: System) -> bool:
    """Whether every row already has its new values."""
    return _store(args, host).is_so(args["rows"], args["busyTimeoutSeconds"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    path = args["database"]
    alive = _look_again(args, host)
    store = _store(args, host)
    result = store.change(args["rows"], alive, args["busyTimeoutSeconds"], journal.keep)
    _count_resets(host, journal, path)
    left = f", {len(result['skipped'])} skipped" if result["skipped"] else ""
    done = f"{result['updated']} updated, {result['deleted']} deleted{left} in {path}"
    return done, result


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    counted = journal.get("resets")
    if counted and journal.get("resetsUndone") is None:
        journal.keep("resetsUndone", True)
        resets.count(host.state, args["database"], counted, -1)
    kept = _touched(journal)
    if not kept or journal.get("unchanged"):
        return None
    path = args["database"]
    restored, left = _store(args, host).restore_rows(kept, UNDO_BUSY_SECONDS)
    if left:
        names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
        return f"{restored} rows of {path} restored; skipped, changed since: {names}"
    return f"{restored} rows of {path} restored"


def _store(args: dict[str, Any], host: System) -> Store:
    # Plans of older versions name no user: then it is the unit's.
    return open_store(args["database"], host, args.get("unit", ""), args.get("user"))


def _touched(journal: StepJournal) -> list[Row]:
    left = set(journal.get("left", ()))
    return [row for row in journal.get("rows") or () if row.get("group") not in left]


def _look_again(args: dict[str, Any], host: System) -> dict[str, str]:
    """Group → why its job is alive after all. Raises OperationError if that is unknown."""
    again = args.get("lookAgain")
    if not again:
        return {}
    ids = [each["task"] for each in again["tasks"] if each["task"] is not None]
    found = tasks.look({**again, "ids": ids}, host)
    if found["kind"] == "unknown":
        raise OperationError(f"{found['problem']}; nothing was changed")
    return living(again["tasks"], found)


def living(awaited: list[dict[str, Any]], found: dict[str, Any]) -> dict[str, str]:
    """Group → why it lives, by the tasks that its rows wait for and what is known of them."""
    held, owed = set(found["held"]), set(found["owed"])
    alive: dict[str, str] = {}
    for each in awaited:
        if each["task"] is None:
            if found["hidden"]:
                alive.setdefault(each["group"], f"names no task: {found['hidden']}")
            elif found["holding"] or found["waiting"]:
                alive.setdefault(
                    each["group"],
                    f"names no task, and may be one of the {found['holding']} that workers hold "
                    f"or of the {found['waiting']} that wait in the broker",
                )
        elif each["task"] in held:
            alive[each["group"]] = f"is still running: a worker holds task {each['task']}"
        elif each["task"] in owed:
            alive.setdefault(
                each["group"], f"is still queued: task {each['task']} waits in the broker"
            )
        elif found["hidden"]:
            alive.setdefault(each["group"], f"may still be queued: {found['hidden']}")
    return alive


def _count_resets(host: System, journal: StepJournal, path: str) -> None:
    rows = [row["reset"] for row in _touched(journal) if "reset" in row]
    if rows and journal.get("resets") is None:
        journal.keep("resets", rows)
        resets.count(host.state, path, rows, 1)
