"""A unit's old processes, when it is started again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

import pytest
from celeriac_host.app import companions, leftover_processes
from celeriac_host.code import sources
from celeriac_host.operations import guard_companion, guard_unit
from celeriac_host.state.journal import TODO, Journal, StepJournal
from celeriac_host.system import processes, unit_journal, units
from celeriac_host.system.errors import OperationError
from hosts import Host

UNIT = "shop-beat.service"
GROUP = f"/system.slice/{UNIT}"
READY = "print('ready', flush=True); time.sleep(600)"
POLITE = f"import time; {READY}"
STUBBORN = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}"


@contextmanager
def leftover(program: str, patch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[str]"]:
    """A real process that the stop of the unit leaves in its cgroup."""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, universal_newlines=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"

    def left(group: str) -> List[processes.Process]:
        found = None if group != GROUP or child.poll() is not None else processes.read(child.pid)
        return [] if found is None else [found]

    patch.setattr(units, "cgroup_processes", left)
    patch.setattr(companions, "EMPTY_SECONDS", 1.0)
    patch.setattr(leftover_processes, "GRACE_SECONDS", 1.0)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def a_host(state: str, monkeypatch: pytest.MonkeyPatch, **seen: str) -> Host:
    """The unit as it was at first, and after each command of systemctl."""
    host = Host(state, {("systemctl",): (0, "")})
    now: Dict[str, str] = {
        "ActiveState": "active",
        "SubState": "running",
        "InvocationID": "one",
        "ControlGroup": GROUP,
        "MainPID": "0",
        **dict.fromkeys(("NRestarts", "NeedDaemonReload", "Slice", "KillMode"), ""),
        **dict.fromkeys(("StateChangeTimestampMonotonic", "WorkingDirectory", "User"), ""),
        **seen,
    }

    def show(host: Any, unit: str, names: Any) -> Dict[str, str]:
        verbs = [argv[-3] for argv in asked(host) if argv[-3] in ("stop", "start")]
        if verbs[-1:] == ["stop"]:
            return {**now, "ActiveState": "inactive", "ControlGroup": "", "InvocationID": ""}
        return {**now, **({"InvocationID": "two"} if verbs else {})}

    monkeypatch.setattr(units, "show", show)
    monkeypatch.setattr(unit_journal, "evidence", lambda *args: [])
    return host


def asked(host: Any) -> List[Any]:
    return [argv for argv in host.asked if len(argv) > 3]


def started(host: Host) -> bool:
    return any(argv[-3] == "start" for argv in asked(host))


def args_of(only_once: bool) -> Dict[str, Any]:
    return {
        "unit": UNIT,
        "how": "restart",
        "onlyOnce": only_once,
        "timeoutSeconds": 30,
        "minHealthySeconds": 0,
    }


def test_beat_is_ended_before_it_starts_again(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = a_host(state, monkeypatch)
    with leftover(POLITE, monkeypatch) as child:
        companions.renew(args_of(only_once=True), "restart", host)
        assert child.poll() is not None
    assert started(host)


@pytest.mark.parametrize(
    ("program", "only_once"),
    [
        # It is never killed, and never joined by a second one.
        (STUBBORN, True),
        # Jobs that are meant to go on.
        (POLITE, False),
    ],
)
def test_what_stays_is_not_joined_by_a_second_one(
    program: str, only_once: bool, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = a_host(state, monkeypatch)
    with leftover(program, monkeypatch) as child:
        with pytest.raises(OperationError, match="left a process after its stop") as caught:
            companions.renew(args_of(only_once), "restart", host)
        assert child.poll() is None
    assert not started(host)
    assert caught.value.evidence[0].startswith(f"{child.pid} ")


def test_the_main_process_is_told_to_end_whatever_it_runs(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leftover(POLITE, monkeypatch) as child:
        host = a_host(state, monkeypatch, MainPID=str(child.pid))
        companions.renew(args_of(only_once=False), "restart", host)
        assert child.poll() is not None
    assert started(host)


def undo(host: Host, was: Dict[str, str], only_once: bool, state: str) -> StepJournal:
    journal = StepJournal(Journal(state), 0)
    journal.keep("was", was)
    guard_companion.undo(args_of(only_once), host, journal)
    return journal


@pytest.mark.parametrize("stopped", [False, True])
def test_an_undo_ends_beat_first(
    stopped: bool, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = a_host(state, monkeypatch, InvocationID="other")
    was = {**companions.seen(UNIT, host), "InvocationID": "one"}
    if stopped:
        host.asked.append(["systemctl", "stop", "--", UNIT])
    monkeypatch.setattr(sources, "remember", lambda *args: None)
    with leftover(POLITE, monkeypatch) as child:
        journal = undo(host, was, True, state)
        assert child.poll() is not None
    assert started(host)
    assert journal.get(TODO) is None


def test_an_undo_never_starts_a_second_beat(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = a_host(state, monkeypatch, InvocationID="other")
    was = {**companions.seen(UNIT, host), "InvocationID": "one"}
    with leftover(STUBBORN, monkeypatch) as child:
        with pytest.raises(OperationError, match="so it was not started again"):
            undo(host, was, True, state)
        assert child.poll() is None
    assert not started(host)


def test_an_undo_serves_beside_jobs_that_go_on_and_tells_them(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = a_host(state, monkeypatch, InvocationID="other")
    was = {**companions.seen(UNIT, host), "InvocationID": "one"}
    monkeypatch.setattr(sources, "remember", lambda *args: None)
    with leftover(POLITE, monkeypatch) as child:
        journal = undo(host, was, False, state)
        assert child.poll() is None
    assert started(host)
    assert f"end process {child.pid} on the host" in journal.get(TODO)


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_worker_never_starts_beside_what_its_stop_left(
    verb: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = a_host(state, monkeypatch)
    verbs: List[str] = []

    def control(verb: str, *args: Any) -> str:
        verbs.append(verb)
        if verb == "start":
            assert not units.cgroup_processes(GROUP)
        return ""

    monkeypatch.setattr(guard_unit, "_control", control)
    args = {"unit": UNIT}
    now = {"ControlGroup": GROUP, "Slice": "", "KillMode": "process"}
    with leftover(STUBBORN, monkeypatch):
        guard_unit._renew(verb, args, now, host, StepJournal(Journal(state), 0))
    assert verbs == (["start"] if verb == "start" else ["stop", "start"])
    # systemd itself ends them.
    guard_unit._renew(
        "restart", args, {**now, "KillMode": "mixed"}, host, StepJournal(Journal(state), 0)
    )
    assert verbs[-1] == "restart"
