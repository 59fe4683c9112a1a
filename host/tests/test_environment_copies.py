"""Copies of an environment by hard links, and their restore."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from celeriac_host.app.programs import environment as program


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment with a copy, and a package that was installed later."""
    root = tmp_path / "venv"
    packages = root / "lib" / "packages"
    packages.mkdir(parents=True)
    (root / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (packages / "probe.py").write_text("VERSION = 1\n")
    program.keep_environment({"root": str(root), "keep": "before", "others": 1})
    # Like installers: a new file replaces the old one.
    (packages / "probe.py").unlink()
    (packages / "probe.py").write_text("VERSION = 2\n")
    (packages / "added.py").write_text("")
    return root


def restore(root: Path) -> None:
    program.restore_environment({"root": str(root), "keep": "before"})


def expect_as_before(root: Path) -> None:
    packages = root / "lib" / "packages"
    assert sorted(os.listdir(root)) == [".celeriac", "lib", "pyvenv.cfg"]
    assert os.listdir(packages) == ["probe.py"]
    assert (packages / "probe.py").read_text() == "VERSION = 1\n"
    assert os.listdir(root / ".celeriac") == ["before.failed"]


def refuse_folders(monkeypatch: pytest.MonkeyPatch, limit: int | None = None) -> None:
    """Refuses folders like an overlay file system; fails after `limit` renames."""
    rename, done = os.rename, [0]

    def overlay(source: Any, target: Any) -> None:
        if limit is not None and done[0] >= limit:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(source))
        if os.path.isdir(source) and ".celeriac" not in str(source):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
        rename(source, target)
        done[0] += 1

    monkeypatch.setattr(os, "rename", overlay)


def test_later_installed_packages_are_removed(environment: Path) -> None:
    restore(environment)
    expect_as_before(environment)


def test_folders_that_cannot_be_renamed(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_folders(monkeypatch)
    restore(environment)
    expect_as_before(environment)


@pytest.mark.parametrize("renames", range(4))
def test_an_interrupted_restore_continues(
    environment: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    with monkeypatch.context() as patched:
        refuse_folders(patched, renames)
        with pytest.raises(OSError, match="Input/output error"):
            restore(environment)
    refuse_folders(monkeypatch)
    restore(environment)
    expect_as_before(environment)
