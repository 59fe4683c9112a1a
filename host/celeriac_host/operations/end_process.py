"""Cancels the consumers of workers outside the unit and ends them: SIGTERM, later SIGKILL.

Touches: those processes of the unit's user, identified by pid and start time, and their remaining
children. All of them end at the same time, within one limit.
Undo: impossible; the report says so.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Any, Callable, Sequence

from celeriac_host.app import stopping
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity, user_name
from celeriac_host.system.processes import Process
from celeriac_host.system.system import System

NOTE_SECONDS = 5.0
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
# For a child whose parent has ended.
CHILD_SECONDS = 2.0
# For asking all of them to consume no more. The last one asked may take half a minute longer.
ASKING_SECONDS = 60.0
MOST_NAMED = 5


def check(args: dict[str, Any], host: System) -> bool:
    return not _find(args)


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    found = _find(args)
    if not found:
        return "the processes have already ended", {}
    for process, cgroup in found:
        _refuse(process, cgroup, args["user"])
    ending = [process for process, _ in found]
    grace = float(args["graceSeconds"])
    kept = [{"pid": each.pid, "argv": _shown(each)} for each in ending]
    journal.keep("processes", kept)
    # Before the signals, while they can still answer.
    remark = _ask(args, ending, host)
    family = _family(ending)
    senders = [_sender(each) for each in ending]
    for send in senders:
        send(signal.SIGTERM)
    for each in (*ending, *family):
        # A stopped process handles SIGTERM only when it is continued.
        if each.state == "T":
            _signal(each, signal.SIGCONT)
    deaf = _left(ending, grace, host)
    if deaf:
        family = list({each.pid: each for each in (*family, *_family(deaf))}.values())
    for each, send in zip(ending, senders):
        # First, so that they start no new children.
        if each in deaf:
            send(signal.SIGKILL)
    orphans = _left(family, CHILD_SECONDS, host)
    for each in orphans:
        _signal(each, signal.SIGKILL)
    for each in _left([*deaf, *orphans], KILL_SECONDS, host):
        raise OperationError(f"process {each.pid} did not end after SIGKILL")
    return _said(ending, deaf, len(orphans), grace) + remark, {"endedAt": time.time()}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    kept = journal.get("processes")
    if kept is None:
        # By a version that ended one process with each operation.
        one = journal.get("process")
        kept = [] if one is None else [one]
    if not kept:
        return None
    ended = [f"process {each['pid']} was not started again: {_command(each)}" for each in kept]
    more = f"; nor were {len(ended) - MOST_NAMED} others" if len(ended) > MOST_NAMED else ""
    return "; ".join(ended[:MOST_NAMED]) + more


def _find(args: dict[str, Any]) -> list[tuple[Process, str]]:
    """The processes that the plan saw and that still run, with the cgroups that it saw."""
    found = []
    for named in args.get("processes", ()):
        process = processes.read(named["pid"])
        if process is None or process.start_ticks != named["startTicks"] or process.state in "ZX":
            continue
        found.append((process, named["cgroup"]))
    return found


def _refuse(process: Process, cgroup: str, user: str) -> None:
    """A process outside the cgroup that the plan saw may belong to something else by now."""
    found = processes.control_group(process.pid) or ""
    owner = user_name(identity(user).uid)
    problem = ""
    if process.pid <= 1 or process.pid in _ancestors():
        problem = "it is the init process or an ancestor of this program"
    elif not process.argv or process.parent == 2:
        problem = "it is a kernel thread"
    elif process.user != owner:
        problem = f"it runs as {process.user}, and the unit runs as {owner}"
    elif found != cgroup:
        problem = f"its cgroup is {found or 'unknown'}; it was {cgroup} when the plan was made"
    if problem:
        raise OperationError(
            f"process {process.pid} was not ended: {problem}",
            evidence=[_command({"argv": _shown(process)})],
        )


def _ancestors() -> list[int]:
    found = [os.getpid()]
    while found[-1] > 1:
        above = processes.read(found[-1])
        found.append(0 if above is None else above.parent)
    return found


def _ask(args: dict[str, Any], ending: Sequence[Process], host: System) -> str:
    """Has them consume no more, as far as the time for that goes; a remark, or empty."""
    deadline = time.monotonic() + ASKING_SECONDS
    remark = ""
    for process in ending:
        if time.monotonic() >= deadline:
            return remark or stopping.lost(f"it took more than {ASKING_SECONDS:g} s")
        remark = remark or stopping.before_end(args, process, host)
    return remark


def _family(ending: Sequence[Process]) -> list[Process]:
    everybody = processes.read_all()
    named = {each.pid for each in ending}
    found = {
        child.pid: child
        for each in ending
        for child in processes.descendants(each.pid, everybody)
        if child.pid not in named
    }
    return list(found.values())


def _sender(process: Process) -> Callable[[signal.Signals], None]:
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


def _signal(process: Process, name: signal.Signals) -> None:
    if processes.same(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, name)


def _left(ending: Sequence[Process], timeout: float, host: System) -> list[Process]:
    """Waits until all have ended; those that still run after the time-out."""
    begun = time.monotonic()
    next_note = begun + NOTE_SECONDS
    left = [each for each in ending if processes.same(each)]
    while left:
        now = time.monotonic()
        if now - begun >= timeout:
            break
        if now >= next_note:
            next_note = now + NOTE_SECONDS
            host.note(f"waiting for {_named(left)} to end, {now - begun:.0f} s of {timeout:g}")
        host.sleep(POLL_SECONDS)
        left = [each for each in left if processes.same(each)]
    return left


def _said(ending: Sequence[Process], deaf: Sequence[Process], orphans: int, grace: float) -> str:
    willing = [each for each in ending if each not in deaf]
    parts = [f"{_named(willing)} ended by TERM"] if willing else []
    parts += [f"{_named(deaf)} ended by KILL, {grace:g} s after TERM"] if deaf else []
    more = f", {orphans} of {'its' if len(ending) == 1 else 'their'} children by KILL"
    commands = {_command({"argv": _shown(each)}) for each in ending}
    command = f": {commands.pop()}" if len(commands) == 1 else ""
    return "; ".join(parts) + (more if orphans else "") + command


def _named(some: Sequence[Process]) -> str:
    pids = ", ".join(str(each.pid) for each in some[:MOST_NAMED])
    more = f" and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else ""
    return f"{'process' if len(some) == 1 else 'processes'} {pids}{more}"


def _shown(process: Process) -> list[str]:
    """The beginning of its arguments, for the journal and for people."""
    return [word[:200] for word in process.argv[:20]]


def _command(kept: dict[str, Any]) -> str:
    return " ".join(kept["argv"])[:120]
