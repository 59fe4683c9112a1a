"""What is done away from any connection: a transaction to its end, and looking after the host.

carry-out ID LOCK     the operations of a transaction; LOCK is an open handle of the lock
tend LOCK             what was begun and not ended, whoever began it
guard                 the same for the timer: only when nobody works, and what is due
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any, Callable, Dict, Sequence

from celeriac_host.state import ledger
from celeriac_host.state.journal import read_plan, remembered, transactions_folder
from celeriac_host.system.errors import GoingDown
from celeriac_host.system.system import System
from celeriac_host.transaction import guard, live, lock, runner

TEND = "tend"
SELF = {"holder": "the host itself", "action": "guard"}

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
    outcome = runner.carry_out(folder, host, said.tell)
    runner.prune(host.state)
    guard.disarm(host)
    said.tell({"kind": "outcome", "outcome": outcome})
    held.release()


def _tend(held: lock.Lock, host: System) -> None:
    held.label(SELF)
    said = live.Live(TEND)
    deeds = tend(host, said.tell)
    guard.disarm(host)
    said.tell({"kind": "outcome", "outcome": {"deeds": deeds}})
    held.release()


def _guard(host: System) -> None:
    held = lock.try_take(host.state)
    if held is None:
        return
    held.label(SELF)
    tend(host, print)
    for waiting in ledger.all_awaiting(host.state):
        if ledger.is_due(waiting):
            rolling = {
                "transactions": waiting["transactions"],
                "by": SELF["holder"],
                "why": guard.tell_next(waiting),
            }
            ledger.begin_rolling(host.state, rolling)
            tend(host, print)
    guard.disarm(host)
    held.release()


def tend(host: System, emit: Emit) -> list[dict[str, Any]]:
    """Puts back what is open, and goes on with a roll-back; answers what became of each."""
    deeds = []
    rolling = ledger.rolling_now(host.state)
    # One whose roll-back was cut is open again; who asked for that, and why, stays so.
    rolled = rolling["transactions"] if rolling is not None else []
    for known in remembered(host.state):
        if known["state"] == "open" and known["id"] not in rolled:
            why = f"it was cut short ({known['holder']})"
            deeds.append(_put_back(known["id"], SELF["holder"], why, host, emit))
    if rolling is not None:
        states = {known["id"]: known["state"] for known in remembered(host.state)}
        for ident in rolling["transactions"]:
            # Those put back already, before a cut, are not done again.
            if states.get(ident) not in (None, "undone"):
                deeds.append(_put_back(ident, rolling["by"], rolling["why"], host, emit))
        ledger.end_rolling(host.state)
    return deeds


def _put_back(ident: str, by: str, why: str, host: System, emit: Emit) -> dict[str, Any]:
    emit({"kind": "note", "message": f"putting back transaction {ident}: {why}"})
    folder = os.path.join(transactions_folder(host.state), ident)
    outcome = runner.put_back(folder, host, emit, by, why)
    return {**outcome, "by": by, "why": why}
