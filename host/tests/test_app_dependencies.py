"""Packages are installed by the app's user alone, into its own environment, by pip itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from app_folders import NOBODY, TELL, UNIT, answers, git, give, make_checkout, marker
from celeriac_host.facts import environment
from celeriac_host.operations import install_dependencies
from celeriac_host.state.journal import Journal
from celeriac_host.system.errors import OperationError
from hosts import Host

pytestmark = pytest.mark.usefixtures("root")
# A Python that says as whom and with which arguments it runs, and what its folder contains.
PYTHON = """\
#!/bin/sh
echo "$(id -u) $*" >>{ran}
case $* in
  *metadata*) echo '{{"pip": "1"}}' ;;
  *install*) for each in *; do echo "has $each" >>{ran}; done ;;
esac
"""


def make_environment(folder: Path, uid: int) -> Path:
    """A virtual environment; returns the file in which its Python says what it does."""
    ran = marker(folder)
    python = folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(ran=ran))
    python.chmod(0o755)
    (folder / "venv" / "pyvenv.cfg").touch()
    give(folder / "venv", uid)
    return ran


def installing(folder: Path, user: str, **where: str) -> dict[str, Any]:
    return {
        "unit": UNIT,
        "user": user,
        "interpreter": [str(folder / "venv" / "bin" / "python")],
        "file": "requirements.txt",
        "tool": "pip",
        "lock": "l1",
        "timeoutSeconds": 60,
        **where,
    }


def ran_as(ran: Path) -> set[str]:
    return {line.split()[0] for line in ran.read_text().splitlines() if line[0].isdigit()}


def test_pip_runs_as_the_apps_user_on_the_files_of_the_commit(
    state: str, journal: Journal, open_folder: Path
) -> None:
    ran = make_environment(open_folder, NOBODY)
    app, other = open_folder / "app", open_folder / "other"
    other.mkdir()
    filtered = marker(other)
    files = {"requirements.txt": "\n", ".gitattributes": "* filter=evil\n"}
    commit = make_checkout(app, files, NOBODY)
    git(app, "config", "filter.evil.smudge", TELL % filtered)
    give(app, NOBODY)
    args = installing(open_folder, "nobody", checkout=str(app), commit=commit)
    install_dependencies.do(args, Host(state, answers("nobody")), journal.step(0))
    assert ran_as(ran) == {str(NOBODY)}
    (installs,) = [line for line in ran.read_text().splitlines() if " install " in line]
    assert installs.split()[1:5] == ["-I", "-m", "pip", "install"]
    assert "has requirements.txt" in ran.read_text()
    assert filtered.read_text() == ""
    assert not os.path.lexists(journal.step(0).get("was")["scratch"])


# What an app puts on PYTHONPATH to answer for Python; and Python's own answer was believed.
SITE = """\
import json, sys
print(json.dumps(["{prefix}", "/usr", "{program}"]))
sys.stdout.flush()
import os
os._exit(0)
"""


def test_the_app_is_not_asked_where_its_environment_is(
    state: str, journal: Journal, open_folder: Path
) -> None:
    ran = make_environment(open_folder, 0)
    python = open_folder / "venv" / "bin" / "python"
    program = open_folder / "program"
    python.rename(program)
    os.chown(program, NOBODY, NOBODY)
    python.symlink_to("/usr/bin/python3")
    site = open_folder / "site" / "sitecustomize.py"
    site.parent.mkdir()
    site.write_text(SITE.format(prefix=open_folder / "venv", program=program))
    host = Host(state, answers("nobody", Environment=f"PYTHONPATH={site.parent}"))
    args = installing(open_folder, "nobody", release=str(open_folder))
    with pytest.raises(OperationError) as raised:
        install_dependencies.do(args, host, journal.step(0))
    assert raised.value.message.startswith(
        f"{open_folder}/venv belongs to root, and the app's user is nobody; "
    )
    assert ran.read_text() == ""


def test_packages_are_not_installed_as_root_for_a_unit_that_is_not_roots(
    state: str, journal: Journal, open_folder: Path
) -> None:
    ran = make_environment(open_folder, 0)
    args = installing(open_folder, "root", release=str(open_folder))
    with pytest.raises(
        OperationError, match="runs as nobody, so its packages are not installed as"
    ):
        install_dependencies.do(args, Host(state, answers("nobody")), journal.step(0))
    assert ran.read_text() == ""


@pytest.mark.parametrize("path", ["venv", "venv/bin", "venv/bin/python", "venv/pyvenv.cfg"])
def test_root_installs_nothing_where_others_may_write(
    state: str, journal: Journal, open_folder: Path, path: str
) -> None:
    ran = make_environment(open_folder, 0)
    os.chmod(open_folder / path, 0o777)
    args = installing(open_folder, "root", release=str(open_folder))
    with pytest.raises(OperationError, match="everybody may write to"):
        install_dependencies.do(args, Host(state, answers("")), journal.step(0))
    assert ran.read_text() == ""


def test_root_installs_nothing_from_files_of_others(
    state: str, journal: Journal, open_folder: Path
) -> None:
    ran = make_environment(open_folder, 0)
    release = open_folder / "release"
    release.mkdir()
    (release / "requirements.txt").touch()
    os.chown(release, NOBODY, NOBODY)
    args = installing(open_folder, "root", release=str(release))
    with pytest.raises(OperationError, match="release belongs to nobody"):
        install_dependencies.do(args, Host(state, answers("")), journal.step(0))
    assert " install " not in ran.read_text()


def test_root_runs_no_python_of_others(state: str, journal: Journal, open_folder: Path) -> None:
    ran = make_environment(open_folder, 0)
    python = open_folder / "venv" / "bin" / "python"
    theirs = open_folder / "theirs"
    shutil.copy(python, theirs)
    os.chown(theirs, NOBODY, NOBODY)
    python.unlink()
    python.symlink_to(theirs)
    args = installing(open_folder, "root", release=str(open_folder))
    with pytest.raises(OperationError, match=f"{theirs} belongs to nobody"):
        install_dependencies.do(args, Host(state, answers("")), journal.step(0))
    assert ran.read_text() == ""


def test_an_environment_of_somebody_else_is_not_restored_as_root(
    state: str, journal: Journal, open_folder: Path
) -> None:
    make_environment(open_folder, NOBODY)
    prefix = str(open_folder / "venv")
    step = journal.step(0)
    kept = {"prefix": prefix, "keep": "k", "scratch": str(open_folder / "no"), "record": None}
    step.keep("was", kept)
    step.keep("kept", True)
    (open_folder / "venv" / ".celeriac" / "k").mkdir(parents=True)
    args = installing(open_folder, "root", release=str(open_folder))
    with pytest.raises(OperationError, match="belongs to nobody, and the app's user is root"):
        install_dependencies.undo(args, Host(state, answers("")), step)


@pytest.mark.parametrize(
    ("made_by", "user", "problem"),
    [
        (0, "nobody", "belongs to root, and the app's user is nobody"),
        (NOBODY, "root", "belongs to nobody, and the app's user is root"),
        (NOBODY, "nobody", None),
        # It may come with the code.
        (None, "nobody", None),
    ],
)
def test_a_dry_run_knows_whose_the_environment_is(
    state: str, open_folder: Path, made_by: int | None, user: str, problem: str | None
) -> None:
    if made_by is not None:
        make_environment(open_folder, made_by)
    python = str(open_folder / "venv" / "bin" / "python")
    asked = {"unit": UNIT, "user": user, "interpreter": [python]}
    found = environment.look(asked, Host(state, answers(user)))
    if problem is None:
        assert found is None
    else:
        assert found is not None and found["kind"] == "not-own"
        assert problem in found["problem"] and "chown" in found["fix"]
