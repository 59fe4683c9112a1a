"""Applies operations as one transaction: all of them, or everything is undone.

`carry_out` and `undo` need a folder with plan.json, the host, and a callback for progress: neither
knows of SSH, stdin or stdout.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import time
from contextlib import suppress
from typing import Any, Callable, Sequence

from celeriac_host.app import shared_modules
from celeriac_host.state import aside, ledger
from celeriac_host.state.journal import (
    PLAN,
    TODO,
    Journal,
    StepJournal,
    is_untold,
    never_started,
    read_plan,
    remembered,
    transactions_folder,
)
from celeriac_host.system import files, units
from celeriac_host.system.errors import (
    MESSAGE_LIMIT,
    Fault,
    GoingDown,
    OperationError,
    RunnerGone,
    cut,
    describe,
)
from celeriac_host.system.system import System

KEEP_TRANSACTIONS = 20
# Operations of older versions that are not undone any more, with what is said instead.
RETIRED = {"settle-jobs": "the jobs that it settled stay as they are: their worker was gone"}

Emit = Callable[[Any], object]


def carry_out(folder: str, host: System, emit: Emit) -> dict[str, Any]:
    """Applies the operations of plan.json in order; undoes all of them after a failure."""
    work = _Work(folder, host, emit)
    if work.forward():
        if any(map(shared_modules.brings_version, work.operations)):
            work.sweep()
        return work.outcome("committed")
    return work.undo()


def undo(folder: str, host: System, emit: Emit, by: str = "", why: str = "") -> dict[str, Any]:
    """Undoes finished and unfinished steps, from the journal alone."""
    return _Work(folder, host, emit).undo(by, why)


def recall(folder: str, host: System) -> dict[str, Any]:
    """The outcome so far, from the journal alone. Changes nothing."""
    work = _Work(folder, host, lambda progress: None)
    return work.outcome(work.journal.state())


def refuse_foreign_changes(folders: Sequence[str], host: System) -> None:
    """Raises Fault if files were changed since: our undo must not overwrite them. Newest first."""
    last: dict[str, StepJournal] = {}
    for folder in reversed(folders):
        journal = Journal(folder)
        plan = read_plan(folder) or {"operations": []}
        for index in range(len(plan["operations"])):
            step = journal.step(index)
            kept = step.get("file")
            if kept is not None:
                last[kept["path"]] = step
    theirs = sorted(
        path
        for path, step in last.items()
        # A file that a later release of another unit wrote stays; it is no obstacle.
        if aside.changed(step.get("file")) and not shared_modules.relying(step, host)
    )
    if theirs:
        names = ", ".join(map(os.path.basename, folders))
        raise Fault(
            f"transaction {names} not undone: {', '.join(theirs)} changed since",
            evidence=theirs,
            next="revert that change, or undo the later transaction first",
        )


def module_of(operation: dict[str, Any]) -> Any:
    verb = operation.get("op")
    if isinstance(verb, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", verb):
        where = "celeriac_host.operations." + verb.replace("-", "_")
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name != where:
                raise
    raise Fault(f"unknown operation {verb!r}")


class _Work:
    """A transaction in progress, forward or backward."""

    def __init__(self, folder: str, host: System, emit: Emit) -> None:
        plan = read_plan(folder)
        if plan is None:
            raise Fault(f"cannot read {folder}/{PLAN}")
        self.host = host
        self.emit = emit
        self.id = os.path.basename(folder)
        self.operations: list[dict[str, Any]] = plan["operations"]
        self.meta: dict[str, Any] = plan["meta"]
        host.unit = self.meta.get("unit")
        self.confirm_by: float | None = None
        self.release: int | None = None
        self.journal = Journal(folder)
        self.failure: dict[str, Any] | None = None
        self.begun = time.monotonic()
        self.steps = [_skipped(index, each) for index, each in enumerate(self.operations)]
        self._recall()
        host.note = lambda message: self.tell({"kind": "note", "message": message})

    def forward(self) -> bool:
        index = 0
        try:
            for index, operation in enumerate(self.operations):
                self.begun = time.monotonic()
                self.host.heed()
                self._do(index, operation)
            self._commit()
        except (Exception, RunnerGone) as error:
            self._leave_when_going_down()
            self._fail(index, error)
            return False
        return True

    def _commit(self) -> None:
        try:
            self._end()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # Only now: an undo on this disk may need the reserve.
            self.journal.drop_reserve()
            self._end()
        self.journal.drop_reserve()

    def _end(self) -> None:
        """Can be repeated after a failure."""
        self._record_release()
        self.journal.write(
            "ended", result="committed", confirmBy=self.confirm_by, release=self.release
        )

    def _record_release(self) -> None:
        """Before the end is recorded: if interrupted here, the release is undone as well."""
        about = self.meta.get("release")
        if about is None or all(step["status"] != "done" for step in self.steps):
            return
        state, unit = self.host.state, self.meta["unit"]
        plan = {"meta": self.meta, "operations": self.operations}
        self.release = ledger.record(state, self.id, plan)
        within = about.get("confirmWithinSeconds")
        if within is None:
            # It stands on those that still await their verdict: they are not undone beneath it.
            before = ledger.awaiting(state, unit)
            below = before["transactions"] if before else []
            why = "no confirmation required"
            ledger.judge(state, unit, [self.id, *below], "confirmed", "", why)
            ledger.stop_awaiting(state, unit)
        else:
            self.confirm_by = ledger.await_verdict(state, unit, self.id, float(within))

    def sweep(self) -> None:
        """Removes modules that nothing needs any more; no reason to fail."""
        try:
            for line in shared_modules.sweep(self.host):
                self.tell({"kind": "note", "message": line})
        except (OSError, OperationError) as error:
            self.tell(
                {"kind": "note", "message": f"could not remove an unused module: {describe(error)}"}
            )

    def _revoke_release(self, by: str, why: str) -> None:
        unit = self.meta.get("unit")
        if "release" not in self.meta or unit is None:
            return
        try:
            ledger.judge(self.host.state, unit, [self.id], "rolled-back", by, why)
            ledger.stop_awaiting(self.host.state, unit, self.id)
        except OSError as error:
            self.tell(
                {"kind": "note", "message": f"could not write to the ledger: {describe(error)}"}
            )

    def _leave_when_going_down(self) -> None:
        """A host that is shutting down starts nothing: the guard continues after the boot."""
        if units.going_down(self.host):
            raise GoingDown

    def undo(self, by: str = "", why: str = "") -> dict[str, Any]:
        with self.host.shielded():
            self.journal.drop_reserve()
            self._record("undoing", by=by, why=why)
            for index in reversed(range(len(self.operations))):
                if self.steps[index]["status"] in ("done", "failed", "not-undone"):
                    self._undo_step(index)
            self.sweep()
            left = any(step["status"] == "not-undone" for step in self.steps)
            result = "undo-failed" if left else "undone"
            self._revoke_release(by, why)
            self._record("ended", result=result)
            return self.outcome(result)

    def outcome(self, result: str) -> dict[str, Any]:
        found: dict[str, Any] = {"transaction": self.id, "result": result, "steps": self.steps}
        if self.confirm_by is not None:
            found["confirmBy"] = self.confirm_by
        if self.release is not None and result == "committed":
            found["release"] = self.release
        if self.failure is not None:
            found["failure"] = self.failure
        return found

    def tell(self, progress: dict[str, Any]) -> None:
        # The transaction goes on even if nobody listens.
        with suppress(Exception):
            self.emit(progress)

    def _do(self, index: int, operation: dict[str, Any]) -> None:
        title = operation.get("title") or operation["op"]
        self.tell({"kind": "step-started", "index": index, "title": title})
        begun = self.begun
        module = module_of(operation)
        if module.check(operation, self.host):
            self.journal.write("already", index=index)
            self._end_step(index, "already", "no change needed", begun)
            return
        self.journal.write("started", index=index)
        self.steps[index]["status"] = "failed"
        said = module.do(operation, self.host, self.journal.step(index))
        message, result = said if isinstance(said, tuple) else (said, None)
        message = cut(message, MESSAGE_LIMIT)
        self.journal.write("done", index=index, message=message, result=result)
        if result is not None:
            self.steps[index]["result"] = result
        self._end_step(index, "done", message, begun)

    def _undo_step(self, index: int) -> None:
        operation = self.operations[index]
        begun = time.monotonic()
        failed_here = self.failure is not None and self.failure["index"] == index
        try:
            undone = RETIRED.get(operation["op"]) or module_of(operation).undo(
                operation, self.host, self.journal.step(index)
            )
        except Exception as error:
            self._leave_when_going_down()
            reason = describe(error)
            self._record("not-undone", index=index, message=reason)
            self._end_step(index, "not-undone", reason, begun)
            return
        todo = self.journal.step(index).get(TODO)
        if todo is not None:
            self.steps[index]["todo"] = todo
        self._record("undone", index=index, message=undone)
        if undone is None:
            # It had changed nothing: its message stays.
            return
        if failed_here:
            self.tell({"kind": "note", "message": undone})
            return
        self._end_step(index, "undone", undone, begun)

    def _fail(self, index: int, error: BaseException) -> None:
        message = describe(error)
        if isinstance(error, RunnerGone):
            message = "interrupted by a signal on the host"
        self.failure = {"index": index, "message": message}
        if isinstance(error, OperationError):
            if error.ran is not None:
                self.failure.update(ran=list(error.ran), exitCode=error.exit_code)
            if error.evidence:
                self.failure["evidence"] = list(error.evidence)
        if not self.steps:
            return
        step = self.steps[index]
        seconds = round(time.monotonic() - self.begun, 3)
        step.update(status="failed", message=message, seconds=seconds)
        self._record("failed", index=index, message=message, failure=self.failure)
        self.tell({"kind": "step-ended", "step": dict(step)})

    def _end_step(self, index: int, status: str, message: str, begun: float) -> None:
        seconds = round(time.monotonic() - begun, 3)
        self.steps[index].update(status=status, message=message, seconds=seconds)
        self.tell({"kind": "step-ended", "step": dict(self.steps[index])})

    def _record(self, event: str, **more: Any) -> None:
        """An undo goes on even if the journal cannot be written."""
        try:
            self.journal.write(event, **more)
        except OSError as error:
            self.tell(
                {"kind": "note", "message": f"could not write to the journal: {describe(error)}"}
            )

    def _recall(self) -> None:
        """Reads the progress so far: another process may have done the steps."""
        for entry in self.journal.entries():
            if entry["event"] == "ended":
                self.confirm_by = entry.get("confirmBy")
                self.release = entry.get("release")
            self.failure = entry.get("failure") or self.failure
            index = entry.get("index")
            if not isinstance(index, int) or index >= len(self.steps):
                continue
            step, event = self.steps[index], entry["event"]
            if event == "started":
                step.update(status="failed", message="started but did not finish")
            elif event in ("done", "already", "failed", "not-undone"):
                step.update(status=event, message=entry.get("message") or "no change needed")
            elif event == "undone" and entry.get("message"):
                step.update(status="undone", message=entry["message"])
            elif event == "kept" and entry.get("name") == TODO:
                step["todo"] = entry["value"]
            if entry.get("result") is not None:
                step["result"] = entry["result"]


def _skipped(index: int, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": index,
        "op": operation["op"],
        "status": "skipped",
        "message": "not started",
        "seconds": 0,
    }


def prune(state: str) -> None:
    """Keeps the newest of each action, so that frequent clean-ups do not displace deploys.

    Also keeps what no run has reported yet.
    """
    root = transactions_folder(state)
    known = remembered(state)
    closed: dict[tuple[str, str], list[str]] = {}
    for each in known:
        if each["state"] != "open" and not is_untold(each):
            closed.setdefault((each["action"], each["unit"] or ""), []).append(each["id"])
    waiting = {ident for each in ledger.all_awaiting(state) for ident in each["transactions"]}
    old = [ident for idents in closed.values() for ident in idents[:-KEEP_TRANSACTIONS]]
    for ident in [*old, *never_started(state)]:
        if ident not in waiting:
            files.remove_tree(os.path.join(root, ident))
