"""One writer per host; the lock is free once its holder has ended, however it ended."""

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
from celeriac_host.state import lock_file
from celeriac_host.system.errors import Fault, RunnerGone
from celeriac_host.transaction import lock
from hosts import Host

ANNA = {"holder": "anna (run 7)", "action": "deploy-worker", "lockTimeoutSeconds": 0}
HOST_FOLDER = os.path.join(os.path.dirname(__file__), os.pardir)

HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from celeriac_host.state import lock_file
from celeriac_host.transaction import lock
from celeriac_host.system.system import System
held = lock.take(System(sys.argv[2]), {"holder": "ben", "action": "cleanup"})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(state: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    argv = [sys.executable, "-I", "-c", HOLD, HOST_FOLDER, state]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def label(state: str) -> str:
    return Path(state, "lock").read_text()


def test_the_holder_is_recorded_until_the_lock_is_dropped(host: Host) -> None:
    assert not lock_file.is_held(host.state)
    with lock.take(host, ANNA):
        assert lock_file.is_held(host.state)
        assert lock.try_take(host.state) is None
        said = label(host.state)
        assert said.startswith("anna (run 7) (deploy-worker, since 2")
        assert f"pid {os.getpid()}" in said
    assert not lock_file.is_held(host.state)
    assert label(host.state) == ""
    assert os.stat(os.path.join(host.state, "lock")).st_mode & 0o777 == 0o600


def test_it_is_dropped_after_a_failure_and_repeatedly(host: Host) -> None:
    with pytest.raises(ZeroDivisionError), lock.take(host, ANNA) as held:
        raise ZeroDivisionError
    held.hand_over()
    assert not lock_file.is_held(host.state)


def test_a_timeout_names_the_holder(host: Host, other: subprocess.Popen[bytes]) -> None:
    with pytest.raises(Fault) as refused:
        lock.take(host, ANNA)
    assert "ben (cleanup, since " in refused.value.message
    assert refused.value.next
    assert lock_file.is_held(host.state)
    # The run that timed out did not remove the holder's name.
    assert label(host.state).startswith("ben (cleanup")


def test_a_waiting_run_learns_the_holder_and_gets_the_lock(
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


def test_it_ends_with_its_holder(host: Host, other: subprocess.Popen[bytes]) -> None:
    assert lock.try_take(host.state) is None
    other.send_signal(signal.SIGKILL)
    other.wait()
    # The holder's name is still there, but nothing is locked.
    assert label(host.state).startswith("ben")
    assert not lock_file.is_held(host.state)
    with lock.take(host, ANNA):
        assert label(host.state).startswith("anna")


def test_after_a_hand_over_the_other_process_holds_it(host: Host) -> None:
    held = lock.take(host, ANNA)
    with subprocess.Popen(
        [sys.executable, "-I", "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(held.handle,),
    ) as process:
        held.hand_over()
        assert lock_file.is_held(host.state)
        assert lock.try_take(host.state) is None
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    assert not lock_file.is_held(host.state)


def test_a_runner_that_disconnects_while_waiting_holds_nothing(
    host: Host, other: subprocess.Popen[bytes]
) -> None:
    open_before = len(os.listdir("/proc/self/fd"))

    def go(note: str) -> None:
        host.runner_gone = True

    host.note = go
    with pytest.raises(RunnerGone):
        lock.take(host, {**ANNA, "lockTimeoutSeconds": 600})
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_concurrent_checks_do_not_disturb_each_other(host: Host) -> None:
    lock.take(host, ANNA).drop()
    said: list[bool] = []
    both = threading.Barrier(2)

    def ask() -> None:
        both.wait()
        said.extend(lock_file.is_held(host.state) for _ in range(500))

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for each in askers:
        each.start()
    for each in askers:
        each.join()
    assert said == [False] * 1000


def test_foreign_text_in_the_file_is_not_a_lock(host: Host) -> None:
    Path(host.state, "lock").write_bytes(b"\xff nobody\n")
    assert not lock_file.is_held(host.state)
    with lock.take(host, ANNA):
        assert label(host.state).startswith("anna")


def test_a_link_is_not_followed(host: Host, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(host.state, "lock").symlink_to(victim)
    for ask in (lambda: lock.take(host, ANNA), lambda: lock_file.is_held(host.state)):
        with pytest.raises(OSError):
            ask()
    assert victim.read_text() == "precious"


def test_it_works_when_the_holder_cannot_be_recorded(host: Host) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        held = lock.take(host, ANNA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert label(host.state) == ""
    assert lock_file.is_held(host.state)
    with pytest.raises(Fault) as refused:
        lock.take(host, ANNA)
    assert "somebody" in refused.value.message
    held.drop()


def test_on_a_read_only_disk_it_is_an_error(
    make_disk: Callable[[int], Path],
) -> None:
    disk = make_disk(64)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OSError):
        lock.take(Host(str(disk)), ANNA)
    assert not lock_file.is_held(str(disk))


def test_no_program_inherits_it_however_it_is_started(host: Host) -> None:
    with lock.take(host, ANNA) as held:
        # As the process of a transaction gets it.
        os.set_inheritable(held.handle, True)
        again = lock.Lock(held.handle)
        open_files = ["/bin/sh", "-c", "ls -l /proc/self/fd"]
        done = subprocess.run(open_files, close_fds=False, stdout=subprocess.PIPE, check=True)
        assert lock_file.path(host.state) not in done.stdout.decode()
        assert again.handle == held.handle
