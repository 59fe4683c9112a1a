"""How the facts of a look are found: of one moment, some beside the others."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from celeriac_host.session import agent
from celeriac_host.system import units
from celeriac_host.system.errors import Fault, OperationError, RunnerGone
from celeriac_host.system.system import System
from hosts import Answers, Host

Look = Callable[[Dict[str, Any], System], Any]


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Dict[str, Look]:
    """Facts of the test, by name."""
    known: Dict[str, Look] = {}

    class Fact:
        def __init__(self, look: Look) -> None:
            self.look = look

    monkeypatch.setattr(agent, "_fact", lambda name: Fact(known[name]))
    return known


@pytest.fixture
def host(state: str) -> Host:
    return Host(state, {("systemctl", "show"): (0, "Id=a.service\nUser=app\nGroup=\n")})


def user_of(args: Dict[str, Any], host: System) -> Dict[str, str]:
    return units.glance(host, args["name"], ("User", "Group", "Nice"))


def test_a_look_asks_for_a_unit_once_and_later_looks_again(
    host: Host, facts: Dict[str, Look]
) -> None:
    query = {name: {"name": "a.service"} for name in ("unit", "limits", "code")}
    facts.update(dict.fromkeys(query, user_of))
    found = agent.look(query, host)
    assert found == {name: {"User": "app", "Group": ""} for name in query}
    assert list(found) == list(query)
    assert len(host.asked) == 1
    # The host may have changed.
    agent.look(query, host)
    assert len(host.asked) == 2
    # Operations see what is, each time.
    for _ in range(2):
        units.glance(host, "a.service", ("User",))
    assert len(host.asked) == 4


def test_the_variables_of_a_unit_are_those_of_the_same_moment(state: str) -> None:
    shown = "LoadState=loaded\nEnvironment=HOME=/srv/app SECRET=1\nSystemCallFilter=~\n"
    answers: Answers = {
        ("systemctl", "show"): (0, shown),
        ("systemctl", "show-environment"): (0, "PATH=/usr/bin\n"),
    }
    host = Host(state, answers)
    found = agent.look({"unit": {"name": "a.service"}}, host)["unit"]
    assert found["variables"] == {"HOME": "/srv/app", "PATH": "/usr/bin"}
    assert [tuple(words[:2]) for words in host.asked] == list(answers)


def test_what_waits_for_systemd_alone_is_found_beside_the_others(
    host: Host, facts: Dict[str, Look]
) -> None:
    meeting = threading.Barrier(3, timeout=30)
    mains: List[bool] = []

    def meet(args: Dict[str, Any], host: System) -> Any:
        meeting.wait()
        mains.append(threading.current_thread() is threading.main_thread())
        return args["name"]

    facts.update(host=meet, limits=meet, code=meet)
    asked = {name: {"name": name} for name in ("host", "limits", "code")}
    assert agent.look(asked, host) == {name: name for name in asked}
    # Programs of the app's user take turns, in one thread.
    assert sorted(mains) == [False, False, True]


def test_its_failure_is_that_of_the_look(host: Host, facts: Dict[str, Look]) -> None:
    def fail(args: Dict[str, Any], host: System) -> None:
        raise OperationError("systemd does not answer")

    facts.update(host=lambda args, host: {}, limits=fail, code=lambda args, host: {})
    before = set(threading.enumerate())
    with pytest.raises(OperationError, match="systemd does not answer"):
        agent.look({"host": {}, "limits": {}, "code": {}}, host)
    assert host.moment is None
    assert set(threading.enumerate()) <= before


def test_a_failed_look_waits_for_what_it_began_and_keeps_nothing(
    host: Host, facts: Dict[str, Look]
) -> None:
    ended = []
    begun = threading.Event()

    def slow(args: Dict[str, Any], host: System) -> None:
        begun.wait(30)
        ended.append("limits")

    def fail(args: Dict[str, Any], host: System) -> None:
        begun.set()
        raise Fault("no such fact")

    facts.update(limits=slow, code=fail)
    with pytest.raises(Fault):
        agent.look({"limits": {}, "code": {}}, host)
    assert (ended, host.moment) == (["limits"], None)


def test_a_runner_that_is_gone_ends_the_look(host: Host, facts: Dict[str, Look]) -> None:
    def gone(args: Dict[str, Any], host: System) -> None:
        raise RunnerGone

    facts.update(host=gone, code=lambda args, host: {})
    with pytest.raises(RunnerGone):
        agent.look({"host": {}, "code": {}}, host)


def test_a_host_without_room_for_a_thread_takes_turns(
    host: Host, facts: Dict[str, Look], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    facts.update(host=lambda args, host: 1, limits=lambda args, host: 2)
    monkeypatch.setattr(threading.Thread, "start", full)
    assert agent.look({"host": {}, "limits": {}}, host) == {"host": 1, "limits": 2}


# Each takes as long to import as many modules of ours.
SLOW = (
    "glob",
    "importlib.util",
    "shutil",
    "sqlite3",
    "ssl",
    "tempfile",
    "traceback",
    "urllib.request",
)
OF_A_DEPLOY = (
    *("past", "host", "unit", "workers", "swap", "limits", "code", "files", "transactions"),
    *("release", "stores", "companions", "sampling"),
)


def test_a_look_imports_nothing_that_it_seldom_needs() -> None:
    names = [
        "celeriac_host.session.agent",
        *("celeriac_host.facts." + each for each in OF_A_DEPLOY),
    ]
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        + "".join(f"import {name}\n" for name in names)
        + f"print([name for name in {SLOW} if name in sys.modules])"
    )
    folder = str(Path(__file__).parent.parent)
    argv = [sys.executable, "-I", "-S", "-c", program, folder]
    assert subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout == b"[]\n"
