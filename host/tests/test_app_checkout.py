"""Git runs as the app's user, and never as root where somebody else decides what it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from app_folders import NOBODY, TELL, UNIT, answers, git, give, make_checkout, marker
from celeriac_host.code import git as host_git
from celeriac_host.code import objects
from celeriac_host.facts import release
from celeriac_host.operations import checkout_code, fetch_commit
from celeriac_host.state.journal import Journal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity
from hosts import Host

pytestmark = pytest.mark.usefixtures("root")
FILES = {"app.py": "A = 1\n", "package/more.py": "B = 1\n", ".gitattributes": "*.py filter=evil\n"}


def make_trap(folder: Path, uid: int) -> Path:
    """A checkout whose filter says as whom it runs, once Git looks for changes."""
    ran = marker(folder)
    make_checkout(folder / "app", FILES, uid)
    git(folder / "app", "config", "filter.evil.clean", TELL % ran)
    git(folder / "app", "config", "filter.evil.smudge", TELL % ran)
    give(folder / "app", uid)
    # Same size, another time: Git has to read it.
    (folder / "app" / "app.py").write_text("A = 2\n")
    os.chown(folder / "app" / "app.py", uid, uid)
    return ran


def look(state: str, folder: Path, user: str, named: str | None = None) -> dict[str, Any]:
    query = {"unit": UNIT, "source": "git", "user": named, "checkout": str(folder / "app")}
    tree: dict[str, Any] = release.look(query, Host(state, answers(user)))["tree"]
    return tree


def test_filters_of_the_app_run_as_its_user(state: str, open_folder: Path) -> None:
    ran = make_trap(open_folder, NOBODY)
    found = look(state, open_folder, "nobody")
    assert (found["kind"], found["user"], found["dirty"]) == ("checkout", "nobody", ["app.py"])
    assert set(ran.read_text().split()) == {str(NOBODY)}


def test_the_workflow_may_name_another_user_than_the_units(state: str, open_folder: Path) -> None:
    ran = make_trap(open_folder, NOBODY)
    found = look(state, open_folder, "", "nobody")
    assert (found["kind"], found["user"]) == ("checkout", "nobody")
    assert set(ran.read_text().split()) == {str(NOBODY)}


@pytest.mark.parametrize(("owner", "user"), [(NOBODY, "root"), (0, "nobody"), (NOBODY, "daemon")])
def test_a_checkout_of_somebody_else_is_refused_with_both_names(
    state: str, open_folder: Path, owner: int, user: str
) -> None:
    ran = make_trap(open_folder, owner)
    found = look(state, open_folder, user)
    names = {0: "root", NOBODY: "nobody"}
    assert found["kind"] == "not-own"
    assert found["problem"] == (
        f"{open_folder}/app belongs to {names[owner]}, and the app's user is {user}"
    )
    assert f"chown -R {user}: {open_folder}/app" in found["fix"]
    assert f"{names[owner]} in the input `app-user`" in found["fix"]
    assert ran.read_text() == ""


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("path", ["", "app", "app/.git", "app/.git/config", "app/package"])
def test_root_runs_no_git_where_others_may_write(
    state: str, open_folder: Path, path: str, mode: int
) -> None:
    ran = make_trap(open_folder, 0)
    where = open_folder / path
    os.chown(where, 0, NOBODY)
    os.chmod(where, os.stat(where).st_mode | mode)
    found = look(state, open_folder, "root")
    assert found["kind"] == "not-own"
    who = "everybody" if mode == 0o002 else "group"
    assert found["problem"].startswith(who)
    assert "chmod" in found["fix"]
    assert ran.read_text() == ""


def test_a_checkout_that_the_user_cannot_enter_is_named_with_the_user(
    state: str, open_folder: Path
) -> None:
    make_trap(open_folder, 0)
    open_folder.chmod(0o700)
    found = look(state, open_folder, "nobody")
    assert (found["kind"], found["problem"]) == (
        "unusable",
        f"user nobody has no access to {open_folder}/app",
    )


def test_root_works_where_only_root_can_write(state: str, open_folder: Path) -> None:
    ran = make_trap(open_folder, 0)
    assert look(state, open_folder, "root")["kind"] == "checkout"
    assert set(ran.read_text().split()) == {"0"}


def test_settings_that_root_includes_from_others_are_refused(state: str, open_folder: Path) -> None:
    make_trap(open_folder, 0)
    theirs = open_folder / "theirs"
    theirs.write_text(f"[filter \"evil\"]\n\tclean = {TELL % (open_folder / 'ran-as')}\n")
    os.chown(theirs, NOBODY, NOBODY)
    git(open_folder / "app", "config", "include.path", str(theirs))
    found = look(state, open_folder, "root")
    assert found["kind"] == "not-own"
    assert f"{theirs} belongs to nobody" in found["problem"]


def test_objects_that_root_borrows_from_others_are_refused(state: str, open_folder: Path) -> None:
    make_trap(open_folder, 0)
    make_checkout(open_folder / "theirs", {"x": "x\n"}, NOBODY)
    objects_of = open_folder / "theirs" / ".git" / "objects"
    alternates = open_folder / "app" / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"{objects_of}\n")
    found = look(state, open_folder, "root")
    assert found["kind"] == "not-own"
    assert "theirs" in found["problem"]


def test_root_follows_no_link_of_others(state: str, open_folder: Path) -> None:
    ran = make_trap(open_folder, 0)
    os.rename(open_folder / "app", open_folder / "roots")
    (open_folder / "app").symlink_to(open_folder / "roots")
    os.chown(open_folder / "app", NOBODY, NOBODY, follow_symlinks=False)
    assert look(state, open_folder, "root")["kind"] == "not-own"
    assert ran.read_text() == ""


@pytest.mark.parametrize("operation", [checkout_code, fetch_commit])
def test_operations_refuse_it_too(
    state: str, journal: Journal, open_folder: Path, operation: Any
) -> None:
    ran = make_trap(open_folder, NOBODY)
    commit = git(open_folder / "app", "rev-parse", "HEAD")
    args = {"user": "root", "checkout": str(open_folder / "app"), "commit": commit}
    more = {"expects": commit, "stash": False, "sha256": "0" * 64}
    with pytest.raises(OperationError, match="belongs to nobody, and the app's user is root"):
        operation.do({**args, **more}, Host(state, answers("")), journal.step(0))
    assert ran.read_text() == ""


def test_the_files_of_a_commit_are_not_those_that_its_filters_make(
    state: str, open_folder: Path
) -> None:
    ran = make_trap(open_folder, NOBODY)
    app = open_folder / "app"
    commit, host = git(app, "rev-parse", "HEAD"), Host(state, answers("nobody"))
    git(
        app,
        "replace",
        git(app, "rev-parse", "HEAD:app.py"),
        git(app, "hash-object", "-w", "app.py"),
    )
    give(app, NOBODY)
    ran.write_text("")
    user = identity("nobody")
    checkout = host_git.require(host, user, str(app))
    tree = open_folder / "tree"
    with objects.opened(host, checkout) as found:
        objects.write_commit(found, commit, str(tree), user)
    assert {str(each.relative_to(tree)): each.read_text() for each in tree.rglob("*.py")} == {
        "app.py": "A = 1\n",
        "package/more.py": "B = 1\n",
    }
    assert os.stat(tree / "package" / "more.py").st_uid == NOBODY
    assert ran.read_text() == ""


# As a Git that the app has replaced, or whose objects it has.
LIAR = """
import sys
for name in iter(sys.stdin.readline, ""):
    sys.stdout.write("%s blob 4\\n" % name.strip() + "lie\\n" + "\\n")
    sys.stdout.flush()
"""


def test_an_object_that_is_not_what_its_name_says_is_refused(
    state: str, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    argv = ["python3", "-I", "-c", LIAR]
    monkeypatch.setattr(host_git, "command", lambda checkout, words: argv)
    checkout = host_git.Checkout(str(open_folder), identity("nobody"))
    damaged = pytest.raises(OperationError, match=r"object 0000000.* is damaged$")
    with damaged, objects.opened(Host(state), checkout) as found:
        found.read("0" * 40, "blob")


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b"])
def test_a_name_that_leads_out_of_the_commit_is_refused(name: bytes) -> None:
    with pytest.raises(OperationError, match=r"the commit (contains the name|has a damaged)"):
        list(objects.entries_of(b"100644 " + name + b"\0" + bytes(20), 40))
