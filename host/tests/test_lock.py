"""One writer a host; the lock is free when its holder is dead, however it died."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Callable, Iterator

import pytest
from celeriac_host.system.errors import Fault, RunnerGone
from celeriac_host.transaction import lock
from hosts import Host

ANNA = {"holder": "anna (run 7)", "action": "deploy-worker", "lockTimeoutSeconds": 0}
HOST_FOLDER = os.path.join(os.path.dirname(__file__), os.pardir)

HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from celeriac_host.transaction import lock
from celeriac_host.system.system import System
held = lock.take(System(sys.argv[2]), {"holder": "ben", "action": "cleanup"})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(state: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process, that holds the lock."""
    argv = [sys.executable, "-I", "-c", HOLD, HOST_FOLDER, state]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def label(state: str) -> str:
    return Path(state, "lock").read_text()


def test_who_holds_it_is_written_there_and_gone_with_it(host: Host) -> None:
    assert not lock.is_held(host.state)
    with lock.take(host, ANNA):
        assert lock.is_held(host.state)
        assert lock.try_take(host.state) is None
        said = label(host.state)
        assert said.startswith("anna (run 7) (deploy-worker, since 2")
        assert f"pid {os.getpid()}" in said
    assert not lock.is_held(host.state)
    assert label(host.state) == ""
    assert os.stat(os.path.join(host.state, "lock")).st_mode & 0o777 == 0o600


def test_it_is_released_when_the_work_fails_and_twice_is_no_harm(host: Host) -> None:
    with pytest.raises(ZeroDivisionError), lock.take(host, ANNA) as held:
        raise ZeroDivisionError
    held.hand_over()
    assert not lock.is_held(host.state)


def test_who_comes_too_late_is_told_who_has_it(host: Host, other: subprocess.Popen[bytes]) -> None:
    with pytest.raises(Fault) as refused:
        lock.take(host, ANNA)
    assert "ben (cleanup, since " in refused.value.message
    assert refused.value.next
    assert lock.is_held(host.state)
    # The one who waited in vain did not take the holder's name away.
    assert label(host.state).startswith("ben (cleanup")


def test_who_waits_is_told_for_whom_and_gets_it_in_the_end(
    host: Host, other: subprocess.Popen[bytes]
) -> None:
    def tell(note: str) -> None:
        host.notes.append(note)
        assert other.stdin is not None
        other.stdin.close()

    host.note = tell
    with lock.take(host, {**ANNA, "lockTimeoutSeconds": 600}):
        assert len(host.notes) == 1
        assert "ben (cleanup" in host.notes[0]
        assert label(host.state).startswith("anna")


def test_it_dies_with_its_holder(host: Host, other: subprocess.Popen[bytes]) -> None:
    assert lock.try_take(host.state) is None
    other.send_signal(signal.SIGKILL)
    other.wait()
    # Its name is still there; it is no lock.
    assert label(host.state).startswith("ben")
    assert not lock.is_held(host.state)
    with lock.take(host, ANNA):
        assert label(host.state).startswith("anna")


def test_handed_over_it_is_held_until_the_other_ends(host: Host) -> None:
    held = lock.take(host, ANNA)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(held.handle,),
    ) as process:
        held.hand_over()
        assert lock.is_held(host.state)
        assert lock.try_take(host.state) is None
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    assert not lock.is_held(host.state)


def test_a_runner_that_goes_while_it_waits_leaves_nothing_held(
    host: Host, other: subprocess.Popen[bytes]
) -> None:
    open_before = len(os.listdir("/proc/self/fd"))

    def go(note: str) -> None:
        host.runner_gone = True

    host.note = go
    with pytest.raises(RunnerGone):
        lock.take(host, {**ANNA, "lockTimeoutSeconds": 600})
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_two_who_ask_whether_it_is_held_are_not_in_each_others_way(host: Host) -> None:
    lock.take(host, ANNA).drop()
    said: list[bool] = []
    both = threading.Barrier(2)

    def ask() -> None:
        both.wait()
        said.extend(lock.is_held(host.state) for _ in range(500))

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    assert said == [False] * 1000


def test_what_a_foreign_hand_wrote_there_is_no_lock(host: Host) -> None:
    Path(host.state, "lock").write_bytes(b"\xff nobody\n")
    assert not lock.is_held(host.state)
    with lock.take(host, ANNA):
        assert label(host.state).startswith("anna")


def test_a_link_is_not_followed(host: Host, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(host.state, "lock").symlink_to(victim)
    for ask in (lambda: lock.take(host, ANNA), lambda: lock.is_held(host.state)):
        with pytest.raises(OSError):
            ask()
    assert victim.read_text() == "precious"


def test_it_holds_where_its_name_can_not_be_written(host: Host) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        held = lock.take(host, ANNA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert label(host.state) == ""
    assert lock.is_held(host.state)
    with pytest.raises(Fault) as refused:
        lock.take(host, ANNA)
    assert "somebody" in refused.value.message
    held.drop()


def test_on_a_read_only_disk_it_can_not_be_taken_and_that_is_said(
    make_disk: Callable[[int], Path],
) -> None:
    disk = make_disk(64)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OSError):
        lock.take(Host(str(disk)), ANNA)
    assert not lock.is_held(str(disk))
