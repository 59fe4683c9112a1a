"""Stops or restarts a worker's unit, or a worker outside it; nothing else does.

A worker that ends while it waits for its broker's next message may lose that message: it is taken
off the queue and sent over a connection that closes. So its consumers are cancelled first, if
possible; the unit is stopped in any case.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from celeriac_host.app import consumers, listener
from celeriac_host.state.journal import TODO, Journal, StepJournal, read_plan
from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError, describe
from celeriac_host.system.system import System, Tick
from celeriac_host.system.unit_values import RESTING

CONSUMERS = "worker"
RESTART = "restart"
# For the undo of older plans without a timeout. systemd's own stop timeout is far shorter.
LONGEST_UNDO_SECONDS = 7200.0


class Stopped(NamedTuple):
    """The result of a stop."""

    until: float
    """The last moment at which it may have taken a task, on the clock since boot."""
    remark: str
    """For the end of a sentence; may be empty."""


def stop(
    args: dict[str, Any],
    host: System,
    journal: StepJournal,
    timeout: float,
    tick: Tick | None = None,
) -> Stopped:
    """Cancels the consumers, then `systemctl stop`. Raises OperationError, RunnerGone.

    `args` has unit, interpreter, app and pythonPath.
    """
    return _control("stop", args, host, journal, timeout, tick)


def restart(
    args: dict[str, Any],
    host: System,
    journal: StepJournal,
    timeout: float,
    tick: Tick | None = None,
) -> Stopped:
    """`systemctl restart`, likewise."""
    return _control("restart", args, host, journal, timeout, tick)


def before_end(args: dict[str, Any], process: processes.Process, host: System) -> str:
    """Cancels the consumers of a worker that is about to get a signal; a remark, or empty.

    A plan of an older version does not name the app, and a stopped process does not answer.
    """
    known = all(name in args for name in listener.APP_FIELDS) and args["app"]
    if process.state == "T" or not known:
        return ""
    host.note(f"process {process.pid}: cancelling its consumers before it ends")
    problem = consumers.cancel_process(args, process, host)
    return "" if problem is None else lost(problem)


def take_back(
    args: dict[str, Any], host: System, journal: StepJournal, idle: bool = False
) -> str | None:
    """Has a worker that was not stopped consume again; None if there is no need or no worker.

    Before Celery 5.7, without the support module, it would consume until its next reconnect only.
    If it is idle, and the code on the disk imports, the undo of guard-unit restarts it instead. If
    all fails, the worker is stopped, and that undo starts it again.
    """
    unit, worker = args["unit"], journal.get(CONSUMERS)
    if worker is None or not worker["queues"]:
        return None
    now = units.show(host, unit, ("InvocationID", "ActiveState", "MainPID"))
    if not consumers.is_running(worker, now):
        return None
    or_restart = idle and _is_guarded(journal, unit)
    problem, lasting, left = consumers.give_back(args, worker, host, or_restart)
    if problem is not None and or_restart:
        # It may not start again: better a worker that consumes for the time being.
        problem, lasting, left = consumers.give_back(args, worker, host)
    names = ", ".join(sorted(worker["queues"]))
    if left:
        host.cancelled[unit] = worker["invocation"]
        journal.keep(RESTART, worker["invocation"])
        return f"{unit} is idle and will be restarted to consume {names} again"
    if problem is None:
        if not lasting:
            journal.keep(TODO, _todo(unit, names))
        return f"{unit} consumes {names} again (main {now['MainPID']})"
    host.cancelled[unit] = worker["invocation"]
    tick = Tick(5, lambda: host.note(f"{unit}: waiting for its stop"))
    stop(args, host, journal, undo_timeout(args), tick)
    return f"{unit} stopped to be started again: it could not consume {names} again ({problem})"


def is_to_restart(journal: StepJournal, invocation: str) -> bool:
    """Whether another step of the transaction left this run of the unit for a restart."""
    return any(
        entry["event"] == "kept" and entry["name"] == RESTART and entry["value"] == invocation
        for entry in Journal(journal.folder).entries()
    )


def _is_guarded(journal: StepJournal, unit: str) -> bool:
    plan = read_plan(journal.folder) or {"operations": []}
    return any(each["op"] == "guard-unit" and each["unit"] == unit for each in plan["operations"])


def group_of(unit: str, seen: dict[str, str]) -> str:
    """Its cgroup, by its properties. systemd names none once the unit has stopped."""
    return seen.get("ControlGroup") or f"/{seen.get('Slice') or 'system.slice'}/{unit}"


def rests_at(unit: str, group: str, host: System) -> float | None:
    """The time at which the unit rests and nothing is in its cgroup; None: something runs.

    By the clock of the host, after the look: whatever ran before has written what it wrote.
    """
    if units.show(host, unit, ("ActiveState",))["ActiveState"] not in RESTING:
        return None
    return None if units.cgroup_processes(group) else time.time()


def undo_timeout(args: dict[str, Any]) -> float:
    """How long an undo waits for systemd to stop or start the unit, by the plan."""
    return float(args.get("undoTimeoutSeconds", LONGEST_UNDO_SECONDS))


def _control(
    verb: str,
    args: dict[str, Any],
    host: System,
    journal: StepJournal,
    timeout: float,
    tick: Tick | None,
) -> Stopped:
    unit = args["unit"]
    done = consumers.cancel(args, host, _Keeper(journal).keep)
    remark = ""
    if done.problem is not None:
        host.note(f"{unit}: could not cancel its consumers: {done.problem}")
        remark = lost(done.problem)
    until = time.monotonic() if done.until is None or done.problem else done.until
    argv = ["systemctl", "--no-pager", "--no-ask-password", verb, "--", unit]
    try:
        host.run(argv, timeout=timeout, tick=tick)
    except OperationError as error:
        after = _after_failure(args, host, journal)
        raise OperationError(
            error.message + after, ran=error.ran, exit_code=error.exit_code, evidence=error.evidence
        ) from None
    return Stopped(until, remark)


def lost(problem: str) -> str:
    return (
        f"; could not cancel its consumers first ({problem}):"
        " a task that was sent at that moment may be lost"
    )


def _after_failure(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    """The worker may still run; then it must consume again."""
    unit, worker = args["unit"], journal.get(CONSUMERS)
    if worker is None or not worker["queues"]:
        return ""
    names = ", ".join(sorted(worker["queues"]))
    try:
        with host.shielded():
            if not consumers.is_running(worker, units.show(host, unit, consumers.PROPERTIES)):
                return ""
            problem, lasting, _ = consumers.give_back(args, worker, host)
    except Exception as error:
        problem, lasting = describe(error), False
    if problem is None:
        if not lasting:
            journal.keep(TODO, _todo(unit, names))
        return f"; it consumes {names} again"
    how = f"run `systemctl restart {unit}`"
    return f"; it still runs, but no longer consumes {names} ({problem}): {how}"


def _todo(unit: str, names: str) -> str:
    return (
        f"run `systemctl restart {unit}` when it is idle: its Celery would no longer consume"
        f" {names} after a reconnect to the broker"
    )


class _Keeper:
    """Keeps the queues of a first attempt, if a second one finds nothing left to cancel."""

    def __init__(self, journal: StepJournal) -> None:
        self.journal = journal

    def keep(self, name: str, worker: dict[str, Any]) -> None:
        before = self.journal.get(name)
        if before is not None and before["invocation"] == worker["invocation"]:
            queues = [*before["queues"], *worker["queues"]]
            worker = {**worker, "queues": list(dict.fromkeys(queues))}
        self.journal.keep(name, worker)
