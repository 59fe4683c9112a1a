"""Operations carried out as one: all of them, or the host is put back as it was.

`carry_out` and `put_back` need a folder with plan.json, the host and somewhere to tell progress:
neither knows of SSH, stdin or stdout.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import stat
import time
from contextlib import suppress
from typing import Any, Callable, Sequence

from celeriac_host import aside, files, lock
from celeriac_host.errors import Fault, OperationError, RunnerGone, describe
from celeriac_host.journal import (
    BACKUPS,
    PLAN,
    Journal,
    read_plan,
    remembered,
    transactions_folder,
)
from celeriac_host.system import System

KEEP_TRANSACTIONS = 20

Emit = Callable[[Any], object]


def apply(
    operations: Sequence[dict[str, Any]], meta: dict[str, Any], host: System, emit: Emit
) -> dict[str, Any]:
    """Under the host's lock. Returns the outcome, also when it was undone. Raises Fault."""
    for operation in operations:
        module_of(operation)
    _make_state(host.state)
    with lock.held(host, meta):
        _undo_interrupted(host, emit)
        folder = _begin(operations, meta, host.state)
        try:
            return carry_out(folder, host, emit)
        finally:
            _prune(host.state)


def undo(ident: str, meta: dict[str, Any], host: System, emit: Emit) -> dict[str, Any]:
    """Puts back what a committed transaction changed, newest step first. Raises Fault."""
    folder = os.path.join(transactions_folder(host.state), ident)
    if not re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{4}", ident) or read_plan(folder) is None:
        raise Fault(f"this host remembers no transaction {ident!r}")
    with lock.held(host, meta):
        work = _Work(folder, host, emit)
        state = work.journal.state()
        if state == "undone":
            raise Fault(f"transaction {ident} was undone already")
        if state == "committed":
            work.refuse_foreign_changes()
        return work.put_back(by=meta["holder"])


def carry_out(folder: str, host: System, emit: Emit) -> dict[str, Any]:
    """The operations of plan.json, one after the other; at the first failure all is undone."""
    work = _Work(folder, host, emit)
    if work.forward():
        return work.outcome("committed")
    return work.put_back()


def put_back(folder: str, host: System, emit: Emit) -> dict[str, Any]:
    """Undoes from the journal alone what was done, and what may be half done."""
    return _Work(folder, host, emit).put_back()


def module_of(operation: dict[str, Any]) -> Any:
    verb = operation.get("op")
    if isinstance(verb, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", verb):
        where = "celeriac_host.operations." + verb.replace("-", "_")
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name != where:
                raise
    raise Fault(f"there is no operation named {verb!r}")


class _Work:
    """A transaction on its way, forward or backward."""

    def __init__(self, folder: str, host: System, emit: Emit) -> None:
        plan = read_plan(folder)
        if plan is None:
            raise Fault(f"{folder}/{PLAN} can't be read")
        self.host = host
        self.emit = emit
        self.id = os.path.basename(folder)
        self.operations: list[dict[str, Any]] = plan["operations"]
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
            self.journal.release()
            self.journal.write("ended", result="committed")
        except (Exception, RunnerGone) as error:
            self._fail(index, error)
            return False
        return True

    def put_back(self, by: str = "") -> dict[str, Any]:
        with self.host.shielded():
            self.journal.release()
            self._record("undoing", by=by)
            for index in reversed(range(len(self.operations))):
                if self.steps[index]["status"] in ("done", "failed", "not-undone"):
                    self._undo(index)
            left = any(step["status"] == "not-undone" for step in self.steps)
            result = "undo-failed" if left else "undone"
            self._record("ended", result=result)
            return self.outcome(result)

    def outcome(self, result: str) -> dict[str, Any]:
        found: dict[str, Any] = {"transaction": self.id, "result": result, "steps": self.steps}
        if self.failure is not None:
            found["failure"] = self.failure
        return found

    def refuse_foreign_changes(self) -> None:
        """A person's later edit is worth more than our undo."""
        kept = [self.journal.step(step["index"]).get("file") for step in self.steps]
        last = {each["path"]: each for each in kept if each is not None}
        theirs = sorted(path for path, each in last.items() if aside.changed(each))
        if theirs:
            raise Fault(
                f"transaction {self.id} is not undone: {', '.join(theirs)} changed since",
                evidence=theirs,
                next="put the change aside, or undo the later transaction first",
            )

    def tell(self, progress: dict[str, Any]) -> None:
        # Whether anybody listens is not this transaction's concern.
        with suppress(Exception):
            self.emit(progress)

    def _do(self, index: int, operation: dict[str, Any]) -> None:
        title = operation.get("title") or operation["op"]
        self.tell({"kind": "step-started", "index": index, "title": title})
        begun = self.begun
        module = module_of(operation)
        if module.check(operation, self.host):
            self.journal.write("already", index=index)
            self._end_step(index, "already", "already so", begun)
            return
        self.journal.write("started", index=index)
        self.steps[index]["status"] = "failed"
        said = module.do(operation, self.host, self.journal.step(index))
        message, result = said if isinstance(said, tuple) else (said, None)
        self.journal.write("done", index=index, message=message, result=result)
        if result is not None:
            self.steps[index]["result"] = result
        self._end_step(index, "done", message, begun)

    def _undo(self, index: int) -> None:
        operation = self.operations[index]
        begun = time.monotonic()
        failed_here = self.failure is not None and self.failure["index"] == index
        try:
            undone = module_of(operation).undo(operation, self.host, self.journal.step(index))
        except Exception as error:
            reason = describe(error)
            self._record("not-undone", index=index, message=reason)
            self._end_step(index, "not-undone", reason, begun)
            return
        self._record("undone", index=index, message=undone)
        if undone is None:
            # It had changed nothing: what was said of it stands.
            return
        if failed_here:
            self.tell({"kind": "note", "message": undone})
            return
        self._end_step(index, "undone", undone, begun)

    def _fail(self, index: int, error: BaseException) -> None:
        message = describe(error)
        if isinstance(error, RunnerGone):
            message = "broken off: the connection to the runner ended"
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
        self._record("failed", index=index, message=message)
        self.tell({"kind": "step-ended", "step": dict(step)})

    def _end_step(self, index: int, status: str, message: str, begun: float) -> None:
        seconds = round(time.monotonic() - begun, 3)
        self.steps[index].update(status=status, message=message, seconds=seconds)
        self.tell({"kind": "step-ended", "step": dict(self.steps[index])})

    def _record(self, event: str, **more: Any) -> None:
        """Undoing goes on though the journal can't be written."""
        try:
            self.journal.write(event, **more)
        except OSError as error:
            self.tell({"kind": "note", "message": f"not in the journal: {describe(error)}"})

    def _recall(self) -> None:
        """How far it came before: another process may have done the steps."""
        for entry in self.journal.entries():
            index = entry.get("index")
            if not isinstance(index, int) or index >= len(self.steps):
                continue
            step, event = self.steps[index], entry["event"]
            if event == "started":
                step.update(status="failed", message="was begun and did not end")
            elif event in ("done", "already", "failed", "not-undone"):
                step.update(status=event, message=entry.get("message") or "already so")
            elif event == "undone" and entry.get("message"):
                step.update(status="undone", message=entry["message"])
            if entry.get("result") is not None:
                step["result"] = entry["result"]


def _skipped(index: int, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": index,
        "op": operation["op"],
        "status": "skipped",
        "message": "not begun",
        "seconds": 0,
    }


def _make_state(state: str) -> None:
    for folder in (state, transactions_folder(state), os.path.join(state, "backups")):
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            about = os.lstat(folder)
        except OSError as error:
            raise Fault(
                f"{folder} can't be made: {error.strerror}; nothing was changed",
                next="Celeriac needs root, or sudo, and a disk that can be written",
            ) from None
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise Fault(f"{folder} is not a directory of root; nothing was changed")
        if stat.S_IMODE(about.st_mode) != 0o700:
            os.chmod(folder, 0o700)


def _begin(operations: Sequence[dict[str, Any]], meta: dict[str, Any], state: str) -> str:
    """Writes down what is to be done, before any of it is."""
    now = time.time()
    ident = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + "-" + os.urandom(2).hex()
    folder = os.path.join(transactions_folder(state), ident)
    plan = {"id": ident, "startedAt": now, "meta": meta, "operations": list(operations)}
    try:
        os.makedirs(os.path.join(folder, BACKUPS), 0o700)
        os.chmod(folder, 0o700)
        journal = Journal(folder)
        journal.reserve()
        journal.write("opened")
        content = json.dumps(plan, indent=1).encode("ascii")
        # Last: a folder without a plan is a transaction that never began.
        files.write(os.path.join(folder, PLAN), content, 0o600, os.geteuid(), os.getegid())
        files.sync_folder(transactions_folder(state))
    except OSError as error:
        files.remove_tree(folder)
        raise Fault(
            f"the journal can't be written to {state}: {error.strerror}; nothing was changed",
            next="free some space on that disk, then run again",
        ) from None
    return folder


def _undo_interrupted(host: System, emit: Emit) -> None:
    """The lock is ours: whoever began a transaction that is still open is dead."""
    for known in remembered(host.state):
        if known["state"] != "open":
            continue
        ident = known["id"]
        host.note(f"undoing transaction {ident} of {known['holder']}, which was cut short")
        folder = os.path.join(transactions_folder(host.state), ident)
        # Its steps are not those of this run: only what it has to say is passed on.
        outcome = put_back(folder, host, lambda each: each["kind"] == "note" and emit(each))
        ends = [f"{step['op']}: {step['message']}" for step in outcome["steps"]]
        how = "is undone now" if outcome["result"] == "undone" else "could not be undone wholly"
        raise Fault(
            f"an earlier transaction ({ident}, {known['action']} of {known['holder']}) "
            f"was cut short and {how}; this run changed nothing",
            evidence=ends,
            next="run again: this run's plan was made before that",
        )


def _prune(state: str) -> None:
    """The last ones are kept; an open one always is."""
    root = transactions_folder(state)
    closed = [known["id"] for known in remembered(state) if known["state"] != "open"]
    names = {known["id"] for known in remembered(state)}
    never_began = [name for name in os.listdir(root) if name not in names]
    for ident in [*closed[:-KEEP_TRANSACTIONS], *never_began]:
        files.remove_tree(os.path.join(root, ident))
