"""EnvironmentFile= is read as systemd reads it; the expected values come from systemd itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Tuple

import pytest
from celeriac_host.system import environment_files, processes, unit_context, unit_values
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity
from hosts import Answers, Host

# Name, text, and the result of systemd 252.
READ: Dict[str, Tuple[str, Dict[str, str]]] = {
    "plain": ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
    "no line break at the end": ("A=1", {"A": "1"}),
    "line breaks of Windows": ("A=1\r\nB='2'\r\n", {"A": "1", "B": "2"}),
    "blanks around": (" A = 1 \t\n\tB=\t2\n", {"A": "1", "B": "2"}),
    "empty": ("A=\nB=''\nC=\"\"\n", {"A": "", "B": "", "C": ""}),
    "comments": ("# A=1\n; B=2\n  # C=3\nD=x#y # z\n", {"D": "x#y # z"}),
    "no assignment": ("A\n\nexport B=1\n1C=2\nD-E=3\n=4\nF=5\n", {"F": "5"}),
    "the last one counts": ("A=1\nA=2\n", {"A": "2"}),
    "an apostrophe": ("A=it's\nB=1\n", {"A": "it's", "B": "1"}),
    "JSON": ('A={"a": [1, "b"]}\nB=1\n', {"A": '{"a": [1, "b"]}', "B": "1"}),
    "a URL": ("A=redis://:p%40ss@h:6379/0?x=1#y\n", {"A": "redis://:p%40ss@h:6379/0?x=1#y"}),
    "quoted": ("A='x y'\nB=\"x y\"\nC='  x '  \n", {"A": "x y", "B": "x y", "C": "  x "}),
    "quoted over lines": ('A="x\ny=z"\nB=1\n', {"A": "x\ny=z", "B": "1"}),
    "quoted and more": ("A=\"foo\" bar\nB='a'\"b\"  'c'\n", {"A": "foobar", "B": "abc"}),
    "a quote in the middle": ('A="foo"bar"baz"\nB=1\n', {"A": 'foobar"baz"', "B": "1"}),
    "a quote that never ends": ('A="x\nB=1\n', {"A": "x\nB=1\n"}),
    "backslashes between double quotes": (
        'A="x\\y\\"z\\\\\\$\\`"\nB="a\\\nb"\n',
        {"A": 'x\\y"z\\$`', "B": "ab"},
    ),
    "backslashes between single quotes": ("A='x\\y\\'\nB=1\n", {"A": 'x\\y\\', "B": "1"}),
    "backslashes outside": ("A=a\\ \nB=\\'q\nC=\\\\x\n", {"A": "a ", "B": "'q", "C": "\\x"}),
    "a line that goes on": ("A=a \\\n  b\nB=1\n", {"A": "a   b", "B": "1"}),
    "a backslash at the end": ('A=a\\', {"A": "a"}),
    "the shell's way with apostrophes": ("A='it'\\''s'\nB=1\n", {"A": "it''s'", "B": "1"}),
    "a lone CR ends a line": ("A=1\rB=2\r# C=3\rD=4", {"A": "1", "B": "2", "D": "4"}),
    "a backslash and a line break of Windows": (
        "A=a \\\r\n b=1\r\nB=1\r\n",
        {"A": "a ", "b": "1", "B": "1"},
    ),
    "double quotes over lines of Windows": ('A="a\\\r\nb"\n', {"A": "a\nb"}),
    "the mark of Windows' editors": ("\ufeffA=1\nB=2\n", {"B": "2"}),
    "a semicolon in a value": ("A=a;b\nB=1 ; c\n", {"A": "a;b", "B": "1 ; c"}),
    "other letters": ("A=grün \u00a0\nÄ=1\n", {"A": "grün \u00a0"}),
}


@pytest.mark.parametrize(("text", "expected"), READ.values(), ids=READ)
def test_it_is_read_as_systemd_reads_it(text: str, expected: Dict[str, str]) -> None:
    assert environment_files.parse(text) == expected


# A comment that ends with a backslash: the next line belongs to it, until systemd 253.
@pytest.mark.parametrize(
    ("text", "before", "since"),
    [
        ("# A=1 \\\nB=2\nC=3\n", {"C": "3"}, {"B": "2", "C": "3"}),
        ("; A=1 \\\n\\\nB=2\nC=3\n", {"C": "3"}, {"B": "2", "C": "3"}),
        ("# A=\\1\nB=2\n", {"B": "2"}, {"B": "2"}),
        ("# A=1 \\", {}, {}),
    ],
)
@pytest.mark.parametrize("version", [247, 252, 253, 254, 257])
def test_comments_go_on_until_systemd_253(
    state: str,
    tmp_path: Path,
    text: str,
    before: Dict[str, str],
    since: Dict[str, str],
    version: int,
) -> None:
    (tmp_path / "app.env").write_text(text)
    shown = {"EnvironmentFiles": f"{tmp_path}/app.env (ignore_errors=no)"}
    answers = unit_of(shown, manager="")
    answers[("systemctl", "show", "-p", "Version")] = (0, f"Version={version}.39-1~deb12u1\n")
    found = unit_context.context(Host(state, answers), "w.service").environment
    assert found == (before if version < 254 else since)


def test_what_systemd_sets_is_weaker_than_the_unit(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"container": "nspawn", "A": "systemd", "B": "systemd", "C": "systemd"}
    monkeypatch.setattr(processes, "environment", lambda pid: own if pid == 1 else {})
    found = context(
        state,
        {
            "PassEnvironment": "A B none",
            "RuntimeDirectory": "one two/three",
            "StateDirectory": "four",
            "Environment": "B=unit STATE_DIRECTORY=/srv",
            "ExecSearchPath": "/opt/bin /srv/bin",
        },
    ).environment
    assert found == {
        "A": "systemd",
        "B": "unit",
        "LANG": "C",
        "PATH": "/opt/bin:/srv/bin",
        "RUNTIME_DIRECTORY": "/run/one:/run/two/three",
        "STATE_DIRECTORY": "/srv",
    }


def test_the_path_of_the_unit_is_put_into_the_command() -> None:
    nobody = identity("root")
    command = ["/usr/bin/env", "PYTHONPATH=/m:${PYTHONPATH}", "A=${PYTHONPATH}", "python3"]
    within = unit_context.Context(nobody, "/", {"PYTHONPATH": "/srv/app"})
    expected = ["/usr/bin/env", "PYTHONPATH=/m:/srv/app", "A=${PYTHONPATH}", "python3"]
    assert unit_context.expanded(command, within) == expected


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", []),
        ("A=1 B=2", ["A=1", "B=2"]),
        ('"A=x y" B=', ["A=x y", "B="]),
        (r'"A=\"q\" \\ \$x" B=1', ['A="q" \\ $x', "B=1"]),
        (r"$'A=x\ny\t\x41\101' B=1", ["A=x\ny\tAA", "B=1"]),
        (r"A=$'x y'", ["A=x y"]),
        (r"$'A=it\'s'", ["A=it's"]),
    ],
)
def test_lists_are_read_as_systemctl_prints_them(printed: str, words: list[str]) -> None:
    assert unit_values.split_words(printed) == words


def unit_of(shown: dict[str, str], manager: str = "PATH=/usr/bin\nLANG=C\n") -> Answers:
    lines = {"LoadState": "loaded", **shown}
    text = "".join(
        f"{name}={line}\n" for name, value in lines.items() for line in value.split("\n")
    )
    return {
        ("systemctl", "show", "--no-pager", "--", "w.service"): (0, text),
        ("systemctl", "show-environment"): (0, manager),
    }


def context(state: str, shown: dict[str, str]) -> unit_context.Context:
    return unit_context.context(Host(state, unit_of(shown)), "w.service")


def test_later_sources_override_and_unset_removes(state: str, tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("B=file\nC=file\nD=file\nG=file\n")
    (tmp_path / "two.env").write_text("C=second\n")
    found = context(
        state,
        {
            "Environment": "A=unit B=unit LANG=de",
            "EnvironmentFiles": f"{tmp_path}/one.env (ignore_errors=no)\n"
            f"{tmp_path}/two.env (ignore_errors=yes)",
            "UnsetEnvironment": "D G=other PATH",
        },
    ).environment
    expected = {"A": "unit", "B": "file", "C": "second", "G": "file", "LANG": "de"}
    assert found == expected


def test_a_pattern_matches_files_in_order(state: str, tmp_path: Path) -> None:
    for name in ("10", "20", "9"):
        (tmp_path / f"{name}.env").write_text(f"LAST={name}\nA{name}=1\n")
    shown = {"EnvironmentFiles": f"{tmp_path}/*.env (ignore_errors=no)"}
    found = context(state, shown).environment
    assert found["LAST"] == "9"
    assert {"A9", "A10", "A20"} <= set(found)


def test_an_optional_missing_file_is_skipped(state: str, tmp_path: Path) -> None:
    shown = {"EnvironmentFiles": f"{tmp_path}/none (ignore_errors=yes)"}
    assert context(state, shown).environment == {"PATH": "/usr/bin", "LANG": "C"}


@pytest.mark.parametrize("kind", ["missing", "a folder"])
def test_a_required_missing_file_is_named(state: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "app.env"
    if kind == "a folder":
        path.mkdir()
    with pytest.raises(OperationError) as failed:
        context(state, {"EnvironmentFiles": f"{path} (ignore_errors=no)"})
    assert str(path) in failed.value.message


def test_a_file_in_another_encoding_is_read(state: str, tmp_path: Path) -> None:
    (tmp_path / "app.env").write_bytes(b"A=gr\xfcn\nB=1\n")
    found = context(state, {"EnvironmentFiles": f"{tmp_path}/app.env (ignore_errors=no)"})
    assert os.fsencode(found.environment["A"]) == b"gr\xfcn"
    assert found.environment["B"] == "1"


def test_a_unit_without_a_user_runs_as_root_without_home(state: str) -> None:
    found = context(state, {"User": "", "WorkingDirectory": ""})
    assert (found.identity.uid, found.directory) == (0, "/")
    assert "HOME" not in found.environment


def test_a_unit_with_a_user_has_that_users_home(state: str, tmp_path: Path) -> None:
    shown = {"User": "nobody", "WorkingDirectory": "~", "Environment": "HOME=/elsewhere"}
    found = context(state, shown)
    assert found.identity.name == "nobody"
    assert found.directory == found.identity.home
    assert found.environment["USER"] == "nobody"
    assert found.environment["HOME"] == "/elsewhere"
    gone = f"!{tmp_path}/gone"
    assert context(state, {"WorkingDirectory": gone}).directory == "/"
    assert context(state, {"WorkingDirectory": f"!{tmp_path}"}).directory == str(tmp_path)


@pytest.mark.parametrize(
    ("shown", "named"),
    [
        ({"LoadState": "not-found"}, "not-found"),
        ({"User": "nobody-of-that-name"}, "nobody-of-that-name"),
        ({"Group": "no-such-group"}, "no-such-group"),
        ({"SupplementaryGroups": "no-such-group"}, "no-such-group"),
    ],
)
def test_a_missing_unit_or_user_is_named(state: str, shown: dict[str, str], named: str) -> None:
    with pytest.raises(OperationError) as failed:
        context(state, shown)
    assert named in failed.value.message


def test_a_file_that_would_stop_or_fill_us_is_refused(state: str, tmp_path: Path) -> None:
    """The app's user may own it."""
    pipe, huge = tmp_path / "pipe", tmp_path / "huge"
    os.mkfifo(pipe)
    huge.touch()
    os.truncate(huge, 1 << 40)
    for path, why in ((pipe, "not a regular file"), (huge, "more than 1048576 bytes")):
        with pytest.raises(OperationError, match=why):
            context(state, {"EnvironmentFiles": f"{path} (ignore_errors=no)"})
        context(state, {"EnvironmentFiles": f"{path} (ignore_errors=yes)"})
    context(state, {"EnvironmentFiles": "/dev/null (ignore_errors=no)"})
