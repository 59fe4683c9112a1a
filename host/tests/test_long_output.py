"""An app that says too much, or in a form that nobody expects: errors and answers stay small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from celeriac_host.app import http_probe, visibility
from celeriac_host.code import objects, trees
from celeriac_host.facts import release as release_fact
from celeriac_host.facts import unit as unit_fact
from celeriac_host.facts import workers as workers_fact
from celeriac_host.operations import install_dependencies
from celeriac_host.system import errors, processes, unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import follow
from celeriac_host.system.identities import identity
from celeriac_host.system.system import Completed, System

NESTED = "[" * 100_000


def test_an_error_has_a_limit_whatever_the_app_has_printed() -> None:
    error = OperationError("x" * 3_000_000, evidence=["y" * 3_000_000] * 1000)
    assert len(error.message) == errors.MESSAGE_LIMIT
    assert len(json.dumps(error.evidence)) < 512 * 1024
    assert len(errors.describe(ValueError("x" * 3_000_000))) < 2 * errors.MESSAGE_LIMIT


def test_json_that_is_nested_too_deep_is_no_answer() -> None:
    assert trees.parsed(NESTED) == {}
    assert trees.parsed('{"a": "1", "b": {}}') == {"a": "1"}
    assert http_probe._parsed(NESTED) is None
    assert "problem" in visibility.read(visibility.MARK + NESTED)


@pytest.mark.parametrize(
    "said",
    [
        {"seconds": "60", "transport": "redis", "where": ""},
        {"seconds": float("nan"), "transport": "redis", "where": ""},
        {"seconds": -1},
        [],
    ],
)
def test_a_visibility_timeout_that_is_none_is_not_compared(said: Any) -> None:
    found = visibility.read(visibility.MARK + json.dumps(said))
    assert found == {"problem": "the app did not report it"}


def test_a_program_that_does_not_read_its_answers_is_ended() -> None:
    text = "import time\nfor i in range(200000): print('{}')\ntime.sleep(60)"
    argv = [sys.executable, "-c", text]
    with pytest.raises(OperationError, match="does not read its answers"):
        follow(System(), argv, lambda line: b"x" * 1000 + b"\n", 60)


def test_only_root_tells_what_happened_to_a_run_of_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(argv: list[str], **more: Any) -> Completed:
        asked.append(argv)
        return Completed(argv, 0, "", "", False)

    host = System()
    monkeypatch.setattr(host, "run", run)
    unit_journal.journal(host, "app.service", run=unit_journal.Run("f" * 32, 12))
    groups = " ".join(asked[0][asked[0].index("-b") + 1 :]).split(" + ")
    # Any process may write fields whose names have no underscore in front.
    assert all(each.startswith("_") for each in groups)
    assert f"_UID=0 INVOCATION_ID={'f' * 32}" in groups


def test_a_scratch_folder_too_deep_for_python_is_removed(tmp_path: Path) -> None:
    scratch = tempfile.mkdtemp(dir=tmp_path)
    at = os.open(scratch, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a", dir_fd=at)
        below = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    install_dependencies._remove_scratch(scratch, System())
    assert not os.path.exists(scratch)


def test_git_that_says_a_little_now_and_then_is_not_awaited_for_ever() -> None:
    text = (
        "import sys, time\nwhile True: sys.stdout.write('x'); sys.stdout.flush(); time.sleep(0.01)"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdin=-1, stdout=-1) as process:
        found = objects.Objects(System(), process, "/srv/app")
        found.deadline = 0.0
        with pytest.raises(OperationError, match="took more than"):
            found.read("0" * 40, "tree")
        process.kill()


def test_lookalikes_with_long_arguments_fit_into_an_answer() -> None:
    text = "import time; time.sleep(60)"
    long = ["\udcff" * 120_000] * 3
    # These tests may run at the same time with several versions of Python.
    name = f"lookalike-{os.getpid()}"
    argv = [name, "-c", text, *long]
    those = [subprocess.Popen(argv, executable=sys.executable) for _ in range(40)]
    try:
        found = workers_fact.look({"command": f"^{name}\0"}, System())
        assert {each["pid"] for each in found} == {each.pid for each in those}
        assert len(json.dumps(found)) < 256 * 1024
        mine = [each for each in processes.read_all() if each.pid == those[0].pid]
        assert len(json.dumps(mine[0].argv)) < 64 * 1024
    finally:
        for each in those:
            each.kill()
            each.wait()


def test_a_unit_with_thousands_of_processes_fits_into_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def process(pid: int) -> processes.Process:
        return processes.Process(pid, 1, "S", "app", 0, ["celery", "x" * 4000], pid)

    monkeypatch.setattr(units, "cgroup_processes", lambda group: map(process, range(4500)))
    found = unit_fact._processes("/system.slice/app.service", 4000)
    assert [each["pid"] for each in found] == list(range(4500))
    assert found[0]["argv"] and not found[3999]["argv"]
    assert found[4000]["argv"][0] == "celery"
    assert len(json.dumps(found)) < 900 * 1024


def test_only_the_newest_of_too_many_releases_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:040x}" for number in range(30_000)]
    monkeypatch.setattr(trees, "releases", lambda *more: trees.Releases(None, None, names))
    monkeypatch.setattr(trees, "current", lambda *more: None)
    found = release_fact._releases("/srv/app", identity("0"), System())
    assert found["releases"] == names[: release_fact.RELEASE_LIMIT]
