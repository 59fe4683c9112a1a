"""Swap files are made by the plan, on the file system that it saw."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest
from celeriac_host.operations import make_swap
from celeriac_host.state.journal import Journal
from celeriac_host.system import swaps
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import Completed
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
    assert swaps.header(str(path)) != before
    calls = calls_of(host, monkeypatch)
    make_swap.undo({"path": str(path), "sizeBytes": 2 * SIZE}, host, journal.step(1))
    assert (os.path.getsize(path), swaps.header(str(path))) == (SIZE, before)
    # It may have been btrfs, where a swap file must not be copied on write.
    assert any(argv[0] == "chattr" for argv in calls)
