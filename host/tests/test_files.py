"""Files are written atomically, and no temporary file stays."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Callable

import pytest
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from conftest import fill
from cuts import cuts

US = (os.geteuid(), os.getegid())


def test_a_file_has_the_requested_content_mode_and_time(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    files.write(str(path), b"new\n", 0o640, *US, modified_ns=1_000_000_000_123_456_789)
    found = files.find(str(path))
    assert found == files.Found(b"new\n", 0o640, *US, 1_000_000_000_123_456_789)
    assert os.listdir(tmp_path) == ["unit"]


def test_the_umask_does_not_change_a_mode(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(str(tmp_path / "unit"), b"", 0o664, *US)
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "unit").st_mode & 0o7777 == 0o664


def test_readers_of_the_old_file_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.write_bytes(b"old")
    with open(path, "rb") as reader:
        files.write(str(path), b"newer", 0o644, *US)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("before", [None, b"old " * 5000])
def test_an_interrupted_write_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "unit"
    new = b"new " * 7000
    seen = set()
    for cut in cuts(tmp_path):
        if before is None:
            files.remove(str(path))
        else:
            path.write_bytes(before)
        cut(lambda: files.write(str(path), new, 0o644, *US))
        now = path.read_bytes() if path.exists() else None
        assert now in (before, new)
        seen.add(now)
        # The next write removes the leftovers of the dead one.
        files.write(str(path), new, 0o644, *US)
        assert path.read_bytes() == new
        assert os.listdir(tmp_path) == ["unit"]
    assert seen == {before, new}


def test_a_removal_also_removes_files_of_a_dead_writer(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    for cut in cuts(tmp_path):
        cut(lambda: files.write(str(path), b"new", 0o644, *US))
        files.remove(str(path))
        files.remove(str(path))
        assert os.listdir(tmp_path) == []


def test_temporary_files_of_a_running_writer_stay(tmp_path: Path) -> None:
    theirs = tmp_path / f".unit.celeriac-{os.getppid()}"
    strange = tmp_path / ".unit.celeriac-notes"
    for each in (theirs, strange):
        each.write_text("half")
    files.write(str(tmp_path / "unit"), b"new", 0o644, *US)
    files.remove(str(tmp_path / "unit"))
    assert sorted(os.listdir(tmp_path)) == sorted([theirs.name, strange.name])


def test_a_link_at_the_temporary_path_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".unit.celeriac-{os.getpid()}").symlink_to(victim)
    files.write(str(tmp_path / "unit"), b"new", 0o644, *US)
    assert victim.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["unit", "victim"]


def test_a_link_at_the_path_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "unit").symlink_to(victim)
    files.write(str(tmp_path / "unit"), b"new", 0o644, *US)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "unit").is_symlink()


def test_a_full_disk_leaves_the_old_file_and_names_it(make_disk: Callable[[int], Path]) -> None:
    disk = make_disk(64)
    path = disk / "unit"
    path.write_bytes(b"old")
    fill(disk)
    with pytest.raises(OSError) as failed:
        files.write(str(path), b"x" * 8192, 0o644, *US)
    assert (failed.value.errno, failed.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(disk)) == ["ballast", "unit"]


def test_a_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError):
            files.write(str(path), b"x" * 100_000, 0o644, *US)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["unit"]


def test_overwriting_in_place_works_on_a_full_disk(
    make_disk: Callable[[int], Path],
) -> None:
    disk = make_disk(64)
    path = disk / "unit"
    path.write_bytes(b"n" * 6000)
    fill(disk)
    before = files.Found(b"old" * 1500, 0o600, *US, 1_700_000_000_000_000_000)
    files.overwrite(str(path), before)
    assert files.find(str(path)) == before


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert files.find(str(tmp_path / "unit")) is None
    assert files.find(str(tmp_path / "no" / "unit")) is None


@pytest.mark.parametrize("kind", ["link", "link to nowhere", "pipe", "folder", "below a file"])
def test_a_special_file_is_refused_without_blocking(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "unit"
    other = tmp_path / "other"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        if kind != "link to nowhere":
            other.write_text("x")
        path.symlink_to(other)
    where = other / "unit" if kind == "below a file" else path
    with pytest.raises(OperationError) as refused:
        files.find(str(where))
    assert str(where) in refused.value.message


def test_the_digest_of_a_large_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = os.urandom(1024 * 1024 + 17)
    (tmp_path / "large").write_bytes(content)
    assert files.sha256_of(str(tmp_path / "large")) == files.sha256(content)


def test_only_byte_code_of_the_module_is_removed(tmp_path: Path) -> None:
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    ours = ["[a]b.cpython-38.pyc", "[a]b.cpython-311.opt-1.pyc"]
    for name in [*ours, "ab.cpython-38.pyc"]:
        (cache / name).touch()
    files.remove_byte_code(str(tmp_path / "[a]b.txt"))
    assert len(os.listdir(cache)) == 3
    files.remove_byte_code(str(tmp_path / "[a]b.py"))
    assert os.listdir(cache) == ["ab.cpython-38.pyc"]
    files.remove_byte_code(str(tmp_path / "ab.py"))
    files.remove_byte_code(str(tmp_path / "ab.py"))
    assert not cache.exists()


def test_new_folders_are_removed_up_to_one_in_use(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b" / "c"
    made = files.missing_folders(str(inner))
    assert made == [str(inner), str(inner.parent), str(inner.parent.parent)]
    files.make_folders(str(inner))
    (tmp_path / "a" / "theirs").touch()
    assert files.missing_folders(str(inner)) == []
    files.remove_folders(made)
    files.remove_folders(made)
    assert os.listdir(tmp_path / "a") == ["theirs"]


def test_a_tree_is_removed_without_following_its_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "file").touch()
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "precious")
    files.remove_tree(str(tree))
    files.remove_tree(str(tree))
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert os.listdir(outside) == ["precious"]


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    top, outside = tmp_path / "tree", tmp_path / "outside"
    top.mkdir()
    outside.mkdir()
    (top / "link").symlink_to(outside)
    handle = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("x", dir_fd=handle)
        deeper = os.open("x", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    files.remove_tree(str(top))
    assert os.listdir(tmp_path) == ["outside"]
    files.remove_tree(str(top))
