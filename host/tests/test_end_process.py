"""A stray worker is ended only in the cgroup in which the plan saw it."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any, Dict, Iterator, List

import pytest
from celeriac_host.app import listener
from celeriac_host.operations import end_process
from celeriac_host.state.journal import Journal
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from conftest import wait_for
from hosts import Host


@pytest.fixture
def stray() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            # A child is a copy of this process until it executes its own program.
            wait_for(lambda: "sleep" in getattr(processes.read(process.pid), "argv", ()))
            yield process
        finally:
            process.kill()


def operation(pid: int, **more: Any) -> Dict[str, Any]:
    seen = processes.read(pid)
    assert seen is not None
    group = processes.control_group(pid)
    args = {"pid": pid, "startTicks": seen.start_ticks, "cgroup": group, "graceSeconds": 5}
    return {**args, **more}


# The plan decides whose cgroup it is: to the host they are all alike.
@pytest.mark.parametrize(
    "cgroup",
    ["/user.slice/session-3.scope", "/system.slice/redis.service", "/docker/0123", ""],
)
def test_a_process_is_ended_in_the_cgroup_of_the_plan(
    host: Host,
    journal: Journal,
    stray: "subprocess.Popen[bytes]",
    cgroup: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "control_group", lambda pid: cgroup or None)
    args = operation(stray.pid, cgroup=cgroup)
    seen = processes.read(stray.pid)
    assert seen is not None
    line, result = end_process.do(args, host, journal.step(0))
    assert "ended by TERM" in line
    # After that it writes nothing into the app's database.
    assert not processes.same(seen) and result["endedAt"] <= time.time()
    assert end_process.check(args, host)
    assert end_process.do(args, host, journal.step(1))[1] == {}


def test_a_process_in_another_cgroup_is_skipped(
    host: Host, journal: Journal, stray: "subprocess.Popen[bytes]"
) -> None:
    args = operation(stray.pid, cgroup="/user.slice/session-3.scope")
    with pytest.raises(OperationError) as refused:
        end_process.do(args, host, journal.step(0))
    assert "it was /user.slice/session-3.scope when the plan was made" in refused.value.message
    assert stray.poll() is None


@pytest.mark.parametrize("pid", [1, os.getpid(), os.getppid()])
def test_system_processes_and_this_program_are_not_ended(
    host: Host, journal: Journal, pid: int
) -> None:
    with pytest.raises(OperationError) as refused:
        end_process.do(operation(pid), host, journal.step(0))
    assert "the init process" in refused.value.message


def test_the_undo_of_an_older_plan_needs_no_cgroup(
    host: Host, journal: Journal, stray: "subprocess.Popen[bytes]"
) -> None:
    args = operation(stray.pid)
    end_process.do(args, host, journal.step(0))
    del args["cgroup"]
    assert f"process {stray.pid} was not started again" in str(
        end_process.undo(args, host, journal.step(0))
    )


APP = {"unit": "worker.service", "interpreter": ["python3"], "app": "app", "pythonPath": []}


@pytest.mark.parametrize(("more", "asked"), [(APP, 1), ({}, 0)])
@pytest.mark.parametrize("problem", [None, "it does not answer"])
def test_a_stray_worker_is_told_to_consume_no_more_before_its_signal(
    host: Host,
    journal: Journal,
    stray: "subprocess.Popen[bytes]",
    more: Dict[str, Any],
    asked: int,
    problem: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: List[Dict[str, Any]] = []

    def answer(host: Any, program: str, request: Dict[str, Any], *rest: Any, **also: Any) -> Any:
        assert stray.poll() is None
        heard.append(request)
        return {} if problem is None else {"problem": problem}

    monkeypatch.setattr(listener, "run", answer)
    said, _ = end_process.do(operation(stray.pid, **more), host, journal.step(0))
    assert stray.wait(10) == -15
    # A plan of an older version does not name the app.
    assert [each["mainPid"] for each in heard] == [stray.pid] * asked
    assert ("could not cancel its consumers first" in said) == bool(asked and problem)
