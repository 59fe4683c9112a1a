"""Ends one process, known by pid and start: TERM, then KILL after the grace. Never by name.

Touches: that process, and what is left of its children.
Undo: can't be undone: said in the report.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from typing import Any, Callable

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

NOTE_SECONDS = 5.0
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
# Services that people's own commands run below; a process of any other is that service's. The
# plan's own judgement (src/plan/strays.ts) knows the same ones.
LOGIN = re.compile(r"(ssh|sshd|cron|crond|atd|rc-local)\.service|sshd?@.*\.service")
MANAGER = re.compile(r"user@\d+\.service")
CONTAINER = re.compile(
    r"(^|[/._-])(docker|libpod|podman|lxc|kubepods|containerd|crio|nspawn)\b|machine\.slice"
)


def check(args: dict[str, Any], host: System) -> bool:
    return _find(args) is None


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    process = _find(args)
    if process is None:
        return f"process {args['pid']} had ended already"
    _refuse(process)
    grace = float(args["graceSeconds"])
    journal.keep("process", {"pid": process.pid, "argv": list(process.argv)})
    family = processes.descendants(process.pid)
    send = _sender(process)
    send(signal.SIGTERM)
    for each in (process, *family):
        # Stopped, it would take its TERM only when continued.
        if each.state == "T":
            _signal(each, signal.SIGCONT)
    how = "TERM"
    if not _gone(process, grace, host):
        how = f"KILL, {grace:g} s after TERM"
        family = processes.descendants(process.pid)
        # First, so that it makes no new children.
        send(signal.SIGKILL)
    left = [each for each in family if not _gone(each, 0 if "KILL" in how else 2, host)]
    for each in left:
        _signal(each, signal.SIGKILL)
    for each in (process, *left):
        if not _gone(each, KILL_SECONDS, host):
            raise OperationError(f"process {each.pid} did not end, not even by KILL")
    more = f", {len(left)} of its children by KILL" if left else ""
    return f"process {process.pid} ended by {how}{more}: {_command(process.argv)}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    kept = journal.get("process")
    if kept is None:
        return None
    return f"not brought back: process {kept['pid']} ({_command(kept['argv'])})"


def _find(args: dict[str, Any]) -> processes.Process | None:
    """The very process that the plan saw; None when it ended."""
    found = processes.read(args["pid"])
    if found is None or found.start_ticks != args["startTicks"] or found.state in "ZX":
        return None
    return found


def _refuse(process: processes.Process) -> None:
    """The plan has decided; this keeps a wrong one from doing harm."""
    group = processes.control_group(process.pid)
    problem = ""
    if process.pid <= 1 or process.pid in _ancestors():
        problem = "it carries the system, or this very program"
    elif not process.argv or process.parent == 2:
        problem = "it belongs to the kernel"
    elif group is None:
        problem = "its cgroup can't be read, so whose it is can't be told"
    elif (owner := _owner(group)) is not None:
        problem = f"it belongs to {owner}, which is no login session"
    if problem:
        raise OperationError(
            f"process {process.pid} is not ended: {problem}", evidence=[_command(process.argv)]
        )


def _owner(group: str) -> str | None:
    """The unit or container that looks after a cgroup's processes; None for login sessions."""
    if CONTAINER.search(group):
        return group
    parts = [part for part in group.split("/") if part]
    managers = [index for index, part in enumerate(parts) if MANAGER.fullmatch(part)]
    services = [
        part
        for part in parts[managers[-1] + 1 if managers else 0 :]
        if part.endswith(".service") and not LOGIN.fullmatch(part)
    ]
    return services[-1] if services else None


def _ancestors() -> list[int]:
    found = [os.getpid()]
    while found[-1] > 1:
        above = processes.read(found[-1])
        found.append(0 if above is None else above.parent)
    return found


def _sender(process: processes.Process) -> Callable[[signal.Signals], None]:
    """By a descriptor where the kernel and Python have them: a pid could be another's by then."""
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
