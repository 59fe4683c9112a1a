"""Reading real processes from /proc."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

import pytest
from celeriac_host.system import processes
from celeriac_host.system.identities import user_name
from celeriac_host.system.processes import Process
from conftest import wait_for


@contextmanager
def running(argv: Sequence[str | bytes], executable: str | None = None) -> Iterator[int]:
    with subprocess.Popen(argv, executable=executable) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def read(pid: int) -> Process:
    found = processes.read(pid)
    assert found is not None
    return found


def test_this_process(tmp_path: Path) -> None:
    me = read(os.getpid())
    assert (me.pid, me.parent, me.state) == (os.getpid(), os.getppid(), "R")
    assert me.user == user_name(os.geteuid())
    assert me.resident_bytes > 1024 * 1024
    started = me.start_ticks / processes.TICKS_PER_SECOND
    assert 0 < started <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert "pytest" in " ".join(me.argv)


@pytest.mark.parametrize("name", ["a) S 1 (b", "((", "x\ny", "1 2 3"])
def test_a_name_may_contain_anything(tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, program)
    with running([str(program), "600"]) as pid:
        wait_for(lambda: read(pid).state == "S")
        found = read(pid)
        assert found.parent == os.getpid()
        assert found.argv == [str(program), "600"]


def test_empty_and_binary_arguments_are_kept() -> None:
    words = [b"python", b"-c", b"import time; time.sleep(600)", b"", b"--hostname=gr\xfcn@h", b""]
    with running(words, executable=sys.executable) as pid:
        wait_for(lambda: len(read(pid).argv) == 6)
        found = read(pid).argv
        assert found == ["python", *(word.decode("utf-8", "replace") for word in words[1:])]


def test_an_ended_process_is_none() -> None:
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    assert processes.read(pid) is None
    assert processes.read(2**22 + 1) is None


def test_a_zombie_is_shown_as_one_and_no_longer_the_same() -> None:
    with running(["sleep", "600"]) as pid:
        before = read(pid)
        assert processes.same(before)
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: read(pid).state == "T")
        assert processes.same(before)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: read(pid).state == "Z")
        assert read(pid).argv == []
        assert not processes.same(before)
        assert processes.pool_children(os.getpid(), [read(pid)]) == []


def test_a_reused_pid_is_not_the_same_process() -> None:
    me = read(os.getpid())
    assert not processes.same(me._replace(start_ticks=me.start_ticks - 1))


def test_all_processes_are_found_with_their_children() -> None:
    script = "sleep 600 & sleep 600 & wait"
    with running(["sh", "-c", script]) as pid:
        try:

            def look() -> list[processes.Process]:
                return processes.descendants(os.getpid())

            def sleepers(found: list[processes.Process]) -> list[int]:
                return [each.parent for each in found if each.argv == ["sleep", "600"]]

            # A child is a copy of its shell until it executes its own program.
            wait_for(lambda: len(sleepers(look())) == 2)
            found = look()
            assert sleepers(found) == [pid, pid]
            places = [each.pid for each in found]
            assert all(
                places.index(pid) < places.index(each.pid) for each in found if each.parent == pid
            )
        finally:
            for each in processes.descendants(pid):
                os.kill(each.pid, signal.SIGKILL)


def process(pid: int, parent: int, *argv: str, state: str = "S") -> Process:
    return Process(pid, parent, state, "app", 0, argv or ("celery",), 0)


def test_a_pool_is_its_direct_children_that_may_run_tasks() -> None:
    among = [
        process(10, 1),
        process(11, 10),
        process(12, 10, state="Z"),
        process(13, 10, "python", "-c", "from multiprocessing.resource_tracker import main"),
        process(14, 10, "python", "-c", "from billiard.semaphore_tracker import main"),
        process(15, 11),
        process(16, 10, state="D"),
        process(17, 10, state="X"),
    ]
    assert [each.pid for each in processes.pool_children(10, among)] == [11, 16]
    assert [each.pid for each in processes.descendants(10, among)] == [11, 12, 13, 14, 16, 17, 15]


def test_the_control_group_is_the_kernels_or_none() -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    names = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    assert processes.control_group(os.getpid()) == names.get("name=systemd", names.get(""))
    assert processes.control_group(2**22 + 1) is None
