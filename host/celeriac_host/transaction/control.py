"""Handles the requests that change the host. A detached process does the work, see `work.py`."""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Sequence

from celeriac_host.state import ledger, notices, proofs, sampler_timer, sweeping, version
from celeriac_host.state.journal import (
    BACKUPS,
    IDENT,
    PLAN,
    Journal,
    mark_told,
    next_number,
    read_plan,
    remembered,
    transactions_folder,
)
from celeriac_host.system import files
from celeriac_host.system.errors import Fault, OperationError, describe
from celeriac_host.system.system import System
from celeriac_host.transaction import detached, guard, live, lock, runner, work

# The guard may already be undoing it: at most a drain and a start.
RECOVER_SECONDS = 3600.0

Emit = Callable[[Dict[str, Any]], object]


def apply(
    operations: Sequence[dict[str, Any]], meta: dict[str, Any], host: System, emit: Emit
) -> dict[str, Any]:
    """Applies a plan under the host's lock. Returns the outcome, even if undone. Raises Fault."""
    for operation in operations:
        runner.module_of(operation)
    _make_state(host.state)
    with _locked(host, meta) as held:
        if _interrupted(host.state):
            _report_interrupted(_tend(held, host, emit))
        ident = _begin(operations, meta, host)
        detached.launch(host, ident, ["carry-out", ident], held)
    return follow({"transactions": [ident], "live": ident}, host, emit)


def undo(
    idents: Sequence[str],
    meta: dict[str, Any],
    host: System,
    emit: Emit,
    newest: str | None = None,
) -> dict[str, Any]:
    """Undoes committed transactions, the newest first. Raises Fault.

    `newest`: the transaction of the release that ran when the caller looked, if it depends on that.
    """
    for ident in idents:
        if read_plan(_folder(ident, host)) is None:
            raise Fault(f"unknown transaction on this host: {ident!r}")
    _make_state(host.state)
    with _locked(host, meta) as held:
        _refuse_newer(newest, meta, host)
        states = {known["id"]: known["state"] for known in remembered(host.state)}
        for ident in idents:
            if states[ident] == "undone":
                raise Fault(f"transaction {ident} is already undone")
        if all(states[ident] == "committed" for ident in idents):
            runner.refuse_foreign_changes([_folder(ident, host) for ident in idents], host)
        try:
            ledger.begin_rollback(
                host.state,
                {"transactions": list(idents), "by": meta["holder"], "why": "requested"},
            )
        except OSError as error:
            ledger.end_rollback(host.state)
            raise _unwritable(host.state, error) from None
        _arm(host, lambda: ledger.end_rollback(host.state))
        detached.launch(host, work.TEND, ["tend"], held)
    return follow({"transactions": list(idents), "live": work.TEND}, host, emit)


def _refuse_newer(newest: str | None, meta: dict[str, Any], host: System) -> None:
    if newest is None:
        return
    unit = meta["unit"]
    release = proofs.current(host.state, unit)
    if release is None or release["transaction"] != newest:
        raise Fault(
            f"another run deployed or rolled back {unit} while this one waited; nothing was undone",
            next="run this again if it is still wanted",
        )


def follow(opened: dict[str, Any], host: System, emit: Emit) -> dict[str, Any]:
    """Follows a transaction to its end, also over another connection. Raises Fault, RunnerGone."""
    folders = [_folder(ident, host) for ident in opened["transactions"]]
    if any(read_plan(folder) is None for folder in folders):
        raise Fault(f"unknown transaction on this host: {', '.join(opened['transactions'])}")
    emit({"kind": "opened", **opened})
    outcome = live.follow(opened["live"], host, emit)
    if outcome is not None and "deeds" not in outcome:
        return outcome
    complaints = detached.complaints(opened["live"])
    if any(Journal(folder).state() == "open" for folder in folders):
        # The process was killed. Undo its work now, not at the guard's next tick.
        message = "the transaction process on the host exited unexpectedly"
        emit({"kind": "note", "message": message})
        recover({**work.SELF, "lockTimeoutSeconds": RECOVER_SECONDS}, host, emit)
    ends = [runner.recall(folder, host) for folder in folders]
    found = {**ends[0], "steps": [step for end in ends for step in end["steps"]]}
    if any(end["result"] == "undo-failed" for end in ends):
        found["result"] = "undo-failed"
    if complaints and found["result"] != "committed" and "failure" in found:
        found["failure"].setdefault("evidence", complaints)
    return found


def recover(meta: dict[str, Any], host: System, emit: Emit) -> dict[str, Any]:
    """Undoes interrupted transactions, and removes files that killed writers left.

    Raises Fault, RunnerGone.
    """
    if not _interrupted(host.state) and not sweeping.find(host.state):
        return {"deeds": []}
    with _locked(host, meta) as held:
        if _interrupted(host.state):
            return {"deeds": _tend(held, host, emit)}
        for path in sweeping.sweep(host.state):
            emit({"kind": "note", "message": f"removed {path}, which an interrupted run had left"})
    return {"deeds": []}


def confirm(
    unit: str,
    idents: Sequence[str],
    meta: dict[str, Any],
    host: System,
    figures: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Confirms releases that await their verdict. Raises Fault, RunnerGone.

    `figures`: what the gate has measured of the newest; they are of all that it confirms together.
    """
    with _locked(host, meta), host.shielded():
        waiting = ledger.awaiting(host.state, unit)
        # They were rolled back meanwhile, or a newer release was not verified.
        if waiting is None or waiting["transactions"] != list(idents):
            return {"confirmed": False}
        by = meta["holder"]
        ledger.judge(host.state, unit, idents, "confirmed", by, "verified", figures)
        ledger.stop_awaiting(host.state, unit)
        guard.disarm(host)
        return {"confirmed": True}


def prove(message: dict[str, Any], host: System) -> dict[str, Any]:
    """Records what the soak of an unproven release has shown, and ends its samples.

    Raises Fault, RunnerGone, OSError.
    """
    unit, meta, verdict = message["unit"], message["meta"], message["verdict"]
    with _locked(host, meta), host.shielded():
        release = proofs.current(host.state, unit)
        # It was replaced or undone meanwhile.
        if release is None or release["transaction"] != message["transaction"]:
            return {"recorded": False}
        if release["state"] == proofs.UNPROVEN:
            about = {"soak": verdict, "by": meta["holder"], "why": message["why"]}
            about["figures"] = message["figures"]
            ledger.prove(host.state, unit, release["transaction"], about)
        elif release["state"] != verdict:
            return {"recorded": False}
        # Also where another run has recorded it: that run may have ended before this.
        sampler_timer.stop(host, unit)
        return {"recorded": True}


def acknowledge(
    idents: Sequence[str], host: System, told: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Records that a run has reported what the host did alone. Raises OSError on a full disk.

    `told`: the lasting findings that it told, and about what.
    """
    mark_told(host.state, idents)
    if told is not None:
        notices.remember(host.state, told["about"], told["messages"])
    return {"acknowledged": len(idents)}


@contextmanager
def _locked(host: System, meta: dict[str, Any]) -> Iterator[lock.Lock]:
    """The host's lock, and the state as one of this version: an older Celeriac reads it no more.

    Raises Fault, RunnerGone.
    """
    with lock.take(host, meta) as held:
        try:
            version.claim(host.state)
        except OSError as error:
            raise _unwritable(host.state, error) from None
        yield held


def _interrupted(state: str) -> bool:
    is_open = any(known["state"] == "open" for known in remembered(state))
    return is_open or ledger.current_rollback(state) is not None


def _tend(held: lock.Lock, host: System, emit: Emit) -> list[dict[str, Any]]:
    _arm(host, lambda: None)
    detached.launch(host, work.TEND, ["tend"], held)
    outcome = live.follow(work.TEND, host, lambda each: each["kind"] == "note" and emit(each))
    if outcome is None:
        raise Fault(
            "could not undo an interrupted transaction: the process doing it exited unexpectedly",
            evidence=detached.complaints(work.TEND),
            next=f"check the evidence; the host retries automatically every {guard.TICK_SECONDS} s",
        )
    deeds: list[dict[str, Any]] = outcome["deeds"]
    return deeds


def _report_interrupted(deeds: list[dict[str, Any]]) -> None:
    whole = all(deed["result"] == "undone" for deed in deeds)
    names = ", ".join(deed["transaction"] for deed in deeds)
    steps = [step for deed in deeds for step in deed["steps"]]
    raise Fault(
        f"an earlier transaction ({names}) was interrupted and "
        f"{'has now been undone' if whole else 'could not be undone completely'}; "
        "this run changed nothing",
        evidence=[f"{step['op']}: {step['message']}" for step in steps],
        next="run again to make a new plan",
    )


def _folder(ident: str, host: System) -> str:
    if not IDENT.fullmatch(ident):
        raise Fault(f"unknown transaction on this host: {ident!r}")
    return os.path.join(transactions_folder(host.state), ident)


def _make_state(state: str) -> None:
    version.require(state)
    for folder in (state, transactions_folder(state), os.path.join(state, "backups")):
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            about = os.lstat(folder)
        except OSError as error:
            raise Fault(
                f"cannot create {folder}: {error.strerror}; nothing was changed",
                next="Celeriac needs root (or sudo) and a writable disk",
            ) from None
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise Fault(f"{folder} is not a folder owned by root; nothing was changed")
        if stat.S_IMODE(about.st_mode) != 0o700:
            os.chmod(folder, 0o700)


def _begin(operations: Sequence[dict[str, Any]], meta: dict[str, Any], host: System) -> str:
    """Records the plan and arms the guard, before anything is changed."""
    now = time.time()
    ident = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + "-" + os.urandom(2).hex()
    folder = os.path.join(transactions_folder(host.state), ident)
    plan = {
        "id": ident,
        "number": next_number(host.state),
        "startedAt": now,
        "meta": meta,
        "operations": list(operations),
    }
    try:
        os.makedirs(os.path.join(folder, BACKUPS), 0o700)
        os.chmod(folder, 0o700)
        journal = Journal(folder)
        journal.reserve()
        journal.write("opened")
        content = json.dumps(plan, indent=1).encode("ascii")
        # Last: a folder without a plan is a transaction that never started.
        files.write(os.path.join(folder, PLAN), content, 0o600, os.geteuid(), os.getegid())
        files.sync_folder(transactions_folder(host.state))
    except OSError as error:
        files.remove_tree(folder)
        raise _unwritable(host.state, error) from None
    _arm(host, lambda: files.remove_tree(folder))
    return ident


def _arm(host: System, give_up: Callable[[], object]) -> None:
    """Raises Fault if that fails; then nothing of the guard stays."""
    try:
        guard.arm(host, give_up)
    except OSError as error:
        raise _unwritable(host.state, error) from None
    except OperationError as error:
        raise Fault(
            f"could not arm the guard: {describe(error)}; nothing was changed",
            evidence=error.evidence,
            next="see `systemctl status celeriac-guard.timer` on the server",
        ) from None


def _unwritable(state: str, error: OSError) -> Fault:
    return Fault(
        f"cannot write the journal to {error.filename or state}: {error.strerror}; "
        "nothing was changed",
        next="free some space on that disk, then run again",
    )
