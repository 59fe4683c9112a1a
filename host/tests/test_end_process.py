"""A stray worker is ended only in the cgroup in which the plan saw it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any, Dict, Iterator, List, Optional

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
    one = {"pid": pid, "startTicks": seen.start_ticks, "cgroup": more.pop("cgroup", group)}
    return {"processes": [one], "user": seen.user, "graceSeconds": 5, **more}


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


def test_the_undo_reads_what_older_versions_kept(host: Host, journal: Journal) -> None:
    journal.step(0).keep("process", {"pid": 812, "argv": ["celery", "worker"]})
    said = end_process.undo({"pid": 812, "startTicks": 1}, host, journal.step(0))
    assert said == "process 812 was not started again: celery worker"
    assert end_process.undo({"pid": 812}, host, journal.step(1)) is None


def test_several_end_within_one_limit(host: Host, journal: Journal) -> None:
    deaf = "trap '' TERM; echo ready; while :; do sleep 60; done"
    begun = [
        subprocess.Popen(["/bin/sh", "-c", deaf], stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(4)
    ]
    try:
        for each in begun:
            assert each.stdout is not None and each.stdout.readline() == b"ready\n"
        all_of_them = [operation(each.pid)["processes"][0] for each in begun]
        args = operation(begun[0].pid, processes=all_of_them, graceSeconds=1)
        # Each is given one second, and not one after another.
        waited: List[float] = []
        sleep = host.sleep

        def count(seconds: float) -> None:
            waited.append(seconds)
            sleep(seconds)

        host.sleep = count  # type: ignore[method-assign]
        line, _ = end_process.do(args, host, journal.step(0))
        assert "ended by KILL, 1 s after TERM" in line
        assert sum(waited) < 2 + end_process.CHILD_SECONDS
        assert not any(processes.same(each) for each in map(read, begun) if each)
        undone = end_process.undo(args, host, journal.step(0))
        assert undone is not None and undone.count("was not started again") == 4
    finally:
        for each in begun:
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
            assert each.stdout is not None
            each.stdout.close()


def read(process: "subprocess.Popen[bytes]") -> Optional[processes.Process]:
    return processes.read(process.pid)


HIDDEN = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
# With most kernels, its folder in /proc belongs to root now.
libc.prctl(4, 0, 0, 0, 0)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_process_of_another_user_is_not_ended(host: Host, journal: Journal) -> None:
    def become() -> None:
        os.setgid(65534)
        os.setuid(65534)

    argv = ["/usr/bin/python3", "-c", HIDDEN]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, preexec_fn=become, cwd="/") as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            args = operation(process.pid, user="root")
            with pytest.raises(OperationError) as refused:
                end_process.do(args, host, journal.step(0))
            assert "it runs as nobody, and the unit runs as root" in refused.value.message
            assert process.poll() is None
        finally:
            process.kill()


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
