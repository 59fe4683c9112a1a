"""The detached process: applies a transaction, and finishes what was interrupted.

carry-out ID LOCK     apply the operations of a transaction; LOCK is an open handle of the lock
tend LOCK             undo interrupted transactions and finish a rollback, whoever started them
guard                 the same for the timer, if nobody holds the lock; also rolls back what is due
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any, Callable, Dict, Sequence

from celeriac_host.state import ledger, sweeping, webhook
from celeriac_host.state.journal import HOST_ITSELF, read_plan, remembered, transactions_folder
from celeriac_host.system.errors import GoingDown
from celeriac_host.system.system import System
from celeriac_host.transaction import guard, live, lock, runner

TEND = "tend"
SELF = {"holder": HOST_ITSELF, "action": "guard"}

Emit = Callable[[Dict[str, Any]], object]


def main(words: Sequence[str]) -> None:
    host = System()

    def leave(signum: int, frame: object) -> None:
        host.runner_gone = True

    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, leave)
    with suppress(GoingDown):
        if words[0] == "carry-out":
            _carry_out(words[1], lock.Lock(int(words[2])), host)
        elif words[0] == "tend":
            _tend(lock.Lock(int(words[1])), host)
        elif words[0] == "guard":
            _guard(host)


def _carry_out(ident: str, held: lock.Lock, host: System) -> None:
    said = live.Live(ident)
    folder = os.path.join(transactions_folder(host.state), ident)
    plan = read_plan(folder)
    held.label(plan["meta"] if plan else SELF)
    sweeping.sweep(host.state)
    outcome = runner.carry_out(folder, host, said.tell)
    runner.prune(host.state)
    guard.disarm(host)
    said.tell({"kind": "outcome", "outcome": outcome})
    held.drop()


def _tend(held: lock.Lock, host: System) -> None:
    held.label(SELF)
    said = live.Live(TEND)
    deeds = tend(host, said.tell)
    guard.disarm(host)
    said.tell({"kind": "outcome", "outcome": {"deeds": deeds}})
    held.drop()


def _guard(host: System) -> None:
    held = lock.try_take(host.state)
    if held is None:
        return
    held.label(SELF)
    deeds = tend(host, print)
    for waiting in ledger.all_awaiting(host.state):
        if ledger.is_due(waiting):
            rollback = {
                "transactions": waiting["transactions"],
                "by": SELF["holder"],
                "why": guard.overdue(waiting),
            }
            ledger.begin_rollback(host.state, rollback)
            deeds += tend(host, print)
    guard.disarm(host)
    held.drop()
    # Last: nobody waits for it, and nothing depends on it.
    for event in _events(deeds, host):
        webhook.tell(host, event)


def _events(deeds: list[dict[str, Any]], host: System) -> list[dict[str, Any]]:
    """What the host undid alone: one event for all transactions of a unit with the same reason."""
    found: dict[tuple[str, str], str] = {}
    for deed in deeds:
        folder = os.path.join(transactions_folder(host.state), deed["transaction"])
        meta = (read_plan(folder) or {}).get("meta", {})
        about = (str(meta.get("unit") or "the host"), str(deed["why"]))
        if found.get(about) != "undo-failed":
            found[about] = str(deed["result"])
    how = {"undone": "was rolled back by the host itself"}
    return [
        {
            "unit": unit,
            "what": f"{how.get(result, 'could not be rolled back completely')}: {why}",
            "at": time.time(),
        }
        for (unit, why), result in found.items()
    ]


def tend(host: System, emit: Emit) -> list[dict[str, Any]]:
    """Undoes open transactions and finishes a rollback; returns the outcome of each."""
    deeds = []
    # First: a folder of ours with such a file in it would not be removed.
    sweeping.sweep(host.state)
    ledger.forget_settled(host.state)
    rollback = ledger.current_rollback(host.state)
    # A transaction whose rollback was interrupted is open again; it keeps who asked and why.
    rolled = rollback["transactions"] if rollback is not None else []
    for known in remembered(host.state):
        if known["state"] == "open" and known["id"] not in rolled:
            why = f"interrupted ({known['holder']})"
            deeds.append(_undo(known["id"], SELF["holder"], why, host, emit))
    if rollback is not None:
        states = {known["id"]: known["state"] for known in remembered(host.state)}
        for ident in rollback["transactions"]:
            # Skip those that were already undone before an interruption.
            if states.get(ident) not in (None, "undone"):
                deeds.append(_undo(ident, rollback["by"], rollback["why"], host, emit))
        ledger.end_rollback(host.state)
    return deeds


def _undo(ident: str, by: str, why: str, host: System, emit: Emit) -> dict[str, Any]:
    emit({"kind": "note", "message": f"undoing transaction {ident}: {why}"})
    folder = os.path.join(transactions_folder(host.state), ident)
    outcome = runner.undo(folder, host, emit, by, why)
    return {**outcome, "by": by, "why": why}
