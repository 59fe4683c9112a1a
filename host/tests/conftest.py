"""Fixtures for several test files."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Iterator

import pytest
from celeriac_host.state.journal import Journal
from celeriac_host.store import copies
from hosts import Host, make_state
from policies import Hardened

# From tools/python.ts, for this process alone: not for the programs that the tests start.
for name in ("PYTHONMALLOC", "GLIBC_TUNABLES"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def no_copies() -> Iterator[None]:
    """Removes what deliberately interrupted work left, as the next run would."""
    yield
    with copies.folder_for_copy(0):
        pass


@pytest.fixture
def state(tmp_path: Path) -> str:
    return make_state(str(tmp_path))


@pytest.fixture
def host(state: str) -> Host:
    return Host(state)


@pytest.fixture
def journal(state: str) -> Journal:
    """The journal of a transaction that has just started."""
    folder = os.path.join(state, "transactions", "20260101T000000-0001")
    os.makedirs(os.path.join(folder, "backups"))
    return Journal(folder)


@pytest.fixture
def root() -> None:
    """For tests that need root. A skipped test counts as failed."""
    if os.geteuid() != 0:
        pytest.skip("needs root, or sudo -n")


@pytest.fixture
def root_folder(root: None) -> Iterator[Path]:
    """A folder whose every parent is root's, unlike those in /tmp."""
    folder = tempfile.mkdtemp(prefix="celeriac-test-", dir="/run")
    os.chmod(folder, 0o755)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def app_folder(root_folder: Path) -> Path:
    """A folder of the app's user, nobody, in a folder of root's."""
    folder = root_folder / "app"
    folder.mkdir()
    app = pwd.getpwnam("nobody")
    os.chown(folder, app.pw_uid, app.pw_gid)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike `tmp_path`."""
    folder = tempfile.mkdtemp(prefix="celeriac-test-")
    os.chmod(folder, 0o755)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture
def hardened(root: None, state: str) -> Iterator[Hardened]:
    """Below /run: every folder above it is root's alone."""
    folder = tempfile.mkdtemp(prefix="celeriac-test-", dir="/run")
    os.chmod(folder, 0o755)
    yield Hardened(Path(folder), state)
    shutil.rmtree(folder)


@pytest.fixture
def make_disk(root: None, tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many KiB, unmounted after the test."""
    mounted: list[Path] = []

    def make(kib: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        what = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "tmpfs", str(folder)]
        subprocess.run(what, check=True)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fills the disk; returns the file that does."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (65536, 4096):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
    return ballast


def wait_for(is_so: Callable[[], bool]) -> None:
    """Waits: the kernel delivers signals and updates states with a short delay."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def nodenames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's, which is not installed here."""
    host = socket.gethostname()

    def default_nodename(given: str | None) -> str:
        name, _, rest = (given or "").rpartition("@")
        return f"{name or 'celery'}@{rest or host}"

    def host_format(name: str) -> str:
        if "%d" in name:
            raise ValueError("no such key")
        return name.replace("%h", host)

    names = SimpleNamespace(default_nodename=default_nodename, host_format=host_format)
    monkeypatch.setitem(sys.modules, "celery.utils.nodenames", names)
