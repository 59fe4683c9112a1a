"""Swap files are made by the plan, on the file system that it saw."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest
from celeriac_host.operations import make_swap
from celeriac_host.state.journal import Journal
from celeriac_host.system import files, swaps
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import Completed
from cuts import cuts
from hosts import Host

SIZE = 1024 * 1024


@pytest.fixture
def path(make_disk: Callable[[int], Path]) -> Path:
    """On tmpfs, which no plan would choose: the host does not decide."""
    return make_disk(8 * 1024) / "swapfile"


def operation(path: Path, **more: Any) -> Dict[str, Any]:
    args = {"path": str(path), "sizeBytes": SIZE, "filesystem": "tmpfs"}
    return {**args, "fill": "write", "nocow": False, **more}


def calls_of(host: Host, monkeypatch: pytest.MonkeyPatch) -> List[Sequence[str]]:
    """Records commands; does not run chattr, which tmpfs does not support."""
    calls: List[Sequence[str]] = []
    run = host.run

    def noted(argv: Sequence[str], *args: Any, **more: Any) -> Completed:
        calls.append(argv)
        if argv[0] == "chattr":
            return Completed(argv, 0, "", "", False)
        return run(argv, *args, **more)

    monkeypatch.setattr(host, "run", noted)
    return calls


@pytest.mark.parametrize(("fill", "how"), [("write", "written"), ("allocate", "allocated")])
def test_the_operation_decides_how_it_is_filled(
    host: Host, journal: Journal, path: Path, fill: str, how: str
) -> None:
    args = operation(path, fill=fill)
    assert how in make_swap.do(args, host, journal.step(0))
    about = os.lstat(path)
    assert (about.st_size, about.st_uid, stat.S_IMODE(about.st_mode)) == (SIZE, 0, 0o600)
    assert about.st_blocks * 512 >= SIZE
    assert swaps.header(str(path)) is not None
    assert make_swap.check(args, host)
    make_swap.undo(args, host, journal.step(0))
    assert not path.exists()


@pytest.mark.parametrize("nocow", [True, False])
def test_the_operation_decides_on_copy_on_write(
    host: Host, journal: Journal, path: Path, nocow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of(host, monkeypatch)
    make_swap.do(operation(path, nocow=nocow), host, journal.step(0))
    assert any(argv[0] == "chattr" for argv in calls) is nocow


def test_a_changed_file_system_is_refused(host: Host, journal: Journal, path: Path) -> None:
    with pytest.raises(OperationError) as refused:
        make_swap.do(operation(path, filesystem="ext4"), host, journal.step(0))
    assert "on tmpfs; it was ext4 when the plan was made" in refused.value.message
    assert list(path.parent.iterdir()) == []


def test_an_older_plan_is_undone(
    host: Host, journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_swap.do(operation(path), host, journal.step(0))
    before = swaps.header(str(path))
    make_swap.do(operation(path, sizeBytes=2 * SIZE), host, journal.step(1))
    assert os.path.getsize(path) == 2 * SIZE
    calls = calls_of(host, monkeypatch)
    make_swap.undo({"path": str(path), "sizeBytes": 2 * SIZE}, host, journal.step(1))
    assert (os.path.getsize(path), swaps.header(str(path))) == (SIZE, before)
    os.remove(path)
    make_swap.undo({"path": str(path), "sizeBytes": 2 * SIZE}, host, journal.step(1))
    assert (os.path.getsize(path), swaps.header(str(path))) == (SIZE, before)
    # It may have been btrfs, where a swap file must not be copied on write.
    assert any(argv[0] == "chattr" for argv in calls)


@pytest.fixture
def full(make_disk: Callable[[int], Path]) -> Path:
    """On a disk with 3 MiB, of which the test's file takes a part."""
    return make_disk(3 * 1024) / "swapfile"


def state_of(path: Path) -> Any:
    about = os.lstat(path)
    return about.st_size, stat.S_IMODE(about.st_mode), swaps.header(str(path))


@pytest.mark.parametrize("fill", ["write", "allocate"])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_file_is_resized_where_it_is(
    host: Host, journal: Journal, full: Path, fill: str, before: int, after: int
) -> None:
    """Never two files: the disk has no room for both, or would be full for a while."""
    make_swap.do(operation(full, sizeBytes=before * SIZE, fill=fill), host, journal.step(0))
    first, inode = state_of(full), os.stat(full).st_ino
    args = operation(full, sizeBytes=after * SIZE, fill=fill)
    make_swap.do(args, host, journal.step(1))
    assert make_swap.check(args, host)
    assert os.stat(full).st_ino == inode
    # /etc/fstab may name it by its UUID.
    assert state_of(full) == (after * SIZE, 0o600, first[2])
    make_swap.undo(args, host, journal.step(1))
    assert state_of(full) == first
    make_swap.undo(args, host, journal.step(1))
    assert state_of(full) == first


@pytest.mark.parametrize("fill", ["write", "allocate"])
def test_a_file_that_cannot_grow_is_as_before(
    host: Host, journal: Journal, full: Path, fill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_swap.do(operation(full, fill=fill), host, journal.step(0))
    first = state_of(full)
    # Somebody else takes the space after the check.
    monkeypatch.setattr(files, "free_bytes", lambda folder: 64 * SIZE)
    with pytest.raises((OperationError, OSError)):
        make_swap.do(operation(full, sizeBytes=8 * SIZE, fill=fill), host, journal.step(1))
    assert state_of(full) == first
    assert os.listdir(full.parent) == ["swapfile"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_cut_while_it_is_resized_is_undone(
    host: Host, journal: Journal, full: Path, before: int, after: int
) -> None:
    make_swap.do(operation(full, sizeBytes=before * SIZE), host, journal.step(0))
    first = state_of(full)
    args = operation(full, sizeBytes=after * SIZE)
    seen = set()
    for cut in cuts(full.parent):
        files.remove(journal.path)
        cut(make_swap.do, args, host, journal.step(1))
        seen.add(os.path.getsize(full))
        make_swap.undo(args, host, journal.step(1))
        make_swap.undo(args, host, journal.step(1))
        assert state_of(full) == first
        assert os.listdir(full.parent) == ["swapfile"]
    assert seen == {before * SIZE, after * SIZE}


def test_holes_are_filled_where_they_are(host: Host, journal: Journal, full: Path) -> None:
    make_swap.do(operation(full, sizeBytes=SIZE), host, journal.step(0))
    os.truncate(full, 2 * SIZE)
    args = operation(full, sizeBytes=2 * SIZE)
    assert not make_swap.check(args, host)
    make_swap.do(args, host, journal.step(1))
    assert make_swap.check(args, host)


def test_a_file_that_is_copied_on_write_is_made_anew(
    host: Host, journal: Journal, full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On btrfs; chattr works only while a file is empty, so the file is another one."""
    make_swap.do(operation(full, sizeBytes=2 * SIZE), host, journal.step(0))
    old = os.stat(full).st_ino
    monkeypatch.setattr(swaps, "nocow", lambda path: os.stat(path).st_ino != old)
    calls = calls_of(host, monkeypatch)
    args = operation(full, sizeBytes=2 * SIZE, nocow=True)
    assert not make_swap.check(args, host)
    make_swap.do(args, host, journal.step(1))
    assert make_swap.check(args, host)
    assert ["chattr", "+C", str(full) + ".celeriac-new"] in [list(argv) for argv in calls]
    # On another file system, the flag means nothing.
    monkeypatch.setattr(swaps, "nocow", lambda path: False)
    assert make_swap.check(operation(full, sizeBytes=2 * SIZE), host)


def test_the_flag_is_read_as_lsattr_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    subprocess.run(["chattr", "+C", str(path)], stderr=subprocess.DEVNULL, check=False)
    done = subprocess.run(["lsattr", str(path)], stdout=subprocess.PIPE, text=True, check=False)
    expected = "C" in done.stdout.split()[0] if done.returncode == 0 and done.stdout else None
    assert swaps.nocow(str(path)) is expected
    assert swaps.nocow(str(tmp_path / "absent")) is None
