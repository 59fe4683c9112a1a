"""Files are restored byte for byte, and later changes by others are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest
from celeriac_host.state import aside
from celeriac_host.state.journal import Journal
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from conftest import fill
from cuts import cuts

US = (os.geteuid(), os.getegid())
OLD = files.Found(b"old\n" * 3000, 0o640, *US, 1_600_000_000_123_456_789)


def put(path: Path, found: files.Found) -> None:
    files.write(str(path), *found)


def change(journal: Journal, path: Path, text: str = "new\n") -> None:
    aside.change(journal.step(0), str(path), files.find(str(path)), text, 0o644)


def restore(journal: Journal) -> str | None:
    """Restores as another process would, from the journal alone."""
    return aside.restore(Journal(journal.folder).step(0))


def test_a_file_is_restored_with_its_mode_owner_and_time_any_number_of_times(
    journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "unit"
    put(path, OLD)
    change(journal, path)
    assert path.read_text() == "new\n"
    for _ in range(2):
        assert restore(journal) == f"{path} restored"
        assert files.find(str(path)) == OLD


def test_a_new_file_and_its_new_folders_are_removed(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "made" / "too" / "module.py"
    change(journal, path)
    cache = path.parent / "__pycache__"
    cache.mkdir()
    (cache / "module.cpython-311.pyc").touch()
    for _ in range(2):
        assert restore(journal) == f"{path} removed again"
        assert not (tmp_path / "made").exists()


def test_a_folder_that_is_in_use_meanwhile_stays(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "made" / "too" / "unit"
    change(journal, path)
    (tmp_path / "made" / "theirs").touch()
    restore(journal)
    assert os.listdir(tmp_path / "made") == ["theirs"]


def test_without_a_backup_nothing_is_restored(journal: Journal) -> None:
    assert restore(journal) is None


@pytest.mark.parametrize("was_there", [True, False])
def test_an_interrupted_change_is_restored_completely(
    journal: Journal, tmp_path: Path, was_there: bool
) -> None:
    folder = tmp_path / "etc"
    path = folder / "unit.d" / "unit"
    for cut in cuts(tmp_path):
        files.remove_tree(str(folder))
        files.remove(journal.path)
        if was_there:
            path.parent.mkdir(parents=True)
            put(path, OLD)
        cut(lambda: change(journal, path))
        for _ in range(2):
            restore(journal)
            assert files.find(str(path)) == (OLD if was_there else None)
            assert path.parent.exists() == was_there
            assert not was_there or os.listdir(path.parent) == ["unit"]


@pytest.mark.parametrize("was_there", [True, False])
def test_an_interrupted_restore_is_finished_by_the_next(
    journal: Journal, tmp_path: Path, was_there: bool
) -> None:
    path = tmp_path / "etc" / "unit"
    for cut in cuts(tmp_path):
        files.remove_tree(str(path.parent))
        files.remove(journal.path)
        if was_there:
            path.parent.mkdir()
            put(path, OLD)
        change(journal, path)
        cut(lambda: restore(journal))
        restore(journal)
        assert files.find(str(path)) == (OLD if was_there else None)
        assert (os.listdir(path.parent) if was_there else path.parent.exists()) == (
            ["unit"] if was_there else False
        )


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("since", ["another text", "a link", "a folder"])
def test_a_later_change_stays_and_the_error_names_the_backup(
    journal: Journal, tmp_path: Path, was_there: bool, since: str
) -> None:
    path = tmp_path / "unit"
    if was_there:
        put(path, OLD)
    change(journal, path)
    path.unlink()
    if since == "another text":
        path.write_text("theirs\n")
    elif since == "a link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    with pytest.raises(OperationError) as refused:
        restore(journal)
    assert str(path) in refused.value.message
    if since == "another text":
        assert path.read_text() == "theirs\n"
        assert (os.path.join(journal.folder, "backups", "0") in refused.value.message) == was_there
    assert path.is_symlink() == (since == "a link")
    assert path.is_dir() == (since == "a folder")


def test_a_missing_file_is_created_again_only_if_we_removed_it(
    journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "unit"
    put(path, OLD)
    aside.keep(journal.step(0), str(path), files.find(str(path)), None)
    files.remove(str(path))
    restore(journal)
    assert files.find(str(path)) == OLD
    aside.keep(journal.step(1), str(path), files.find(str(path)), files.sha256(b"new"))
    files.remove(str(path))
    with pytest.raises(OperationError):
        aside.restore(journal.step(1))
    assert not path.exists()


def test_a_changed_mode_is_restored_too(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "unit"
    put(path, OLD)
    change(journal, path, OLD.content.decode())
    assert os.stat(path).st_mode & 0o777 == 0o644
    restore(journal)
    assert files.find(str(path)) == OLD


def test_a_missing_backup_is_an_error_and_the_file_stays(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "unit"
    put(path, OLD)
    change(journal, path)
    backup = os.path.join(journal.folder, "backups", "0")
    os.unlink(backup)
    with pytest.raises(OperationError) as failed:
        restore(journal)
    assert backup in failed.value.message
    assert path.read_text() == "new\n"


def test_on_a_full_disk_a_file_is_restored_in_place(
    journal: Journal, make_disk: Callable[[int], Path]
) -> None:
    disk = make_disk(64)
    path = disk / "unit"
    put(path, OLD)
    change(journal, path, "n" * len(OLD.content))
    fill(disk)
    assert restore(journal) == f"{path} restored"
    assert files.find(str(path)) == OLD
    assert sorted(os.listdir(disk)) == ["ballast", "unit"]


def test_a_disk_that_is_too_full_to_restore_is_an_error(
    journal: Journal, make_disk: Callable[[int], Path]
) -> None:
    disk = make_disk(64)
    path = disk / "unit"
    put(path, OLD)
    aside.keep(journal.step(0), str(path), files.find(str(path)), None)
    files.remove(str(path))
    fill(disk)
    with pytest.raises(OSError):
        restore(journal)
    (disk / "ballast").unlink()
    restore(journal)
    assert files.find(str(path)) == OLD


@pytest.mark.parametrize(
    ("there", "expects", "also", "good"),
    [
        (None, None, "", True),
        ("old", "old", "", True),
        ("new", "old", "new", True),
        ("new", None, "new", True),
        ("mine", "old", "new", False),
        ("mine", None, "", False),
        (None, "old", "new", False),
        (None, "old", "", False),
    ],
)
def test_a_file_that_changed_after_the_plan_is_refused(
    tmp_path: Path, there: str | None, expects: str | None, also: str, good: bool
) -> None:
    path = tmp_path / "unit"
    if there is not None:
        path.write_text(there)
    digests: dict[Any, str] = {text: files.sha256(text.encode()) for text in ("old", "new")}
    words = (str(path), digests.get(expects), digests.get(also, ""))
    if good:
        found = aside.expect(*words)
        assert (None if found is None else found.content.decode()) == there
        assert not (found and aside.changed({"path": str(path), "wrote": found.sha256}))
        return
    with pytest.raises(OperationError) as refused:
        aside.expect(*words)
    assert str(path) in refused.value.message
