"""Workers are identified by the plan's expression and directory."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from celeriac_host.app import listener, messages, workers
from celeriac_host.facts import workers as fact
from celeriac_host.system import processes, unit_context, units
from conftest import wait_for
from hosts import Host

# The host does not know Celery: a worker is what the expression matches, here only our own.
MARKER = f"marker-{os.getpid()}"
COMMAND = rf"^{MARKER}\x00-c\x00[^\x00]*\x00work\x00"
READY = "import os, time; os.write(1, b'r'); "
SLEEPS = READY + "time.sleep(600)"
FORKS = "import os; os.fork(); " + SLEEPS


@contextmanager
def running(directory: Path, *words: str, code: str = SLEEPS) -> Iterator[int]:
    argv = [MARKER, "-c", code, *words]
    with subprocess.Popen(
        argv,
        executable=sys.executable,
        cwd=directory,
        start_new_session=True,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            # It has started: the directory may be removed now.
            assert process.stdout is not None and process.stdout.read(1) == b"r"
            yield process.pid
        finally:
            os.killpg(process.pid, 9)


@pytest.fixture
def idle(host: Host) -> Host:
    """A unit without processes."""
    host.answers[("systemctl", "show")] = (0, "ControlGroup=\nActiveState=inactive\nMainPID=0")
    return host


def found(directory: Path, host: Host) -> Any:
    search = {"directory": str(directory), "command": COMMAND}
    return workers.others("app.service", search, host)


def test_the_expression_identifies_workers(tmp_path: Path, idle: Host) -> None:
    with running(tmp_path, "work") as pid, running(tmp_path, "rest"):
        assert found(tmp_path, idle) == [pid]
        (seen,) = fact.look({"command": COMMAND}, idle)
    assert (seen["pid"], seen["workingDirectory"]) == (pid, str(tmp_path))
    assert fact.look({"command": COMMAND}, idle) == []


def test_a_worker_in_another_directory_belongs_to_another_app(tmp_path: Path, idle: Host) -> None:
    here, there, link = (tmp_path / name for name in ("here", "there", "link"))
    here.mkdir()
    there.mkdir()
    link.symlink_to(here)
    with running(here, "work") as pid, running(there, "work"):
        assert found(link, idle) == [pid]
        here.rmdir()
        # A deploy may have replaced the directory of a running worker.
        here.mkdir()
        assert found(here, idle) == [pid]


def test_children_are_part_of_their_main_process(tmp_path: Path, idle: Host) -> None:
    with running(tmp_path, "work", code=FORKS) as pid:
        wait_for(lambda: len(processes.descendants(pid)) == 1)
        assert found(tmp_path, idle) == [pid]


def test_processes_of_the_unit_are_not_other_workers(
    tmp_path: Path, idle: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, "work") as pid:
        own = processes.read(pid)
        monkeypatch.setattr(units, "cgroup_processes", lambda group: [own])
        assert found(tmp_path, idle) == []


@pytest.mark.parametrize(
    ("kind", "looks"), [("trace", True), ("restore", True), ("look", False), ("withdraw", False)]
)
def test_other_workers_are_searched_only_if_they_matter(
    tmp_path: Path, idle: Host, monkeypatch: pytest.MonkeyPatch, kind: str, looks: bool
) -> None:
    """An older plan lacks the search; its undo only removes messages."""
    asked: Dict[str, Any] = {}

    def run(host: Host, program: str, request: Dict[str, Any], timeout: float) -> Dict[str, Any]:
        asked.update(request)
        return {}

    monkeypatch.setattr(listener, "run", run)
    args: Dict[str, Any] = {"unit": "app.service", "interpreter": ["python3"]}
    args.update(app="app", pythonPath=[])
    if looks:
        args["otherWorkers"] = {"directory": str(tmp_path), "command": COMMAND}
    with running(tmp_path, "work") as pid:
        messages.ask(args, idle, kind, ids=[])
    assert asked.get("localWorkers") == ([pid] if looks else None)


@pytest.mark.parametrize(
    ("value", "expected"), [("/srv/../tmp", "/tmp"), ("!/none", "/"), ("", "/"), ("~", "~")]
)
def test_a_unit_starts_in_a_real_directory(value: str, expected: str) -> None:
    seen = {"WorkingDirectory": value}
    assert unit_context.working_directory(seen) == os.path.realpath(os.path.expanduser(expected))
    assert unit_context.working_directory({**seen, "User": "no-such-user"}) is None
