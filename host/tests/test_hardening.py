"""Operations and facts of hardened mode; users are added in test/host/hardened.test.ts."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from binascii import b2a_base64
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

import pytest
from celeriac_host.facts import hardening
from celeriac_host.operations import (
    create_user,
    install_agent,
    install_sudoers,
    prove_agent,
    remove_folder,
    remove_user,
)
from celeriac_host.state.journal import Journal
from celeriac_host.system import accounts, files, installed, own_program
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import Completed
from cuts import cuts
from hosts import Host

SOURCES = {"celeriac_host/session/loader.py": "print('loaded', HARDENED)\n", "b.py": "b = 'é'\n"}


@pytest.fixture(autouse=True)
def sources() -> None:
    own_program.put(lambda: SOURCES)


class Answering(Host):
    """A host on which some programs are answered by a function."""

    answer: Callable[[Sequence[str]], Completed]

    def run(self, argv: Sequence[str], *args: Any, **more: Any) -> Completed:
        if argv[0] in ("visudo", "runuser", "/usr/sbin/sshd"):
            self.asked.append(argv)
            return self.answer(argv)
        return super().run(argv, *args, **more)


def ended(argv: Sequence[str], code: int = 0, out: str = "", err: str = "") -> Completed:
    return Completed(argv, code, out, err, False)


@pytest.fixture
def answering(state: str) -> Answering:
    return Answering(state)


def agent_args(path: Path, expects: str | None = None) -> Dict[str, Any]:
    return {
        "path": str(path),
        "version": installed.version(),
        "python": sys.executable,
        "expects": expects,
    }


def test_the_installed_agent_is_a_program_and_is_undone_wherever_it_is_interrupted(
    root: None, host: Host, journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "lib" / "agent"
    args = agent_args(path)
    for cut in cuts(tmp_path):
        files.remove(journal.path)
        cut(install_agent.do, args, host, journal.step(0))
        for _ in range(2):
            install_agent.undo(args, host, journal.step(0))
            assert not path.parent.exists()
    files.remove(journal.path)
    install_agent.do(args, host, journal.step(0))
    assert install_agent.check(args, host)
    assert os.stat(path).st_mode & 0o7777 == 0o755
    assert subprocess.run([str(path)], capture_output=True, check=True).stdout == b"loaded True\n"
    assert installed.version_of(path.read_bytes()) == installed.version()


def test_an_agent_is_only_installed_as_planned(
    root: None, host: Host, journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "agent"
    with pytest.raises(OperationError, match="the plan installs agent 0, but this one is"):
        install_agent.do({**agent_args(path), "version": "0"}, host, journal.step(0))
    path.write_text("something else")
    with pytest.raises(OperationError, match="changed after the plan was made"):
        install_agent.do(agent_args(path), host, journal.step(0))
    assert path.read_text() == "something else"


def test_an_agent_is_known_by_what_it_contains() -> None:
    text = installed.text("/usr/bin/python3").encode()
    assert installed.version_of(text) == installed.version()
    other = {**SOURCES, "b.py": "b = 2\n"}
    assert installed.version(other) != installed.version()
    damaged = b2a_base64(zlib.compress(b"[]"), newline=False)
    for content in (
        b"",
        b"#!/bin/sh\n",
        text + b"import os\n",
        text.replace(b"True", b"False"),
        text.replace(b"-IS", b"-S"),
        installed.TEXT.encode() % (b"/usr/bin/python3", damaged),
        installed.TEXT.encode() % (b"/usr/bin/python3", b"AAAA"),
    ):
        assert installed.version_of(content) is None
    as_root = files.Found(text, 0o755, 0, 0, 0)
    assert installed.is_this(as_root, "/usr/bin/python3")
    for changed in (
        None,
        as_root._replace(mode=0o775),
        as_root._replace(uid=1000),
        as_root._replace(content=text + b"\n"),
    ):
        assert not installed.is_this(changed, "/usr/bin/python3")
    assert not installed.is_this(as_root, "/opt/python3")


LINE = 'celeriac ALL=(root) NOPASSWD: /usr/local/lib/celeriac/agent ""\n'


def sudoers_args(path: Path, text: str = LINE, expects: str | None = None) -> Dict[str, Any]:
    return {"path": str(path), "text": text, "expects": expects}


def test_sudoers_is_checked_by_visudo_and_never_half_written(
    root: None, answering: Answering, journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "celeriac"

    def real(argv: Sequence[str]) -> Completed:
        """All of sudoers is here this one file."""
        which = list(argv) if "-f" in argv else [*argv, "-f", str(path)]
        if not os.path.exists(which[-1]):
            return ended(argv)
        done = subprocess.run(which, capture_output=True, check=False, text=True)
        return ended(argv, done.returncode, done.stdout, done.stderr)

    answering.answer = real
    args = sudoers_args(path)
    for cut in cuts(tmp_path):
        files.remove(journal.path)
        cut(install_sudoers.do, args, answering, journal.step(0))
        assert not path.exists() or path.read_text() == LINE
        # sudo leaves out names with a dot.
        others = [each for each in os.listdir(tmp_path) if each.startswith(".celeriac")]
        assert all("." in each for each in others)
        for _ in range(2):
            install_sudoers.undo(args, answering, journal.step(0))
            assert not path.exists()
    files.remove(journal.path)
    install_sudoers.do(args, answering, journal.step(0))
    assert install_sudoers.check(args, answering)
    assert os.stat(path).st_mode & 0o7777 == 0o440
    wrong = sudoers_args(path, "celeriac ALL=(root NOPASSWD: x\n", files.sha256(LINE.encode()))
    with pytest.raises(OperationError, match="visudo refuses the text") as caught:
        install_sudoers.do(wrong, answering, journal.step(1))
    assert "syntax error" in "\n".join(caught.value.evidence)
    assert path.read_text() == LINE
    assert not os.path.exists(os.path.join(journal.folder, "sudoers"))


@pytest.mark.parametrize(
    ("codes", "listed", "problem"),
    [
        ([1], True, "already has an error; nothing was written"),
        ([0, 0, 1], True, "it was removed again"),
        ([0, 0, 0], False, "/etc/sudoers does not include"),
    ],
)
def test_sudoers_stays_as_it_was_when_visudo_objects(
    root: None,
    answering: Answering,
    journal: Journal,
    tmp_path: Path,
    codes: list[int],
    listed: bool,
    problem: str,
) -> None:
    path = tmp_path / "celeriac"
    left = list(codes)
    answering.answer = lambda argv: ended(argv, left.pop(0), str(path) if listed else "")
    with pytest.raises(OperationError, match=problem):
        install_sudoers.do(sudoers_args(path), answering, journal.step(0))
    assert (os.path.lexists(path), left) == (False, [])


HELLO = '{"hello":"celeriac","protocol":1,"version":"%s","access":"%s"}\n'


@pytest.mark.parametrize(
    ("code", "out", "problem"),
    [
        (0, HELLO % ("v", "change"), ""),
        (0, "a greeting\n" + HELLO % ("v", "change"), ""),
        (0, HELLO % ("other", "change"), "expected version v, found other"),
        (0, HELLO % ("v", "none"), "expected access `change`, found `none`"),
        (1, "", "sudo: a password is required"),
        (0, '{"hello":1}\n', "cannot start"),
    ],
)
def test_the_agent_is_started_as_the_key_will(
    answering: Answering, journal: Journal, code: int, out: str, problem: str
) -> None:
    answering.answer = lambda argv: ended(argv, code, out, "" if out else problem)
    args = {"user": "celeriac", "path": "/a/agent", "version": "v", "access": "change"}
    if problem:
        with pytest.raises(OperationError, match=problem):
            prove_agent.do(args, answering, journal.step(0))
    else:
        assert "celeriac starts agent v" in prove_agent.do(args, answering, journal.step(0))
    assert answering.asked == [["runuser", "-u", "celeriac", "--", "sudo", "-n", "/a/agent"]]


def test_an_empty_folder_is_removed_and_made_again(
    root: None, host: Host, journal: Journal, tmp_path: Path
) -> None:
    folder = tmp_path / "celeriac"
    args = {"path": str(folder)}
    for cut in cuts(tmp_path):
        files.remove(journal.path)
        if not folder.exists():
            folder.mkdir()
        os.chown(folder, 0, 4)
        folder.chmod(0o750)
        cut(remove_folder.do, args, host, journal.step(0))
        for _ in range(2):
            remove_folder.undo(args, host, journal.step(0))
            about = os.stat(folder)
            assert (about.st_mode & 0o7777, about.st_gid) == (0o750, 4)
    (folder / "file").write_text("")
    assert "not empty and stays" in remove_folder.do(args, host, journal.step(1))
    assert folder.exists()


def test_users_that_others_made_are_neither_taken_nor_removed(host: Host, journal: Journal) -> None:
    args = {"user": "nobody", "home": "/nonexistent"}
    assert not create_user.check(args, host)
    with pytest.raises(OperationError, match="Celeriac did not create it"):
        create_user.do(args, host, journal.step(0))
    with pytest.raises(OperationError, match="was not created by Celeriac; it stays"):
        remove_user.do(args, host, journal.step(0))
    for module in (create_user, remove_user):
        assert module.undo(args, host, journal.step(0)) is None


def test_a_home_that_the_user_could_change_is_refused(
    root: None, host: Host, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    accounts.make_folders(str(home), host)
    about = os.stat(home / ".ssh")
    assert (about.st_uid, about.st_mode & 0o7777) == (0, 0o755)
    for uid, mode in ((1, 0o755), (0, 0o775), (0, 0o757)):
        os.chown(home / ".ssh", uid, 0)
        os.chmod(home / ".ssh", mode)
        with pytest.raises(OperationError, match="not a folder that only root can change"):
            accounts.make_folders(str(home), host)
    (home / ".ssh").rmdir()
    (home / ".ssh").symlink_to("/tmp")
    with pytest.raises(OperationError, match="not a folder that only root can change"):
        accounts.make_folders(str(home), host)


def test_the_fact_tells_who_else_could_change_a_path(
    root: None, answering: Answering, open_folder: Path
) -> None:
    settings = "port 22\nallowusers root\nallowusers deploy\nauthorizedkeysfile .ssh/a .ssh/b\n"
    answering.answer = lambda argv: ended(argv, 0, settings if "sshd" in argv[0] else "")
    (open_folder / "lib").mkdir()
    os.chown(open_folder / "lib", 65534, 0)
    query = {
        "users": ["nobody", "no-such-user"],
        "agent": str(open_folder / "agent"),
        "guarded": [str(open_folder / "lib" / "agent")],
        "folders": [str(open_folder), str(open_folder / "none")],
        "search": False,
    }
    fact = hardening.look(query, answering)
    assert {"path": str(open_folder / "lib"), "owner": "nobody", "mode": "0755"} in fact["loose"]
    assert fact["agent"] == {"kind": "absent"}
    assert fact["accounts"]["no-such-user"] is None
    assert fact["accounts"]["nobody"]["ours"] is False
    assert fact["sshd"]["nobody"] == {
        "allowusers": ["root", "deploy"],
        "authorizedkeysfile": [".ssh/a", ".ssh/b"],
    }
    assert fact["folders"] == {str(open_folder): ["lib"], str(open_folder / "none"): None}
    assert fact["owned"] is None
    answering.answer = lambda argv: ended(argv, 127 if argv[0] == "visudo" else 255)
    fact = hardening.look(query, answering)
    assert fact["sshd"]["nobody"] is None
    assert fact["sudoers"] == {"visudo": False, "problem": None}


def test_what_a_user_owns_is_found(
    root: None, host: Host, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_folder / "file").write_text("")
    os.chown(open_folder / "file", 65534, 0)
    monkeypatch.setattr(hardening, "ROOT", str(open_folder))
    assert hardening.owned("nobody") == {"paths": [str(open_folder / "file")], "whole": True}
    monkeypatch.setattr(hardening, "SEARCH_SECONDS", -1.0)
    assert hardening.owned("nobody")["whole"] is False
