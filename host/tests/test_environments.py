"""Copies of an environment, and leftovers of an installer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

import pytest
from celeriac_host.app.programs import environment as program
from celeriac_host.operations import install_dependencies
from celeriac_host.state.journal import Journal
from celeriac_host.system.errors import OperationError
from hosts import Answers, Host

NOBODY = 65534
UNIT = "w.service"


def put(path: Path, text: str, uid: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.chown(path, uid, -1)


@pytest.mark.usefixtures("root")
def test_the_owner_can_empty_every_folder_of_a_restored_environment(
    tmp_path: Path,
) -> None:
    site = tmp_path / "lib"
    put(site / "module.py", "OLD = 1")
    put(site / "__pycache__" / "module.pyc", "old")
    # The worker runs as another user, and has written missing byte code.
    put(site / "__pycache__" / "other.pyc", "its", NOBODY)
    put(site / "package" / "__pycache__" / "all.pyc", "its", NOBODY)
    os.chown(site / "package" / "__pycache__", NOBODY, -1)
    asked: Dict[str, Any] = {"root": str(tmp_path), "keep": "k", "others": 1}
    program.keep_environment(asked)
    (site / "module.py").unlink()
    put(site / "module.py", "NEW = 1")
    program.restore_environment(asked)
    assert (site / "module.py").read_text() == "OLD = 1"
    assert os.listdir(site / "__pycache__") == ["module.pyc"]
    assert os.listdir(site / "package" / "__pycache__") == []
    for folder in (site / "__pycache__", site / "package" / "__pycache__"):
        assert os.stat(folder).st_uid == 0


# A Python whose pip leaves something in /tmp and fails.
INTERPRETER = """\
#!/bin/sh
case $* in
  *pip*) mktemp; exit 1 ;;
  *) echo '{}' ;;
esac
"""


SHOWN = "LoadState=loaded\nUser=root\n"
ANSWERS: Answers = {("systemctl", "show"): (0, SHOWN), ("systemctl", "show-environment"): (0, "")}


def environment_with(folder: Path, interpreter: str) -> Dict[str, Any]:
    """The arguments of install-dependencies for a virtual environment with this Python."""
    python, release = folder / "bin" / "python", folder / "release"
    put(python, interpreter)
    python.chmod(0o755)
    put(folder / "pyvenv.cfg", "")
    put(release / "requirements.txt", "")
    return {
        "unit": UNIT,
        "user": "root",
        "interpreter": [str(python)],
        "release": str(release),
        "file": "requirements.txt",
        "tool": "pip",
        "lock": "l1",
        "timeoutSeconds": 60,
    }


@pytest.mark.usefixtures("root")
def test_temporary_files_of_an_installer_are_removed(
    state: str, journal: Journal, open_folder: Path
) -> None:
    args = environment_with(open_folder, INTERPRETER)
    step = journal.step(0)
    with pytest.raises(OperationError) as raised:
        install_dependencies.do(args, Host(state, ANSWERS), step)
    (made,) = raised.value.evidence
    assert made.startswith(step.get("was")["scratch"] + "/")
    assert not os.path.lexists(step.get("was")["scratch"])


# As uv makes it: with packages, and without pip.
BY_UV = """\
#!/bin/sh
case $* in
  *metadata*) echo '{"celery": "5.6.3"}' ;;
  *) echo 'No module named pip' >&2; exit 1 ;;
esac
"""


@pytest.mark.usefixtures("root")
def test_uv_installs_where_it_left_out_pip(state: str, journal: Journal, open_folder: Path) -> None:
    args = environment_with(open_folder, BY_UV)
    uv = open_folder / "bin" / "uv"
    put(uv, f'#!/bin/sh\necho "$*" >{open_folder}/said\n')
    uv.chmod(0o755)
    install_dependencies.do(args, Host(state, ANSWERS), journal.step(0))
    assert (open_folder / "said").read_text().split() == [
        *["pip", "install", "--no-progress", "--python", f"{open_folder}/bin/python"],
        *["--requirement", f"{open_folder}/release/requirements.txt"],
    ]


@pytest.mark.usefixtures("root")
def test_without_pip_and_uv_the_run_says_what_to_install(
    state: str, journal: Journal, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_dependencies, "_path", lambda environment: "/nowhere")
    args = environment_with(open_folder, BY_UV)
    with pytest.raises(OperationError) as raised:
        install_dependencies.do(args, Host(state, ANSWERS), journal.step(0))
    assert "has no pip, and root has no uv: install uv in /usr/local/bin" in raised.value.message
