"""Files of other users: opened once, without following links that they could change."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Callable

import pytest
from celeriac_host.system import owned
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity

APP = 65534


def app() -> Identity:
    return identity(str(APP))


def give(path: Path, content: bytes = b"mine", owner: int = APP) -> Path:
    path.write_bytes(content)
    os.chown(path, owner, owner)
    return path


def link(path: Path, target: object, owner: int) -> Path:
    os.symlink(str(target), path)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def refused(path: object, *words: str) -> None:
    with pytest.raises(OperationError) as wrong, owned.opened(str(path)):
        pass
    assert all(word in wrong.value.message for word in (str(path), *words)), wrong.value.message


def test_a_plain_path_is_opened_and_closed_again(app_folder: Path) -> None:
    path = give(app_folder / "env")
    before = os.listdir("/proc/self/fd")
    with owned.opened(str(path)) as found:
        assert (found.path, found.about.st_uid) == (str(path), APP)
        assert Path(found.proc).read_bytes() == b"mine"
    assert os.listdir("/proc/self/fd") == before


def test_folders_dots_and_double_slashes_are_walked(app_folder: Path) -> None:
    path = give(app_folder / "env")
    (app_folder / "more").mkdir()
    with owned.opened(f"{app_folder}//more/.././env") as found:
        assert os.path.samestat(found.about, os.stat(path))
    with owned.opened(f"{app_folder}/more/") as found:
        assert os.path.samestat(found.about, os.stat(app_folder / "more"))
    with owned.opened("/..") as found:
        assert os.path.samestat(found.about, os.stat("/"))


def test_the_descriptor_stays_with_the_file_whatever_the_path_becomes(app_folder: Path) -> None:
    path = give(app_folder / "env")
    with owned.opened(str(path), os.O_RDONLY) as found:
        os.rename(path, app_folder / "moved")
        os.symlink("/etc/shadow", path)
        assert os.read(found.handle, 10) == b"mine"


def test_links_of_root_in_folders_of_root_are_followed(root_folder: Path) -> None:
    give(root_folder / "real", b"content", 0)
    (root_folder / "deep").mkdir()
    link(root_folder / "absolute", root_folder / "real", 0)
    link(root_folder / "deep" / "relative", "../absolute", 0)
    link(root_folder / "folder", "deep", 0)
    for name in ("absolute", "deep/relative", "folder/relative"):
        assert owned.read(str(root_folder / name)) == b"content"


@pytest.mark.parametrize("target", ["/etc/shadow", "env", ".."])
def test_a_link_of_the_app_is_refused_wherever_it_leads(app_folder: Path, target: str) -> None:
    give(app_folder / "env")
    refused(link(app_folder / "link", target, APP), "symbolic link of nobody", target)
    refused(app_folder / "link" / "below", "symbolic link of nobody")


def test_a_link_of_root_is_refused_in_a_folder_that_the_app_may_change(app_folder: Path) -> None:
    # The app cannot change it, but it can put another one in its place.
    refused(link(app_folder / "link", "/etc/hostname", 0), "users other than root can change")


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write_is_no_place_for_links(root_folder: Path, mode: int) -> None:
    shared = root_folder / "shared"
    (shared / "deep").mkdir(parents=True)
    os.chmod(shared, mode)
    give(shared / "deep" / "file")
    link(shared / "link", "deep", 0)
    # Not in the folders below it either: each of them could be replaced.
    link(shared / "deep" / "link", "file", 0)
    refused(shared / "link" / "file", "users other than root can change")
    refused(shared / "deep" / "link", "users other than root can change")
    assert owned.read(str(shared / "deep" / "file")) == b"mine"


def test_a_link_of_root_into_a_folder_of_the_app_does_not_make_its_links_good(
    root_folder: Path, app_folder: Path
) -> None:
    give(app_folder / "env")
    link(app_folder / "inner", "env", APP)
    link(root_folder / "outer", "app/inner", 0)
    link(root_folder / "good", "app/env", 0)
    refused(root_folder / "outer", "inner is a symbolic link of nobody")
    assert owned.read(str(root_folder / "good")) == b"mine"


def test_a_circle_of_links_is_refused(root_folder: Path) -> None:
    link(root_folder / "one", "two", 0)
    link(root_folder / "two", "one", 0)
    refused(root_folder / "one", "too many symbolic links")


def test_what_is_not_there_is_said_so(root_folder: Path) -> None:
    give(root_folder / "file")
    with pytest.raises(owned.Absent, match="no such file"), owned.opened(f"{root_folder}/none"):
        pass
    refused(root_folder / "file" / "below", "is not a folder")
    refused(f"{root_folder}/file/", "is not a folder")
    refused(root_folder / ("a" * 300), "File name too long")


@pytest.mark.parametrize("path", ["", "relative/path", "/with\0nul"])
def test_a_path_is_absolute(path: str) -> None:
    with pytest.raises(OperationError, match="expected an absolute one"), owned.opened(path):
        pass


def test_the_owner_is_required_with_both_names(app_folder: Path) -> None:
    path = give(app_folder / "shop.db", owner=1)
    with owned.opened(str(path)) as found:
        with pytest.raises(OperationError) as wrong:
            owned.require_owner(found, app(), "shop-worker.service")
        owned.require_owner(found, identity("1"), "shop-worker.service")
    said = wrong.value.message
    assert f"{path} belongs to daemon, but shop-worker.service runs as nobody" in said
    assert "app-user" in said


def test_reading_requires_the_owner_too(app_folder: Path) -> None:
    path = give(app_folder / "env", owner=1)
    with pytest.raises(OperationError, match="belongs to daemon; expected a file of nobody"):
        owned.read(str(path), whom=app())
    assert owned.read(str(path), whom=identity("1")) == b"mine"


def test_a_large_file_is_not_read_whole(app_folder: Path) -> None:
    path = give(app_folder / "env", b"x" * 100)
    assert owned.read(str(path), 100) == b"x" * 100
    with pytest.raises(OperationError, match="has more than 99 bytes"):
        owned.read(str(path), 99)


def test_a_file_of_the_kernel_is_read_though_it_says_that_it_is_empty() -> None:
    assert b"Name:" in owned.read("/proc/1/status")


def never_waits(path: Path, flags: int = os.O_RDONLY) -> None:
    """Fails instead of hanging."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(20)
    try:
        with pytest.raises(OperationError, match="is not a regular file"):
            owned.read(str(path))
        with pytest.raises(OperationError, match="not a regular file"), owned.opened(
            str(path), flags
        ):
            pass
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_pipes_devices_and_sockets_are_not_opened(app_folder: Path) -> None:
    os.mkfifo(app_folder / "pipe")
    os.mknod(app_folder / "zero", 0o666 | 0o020000, os.makedev(1, 5))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(app_folder / "socket"))
        for name in ("pipe", "zero", "socket"):
            never_waits(app_folder / name)
            never_waits(app_folder / name, os.O_WRONLY)
            with owned.opened(str(app_folder / name)) as found:
                assert found.handle > 2
    with pytest.raises(OperationError, match="is not a regular file"):
        owned.read(str(app_folder))


def test_nothing_is_created_or_emptied(app_folder: Path) -> None:
    path = give(app_folder / "env")
    for flags in (os.O_CREAT | os.O_RDWR, os.O_TRUNC | os.O_WRONLY):
        with pytest.raises(ValueError), owned.opened(str(path), flags):
            pass
    assert path.read_bytes() == b"mine"


def flipping(path: Path, states: list[Callable[[Path], None]]) -> int:
    """A child of the app's user that replaces the path as fast as it can."""
    child = os.fork()
    if child == 0:
        try:
            os.setgid(APP)
            os.setuid(APP)
            beside = path.with_name("beside")
            while True:
                for make in states:
                    make(beside)
                    os.rename(beside, path)
        finally:
            os._exit(1)
    return child


def test_a_path_that_flips_leads_to_the_app_or_nowhere(root_folder: Path, app_folder: Path) -> None:
    secret = give(root_folder / "secret", b"secret", 0)
    os.chmod(secret, 0o600)
    path = app_folder / "env"

    def own(beside: Path) -> None:
        beside.write_bytes(b"mine")

    def bad(beside: Path) -> None:
        os.symlink(secret, beside)

    child = flipping(path, [own, bad])
    read = refusals = 0
    try:
        for _ in range(3000):
            try:
                # Empty while the app is about to write.
                assert owned.read(str(path)) in (b"mine", b"")
                read += 1
            except OperationError:
                refusals += 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert read + refusals == 3000
    assert refusals > 0


def test_a_folder_that_flips_leads_to_the_app_or_nowhere(
    root_folder: Path, app_folder: Path
) -> None:
    give(root_folder / "env", b"secret", 0)
    (app_folder / "real").mkdir()
    give(app_folder / "real" / "env")
    os.chown(app_folder / "real", APP, APP)
    way: list[Callable[[Path], None]] = [
        lambda beside: os.symlink(root_folder, beside),
        lambda beside: os.symlink(app_folder / "real", beside),
    ]
    child = flipping(app_folder / "flip", way)
    try:
        for _ in range(2000):
            with pytest.raises(OperationError):
                owned.read(f"{app_folder}/flip/env")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
