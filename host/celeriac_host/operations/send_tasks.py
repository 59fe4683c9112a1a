"""Sends the tasks of rows that were reset to pending, each once, through the app's own Celery.

Touches: the queues of the app's broker; skips rows that no longer name their task.
Undo: removes messages that are still queued; a worker finishes those that it has taken.
"""

from __future__ import annotations

from typing import Any

from celeriac_host.app import listener, messages
from celeriac_host.state.journal import StepJournal
from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 300.0
BUSY_SECONDS = 10.0


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    calls = args["calls"]
    found = _rows(args, host)
    left = [
        {
            "id": call["id"],
            "why": f"{call['row']['table']} {call['row']['id']} no longer names this task",
        }
        for call in calls
        if call["id"] not in found
    ]
    already = _sent_before(args, host, journal, found)
    open_calls = [call for call in calls if call["id"] in found and call["id"] not in already]
    # The rows as they were: whoever continues this can tell from them which tasks have started.
    if journal.get("rows") is None:
        journal.keep("rows", found)
    sent = _send(args, open_calls, host, journal) if open_calls else []
    count = len(sent) + len(already)
    more = f", {len(left)} skipped: their rows no longer name them" if left else ""
    return f"{_tasks(count)} sent{more}", {"sent": count, "left": left}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    ids = [call["id"] for call in args["calls"] if journal.get("sending:" + call["id"])]
    if not ids:
        return None
    said = messages.ask(args, host, "withdraw", ids=ids)
    if "problem" in said:
        raise OperationError(
            f"{_tasks(len(ids))} may still be in the broker: {said['problem']}",
            evidence=said["evidence"],
        )
    taken = len(ids) - len(said["withdrawn"])
    rest = f"; {taken} had been taken by a worker or never sent" if taken else ""
    return f"{_tasks(len(said['withdrawn']))} removed from the broker{rest}"


def _send(
    args: dict[str, Any], calls: list[dict[str, Any]], host: System, journal: StepJournal
) -> list[str]:
    open_ids = {call["id"] for call in calls}
    told: set[tuple[str, str]] = set()

    def hear(message: dict[str, Any]) -> bool | None:
        """Keeps each of these ids once: the process is the app's, and may say anything."""
        for word, name in (("send", "sending"), ("sent", "sent")):
            ident = message.get(word)
            if isinstance(ident, str) and ident in open_ids:
                if (word, ident) not in told:
                    told.add((word, ident))
                    journal.keep(f"{name}:{ident}", True)
                return True if word == "send" else None
        return None

    request = {**listener.app_of(args), "calls": calls}
    report = listener.run(host, "send", request, TIMEOUT_SECONDS, hear)
    if "problem" in report:
        raise OperationError(
            f"could not send the tasks: {report['problem']}", evidence=report["evidence"]
        )
    sent: list[str] = report["sent"]
    return sent


def _sent_before(
    args: dict[str, Any], host: System, journal: StepJournal, found: dict[str, Any]
) -> set[str]:
    """The tasks of an earlier attempt: reported as sent, still in the broker, or started."""
    ids = [call["id"] for call in args["calls"]]
    sure = {each for each in ids if journal.get("sent:" + each)}
    doubtful = [each for each in ids if journal.get("sending:" + each) and each not in sure]
    if not doubtful:
        return sure
    said = messages.ask(args, host, "trace", ids=doubtful)
    unknown = said.get("problem") or said.get("hidden")
    if unknown:
        raise OperationError(
            f"cannot tell whether tasks were sent: {unknown}", evidence=said.get("evidence", [])
        )
    rows = journal.get("rows", {})
    moved = {each for each in doubtful if found.get(each) != rows.get(each)}
    return sure | moved | set(said["owed"]) | set(said["held"])


def _rows(args: dict[str, Any], host: System) -> dict[str, str]:
    """Task id → its row as text; only rows that still name it."""
    store = open_store(args["database"], host, args["unit"], args.get("user"))
    return store.rows_of_calls(args["calls"], BUSY_SECONDS)


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"
