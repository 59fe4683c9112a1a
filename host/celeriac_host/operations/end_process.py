"""Cancels the consumers of a worker outside the unit and ends it: SIGTERM, later SIGKILL.

Touches: that process, identified by pid and start time, and its remaining children.
Undo: impossible; the report says so.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any, Callable

from celeriac_host.app import stopping
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

NOTE_SECONDS = 5.0
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0


def check(args: dict[str, Any], host: System) -> bool:
    return _find(args) is None


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    process = _find(args)
    if process is None:
        return f"process {args['pid']} has already ended", {}
    _refuse(process, args["cgroup"])
    grace = float(args["graceSeconds"])
    journal.keep("process", {"pid": process.pid, "argv": list(process.argv)})
    # Before its signal, while it can still answer.
    remark = stopping.before_end(args, process, host)
    family = processes.descendants(process.pid)
    send = _sender(process)
    send(signal.SIGTERM)
    for each in (process, *family):
        # A stopped process handles SIGTERM only when it is continued.
        if each.state == "T":
            _signal(each, signal.SIGCONT)
    how = "TERM"
    if not _gone(process, grace, host):
        how = f"KILL, {grace:g} s after TERM"
        family = processes.descendants(process.pid)
        # First, so that it starts no new children.
        send(signal.SIGKILL)
    left = [each for each in family if not _gone(each, 0 if "KILL" in how else 2, host)]
    for each in left:
        _signal(each, signal.SIGKILL)
    for each in (process, *left):
        if not _gone(each, KILL_SECONDS, host):
            raise OperationError(f"process {each.pid} did not end after SIGKILL")
    more = f", {len(left)} of its children by KILL" if left else ""
    line = f"process {process.pid} ended by {how}{more}: {_command(process.argv)}{remark}"
    return line, {"endedAt": time.time()}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    kept = journal.get("process")
    if kept is None:
        return None
    return f"process {kept['pid']} was not started again: {_command(kept['argv'])}"


def _find(args: dict[str, Any]) -> processes.Process | None:
    """The process that the plan saw, or None if it has ended."""
    found = processes.read(args["pid"])
    if found is None or found.start_ticks != args["startTicks"] or found.state in "ZX":
        return None
    return found


def _refuse(process: processes.Process, cgroup: str) -> None:
    """A process outside the cgroup that the plan saw may belong to something else by now."""
    found = processes.control_group(process.pid) or ""
    problem = ""
    if process.pid <= 1 or process.pid in _ancestors():
        problem = "it is the init process or an ancestor of this program"
    elif not process.argv or process.parent == 2:
        problem = "it is a kernel thread"
    elif found != cgroup:
        problem = f"its cgroup is {found or 'unknown'}; it was {cgroup} when the plan was made"
    if problem:
        raise OperationError(
            f"process {process.pid} was not ended: {problem}", evidence=[_command(process.argv)]
        )


def _ancestors() -> list[int]:
    found = [os.getpid()]
    while found[-1] > 1:
        above = processes.read(found[-1])
        found.append(0 if above is None else above.parent)
    return found


def _sender(process: processes.Process) -> Callable[[signal.Signals], None]:
    """Signals by pidfd if the kernel and Python support it: the pid may be reused meanwhile."""
    try:
        handle = os.pidfd_open(process.pid)  # novm: guarded below
    except (AttributeError, OSError):
        return lambda name: _signal(process, name)

    def send(name: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, name)  # novm: as is pidfd_open

    if not processes.same(process):
        return lambda name: None
    return send


def _signal(process: processes.Process, name: signal.Signals) -> None:
    if processes.same(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, name)


def _gone(process: processes.Process, timeout: float, host: System) -> bool:
    begun = time.monotonic()
    next_note = begun + NOTE_SECONDS
    while processes.same(process):
        now = time.monotonic()
        if now - begun >= timeout:
            return False
        if now >= next_note:
            next_note = now + NOTE_SECONDS
            host.note(
                f"waiting for process {process.pid} to end, {now - begun:.0f} s of {timeout:g}"
            )
        host.sleep(POLL_SECONDS)
    return True


def _command(argv: Any) -> str:
    return " ".join(argv)[:120]
