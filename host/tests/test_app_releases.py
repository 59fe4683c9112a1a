"""Code folders below a folder of the app's: nothing is written there as root, by any link."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from app_folders import NOBODY, UNIT, answers, owners
from celeriac_host.code import trees
from celeriac_host.facts import release
from celeriac_host.operations import prune_releases, switch_release, unpack_release
from celeriac_host.state.journal import Journal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity
from hosts import Host

pytestmark = pytest.mark.usefixtures("root")
COMMIT = "a" * 40
TRIES = 12


@pytest.fixture
def base(open_folder: Path) -> Path:
    """A folder of the app's, in another one of the app's."""
    folder = open_folder / "app" / "code"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        os.chown(each, NOBODY, NOBODY)
    return folder


@pytest.fixture
def victim(open_folder: Path) -> Path:
    """A folder of root's with something in it."""
    folder = open_folder / "victim"
    (folder / COMMIT).mkdir(parents=True)
    (folder / COMMIT / "precious").touch()
    return folder


def parcel(state: str) -> str:
    """An archive with a program, as the run sends it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("run.sh")
        member.size, member.mode = 2, 0o755
        archive.addfile(member, io.BytesIO(b"x\n"))
    digest = sha256(out.getvalue()).hexdigest()
    os.makedirs(os.path.join(state, "incoming"), exist_ok=True)
    Path(state, "incoming", digest).write_bytes(out.getvalue())
    return digest


def unpacking(state: str, base: Path, user: str, **more: Any) -> dict[str, Any]:
    asked = {"user": user, "deployTo": str(base), "commit": COMMIT, "sha256": parcel(state)}
    return {**asked, "shared": [{"path": "uploads", "folder": True}], **more}


def test_all_of_it_belongs_to_the_apps_user(state: str, journal: Journal, base: Path) -> None:
    host = Host(state)
    args = unpacking(state, base, "nobody")
    unpack_release.do(args, host, journal.step(0))
    assert unpack_release.check(args, host)
    switch = {"user": "nobody", "deployTo": str(base), "commit": COMMIT, "expects": None}
    switch_release.do(switch, host, journal.step(1))
    assert os.readlink(base / "current") == f"releases/{COMMIT}"
    assert owners(base) == {NOBODY}
    query = {"unit": UNIT, "source": "upload", "user": None, "deployTo": str(base)}
    found = release.look(query, Host(state, answers("nobody")))["tree"]
    assert (found["kind"], found["user"], found["releases"]) == ("releases", "nobody", [COMMIT])


def test_a_link_to_a_folder_of_roots_is_refused(
    state: str, journal: Journal, base: Path, victim: Path
) -> None:
    os.rmdir(base)
    base.symlink_to(victim)
    before = sorted(os.listdir(victim))
    for user in ("nobody", "root"):
        with pytest.raises(OperationError, match="belongs to"):
            unpack_release.do(unpacking(state, base, user), Host(state), journal.step(0))
        args = {"user": user, "deployTo": str(base), "commit": COMMIT, "expects": None}
        with pytest.raises(OperationError, match="belongs to"):
            switch_release.do(args, Host(state), journal.step(1))
        with pytest.raises(OperationError, match="belongs to"):
            prune_releases.check({**args, "keep": 2, "spare": []}, Host(state))
    assert sorted(os.listdir(victim)) == before


def test_a_link_that_flips_gets_nothing_written_as_root(
    state: str, journal: Journal, base: Path, victim: Path
) -> None:
    own, ends = base.parent / "own", threading.Event()
    os.rename(base, own)
    before = sorted(os.listdir(victim))

    def flip() -> None:
        while not ends.is_set():
            for target in (victim, own):
                beside = base.parent / "beside"
                beside.symlink_to(target)
                os.rename(beside, base)

    attacker = threading.Thread(target=flip)
    base.symlink_to(own)
    attacker.start()
    try:
        for number in range(TRIES):
            args = unpacking(state, base, "nobody", commit=f"{number:040x}")
            try:
                unpack_release.do(args, Host(state), journal.step(number))
            except OperationError:
                continue
    finally:
        ends.set()
        attacker.join()
    assert sorted(os.listdir(victim)) == before
    assert owners(own) <= {NOBODY}


def test_a_unit_of_root_with_a_folder_of_the_apps_is_refused(
    state: str, journal: Journal, base: Path
) -> None:
    query = {"unit": UNIT, "source": "upload", "user": None, "deployTo": str(base)}
    found = release.look(query, Host(state, answers("")))["tree"]
    assert found["kind"] == "not-own"
    assert found["problem"].endswith("belongs to nobody, and the app's user is root")
    assert "chown" in found["fix"]
    # Nor in a folder of root's that the app can move away.
    os.chown(base, 0, 0)
    assert release.look(query, Host(state, answers("")))["tree"]["kind"] == "not-own"


def test_a_missing_folder_is_absent_and_a_current_that_is_no_link_unusable(
    state: str, base: Path
) -> None:
    query = {"unit": UNIT, "source": "upload", "user": "nobody", "deployTo": str(base)}
    missing = {**query, "deployTo": str(base / "none")}
    assert release.look(missing, Host(state))["tree"]["kind"] == "absent"
    (base / "current").mkdir()
    found = release.look(query, Host(state))["tree"]
    assert (found["kind"], "current is not a link" in found["problem"]) == ("unusable", True)


def test_what_others_left_in_a_code_folder_is_removed_and_nothing_behind_a_link(
    state: str, base: Path, victim: Path
) -> None:
    releases, user = base / "releases", identity("nobody")
    cache = releases / COMMIT / "app" / "__pycache__"
    cache.mkdir(parents=True)
    (cache / "of-root.pyc").touch()
    (releases / ("b" * 40)).symlink_to(victim)
    for each in (releases, releases / COMMIT, cache.parent):
        os.chown(each, NOBODY, NOBODY)
    left = trees.remove(Host(state), user, str(releases), [COMMIT, "b" * 40])
    assert left == ["b" * 40]
    assert os.listdir(releases) == ["b" * 40]
    assert os.listdir(victim / COMMIT) == ["precious"]


def test_files_of_root_that_the_user_calls_a_code_folder_are_left(state: str, base: Path) -> None:
    releases = base / "releases"
    for name in ("data", "__pycache__"):
        (releases / COMMIT / name).mkdir(parents=True)
        (releases / COMMIT / name / "precious").touch()
    (releases / COMMIT / "__pycache__" / "link.pyc").symlink_to("precious")
    for each in (releases, releases / COMMIT):
        os.chown(each, NOBODY, NOBODY)
    assert trees.remove(Host(state), identity("nobody"), str(releases), [COMMIT]) == [COMMIT]
    assert (releases / COMMIT / "data" / "precious").exists()
    assert os.listdir(releases / COMMIT / "__pycache__") == ["precious"]


def test_the_folder_in_which_root_removes_cannot_be_a_link(
    state: str, base: Path, victim: Path
) -> None:
    (base / "releases").symlink_to(victim)
    with pytest.raises(OperationError, match="belongs to root"):
        trees.remove(Host(state), identity("nobody"), str(base / "releases"), [COMMIT])
    assert os.listdir(victim / COMMIT) == ["precious"]


def test_a_release_of_an_older_version_is_undone_as_the_units_user(
    state: str, journal: Journal, base: Path
) -> None:
    host = Host(state, answers("nobody"))
    plan = {"meta": {"unit": UNIT}, "operations": []}
    Path(journal.folder, "plan.json").write_text(json.dumps(plan))
    for name in ("old", COMMIT):
        (base / "releases" / name).mkdir(parents=True)
    (base / "current").symlink_to(f"releases/{COMMIT}")
    for path in (base / "releases", base / "current", base / "releases" / "old"):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    step = journal.step(0)
    step.keep("was", {"target": "releases/old", "to": f"releases/{COMMIT}"})
    args = {"deployTo": str(base), "commit": COMMIT, "expects": "releases/old"}
    assert switch_release.undo(args, host, step) == f"{base}/current points to releases/old again"
    assert os.lstat(base / "current").st_uid == NOBODY


@pytest.mark.usefixtures("root")
def test_a_python_that_only_root_can_reach_is_not_used_for_others(
    state: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = open_folder / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "python").symlink_to("/usr/bin/python3")
    monkeypatch.setattr(sys, "executable", str(hidden / "python"))
    found = trees.releases(Host(state), identity("nobody"), str(open_folder / "none"))
    assert found is None


@pytest.mark.parametrize("user", [None, "", 7])
def test_without_a_user_nothing_is_removed(state: str, base: Path, user: Any) -> None:
    args = {"user": user, "deployTo": str(base), "keep": 1, "spare": []}
    with pytest.raises(OperationError, match="does not name the user"):
        prune_releases.check(args, Host(state))


def test_code_folders_of_any_depth_are_removed(state: str, journal: Journal, base: Path) -> None:
    """The app's user can nest more folders than Python's own functions can follow."""
    release = base / "releases" / COMMIT
    folder = release
    release.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("x", dir_fd=handle)
        deeper = os.open("x", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    subprocess.run(["chown", "-R", "nobody", str(base)], check=True)
    args = {"user": "nobody", "deployTo": str(base), "keep": 0, "spare": []}
    told = prune_releases.do(args, Host(state), journal.step(0))
    assert told == f"removed {COMMIT[:7]}"
    assert os.listdir(base / "releases") == []
