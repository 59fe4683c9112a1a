"""What another user may put where we read: no read waits, none is without an end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest
from celeriac_host.app import module_users, workers
from celeriac_host.facts import files as files_fact
from celeriac_host.facts import swap as swap_fact
from celeriac_host.facts import sysctl as sysctl_fact
from celeriac_host.facts import unit as unit_fact
from celeriac_host.operations import make_swap
from celeriac_host.system import environment_files, files, processes, swaps
from celeriac_host.system.errors import OperationError
from hosts import Host

HUGE_BYTES = 8 * 1024 * 1024 * 1024


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A read that waits ends with an error, and the test fails."""

    def late(signum: int, frame: Any) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def folder(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(HUGE_BYTES)


PLANTED = [pipe, endless, terminal, folder, huge]


def refused(call: Callable[[], object]) -> str:
    """The result, or the word with which it is refused."""
    try:
        return repr(call())
    except (OSError, OperationError) as error:
        return f"refused: {error}"


@pytest.mark.parametrize("plant", PLANTED)
def test_texts(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    path = tmp_path / "planted"
    plant(path)
    name = str(path)
    assert refused(lambda: files.read(name)).startswith("refused")
    assert refused(lambda: files.find(name)).startswith("refused")
    assert refused(lambda: unit_fact._drop_in(name)).startswith("refused: cannot read the drop-in")
    assert refused(lambda: files_fact.file_fact(name)).startswith(
        ("refused", "{'kind': 'symlink'", "{'kind': 'other'")
    )
    # Where the file is not needed, it counts as absent.
    assert list(sysctl_fact.lines(name)) == []
    assert unit_fact._program(name, Host(name), None)["shebang"] is None
    assert len(module_users._read(name)) <= 1024 * 1024


@pytest.mark.parametrize("plant", [pipe, endless, terminal, folder])
def test_a_swap_file_that_is_none(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    path = tmp_path / "swapfile"
    plant(path)
    name = str(path)
    # Each by itself: it may be put there after we have looked.
    for call in (
        lambda: swap_fact.is_formatted(name),
        lambda: swap_fact.is_blank(name, 1),
        lambda: swaps.header(name),
        lambda: make_swap._clear_header(name),
    ):
        assert refused(call).startswith("refused"), call


def test_a_file_that_is_replaced_after_the_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "unit"
    path.write_text("[Service]\n")
    look = os.lstat

    def flip(name: Any, **more: Any) -> os.stat_result:
        about = look(name, **more)
        path.unlink()
        os.mkfifo(path)
        return about

    monkeypatch.setattr(os, "lstat", flip)
    with pytest.raises(OperationError) as problem:
        files_fact.file_fact(str(path))
    assert "it is not a regular file" in problem.value.message


def test_many_environment_files(tmp_path: Path) -> None:
    for number in range(environment_files.MOST_FILES):
        (tmp_path / f"{number:04}.env").touch()
    assert len(environment_files.matching(f"{tmp_path}/*.env")) == environment_files.MOST_FILES
    (tmp_path / "more.env").touch()
    with pytest.raises(OperationError) as problem:
        environment_files.matching(f"{tmp_path}/*.env")
    assert "matches more than 100 files" in problem.value.message


def test_a_process_with_megabytes_of_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.fork()
    if child == 0:
        os.execv("/bin/sleep", ["celery", *["0" * 100_000] * 20, "600"])
    try:
        for _ in range(200):
            found = processes.read(child)
            if found is not None and found.argv[:1] == ["celery"]:
                break
            signal.sigtimedwait([], 0.02)
        assert found is not None
        assert sum(map(len, found.argv)) <= processes.ARGUMENTS_LIMIT_BYTES
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_processes_that_look_like_workers_are_limited_by_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def process(pid: int, user: str) -> processes.Process:
        return processes.Process(pid, 1, "S", user, 0, ["celery", "worker"], pid)

    crowd = [process(100_000 + number, "mallory") for number in range(5000)]
    own = process(900_000, "deploy")
    monkeypatch.setattr(processes, "each", lambda: iter([*crowd, own]))
    found = workers.matching("^celery\0")
    by_user: Dict[str, int] = {}
    for each in found:
        by_user[each.user] = by_user.get(each.user, 0) + 1
    assert by_user == {"mallory": workers.MOST_OF_A_USER, "deploy": 1}
