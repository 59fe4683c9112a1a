"""One process of an app answers several questions; what is not plain is asked of a fresh one."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from celeriac_host.app import app_process, listener, questions
from celeriac_host.app.app_process import Interpreter
from celeriac_host.session import agent
from celeriac_host.system import services, unit_context
from celeriac_host.system.errors import Fault, RunnerGone
from celeriac_host.system.identities import identity
from hosts import Host

# Instead of a program of ours: does what its request says.
PROGRAM = """
import os, sys, threading, time
from celeriac_host.app.programs.app_side import connect, with_app

def carry_out(request, line):
    def work(app):
        with open("done", "a") as file:
            file.write(request["say"] + "\\n")
        if request["say"] == "hang":
            line.tell("stage", "hanging")
            time.sleep(60)
        if request["say"] == "die":
            sys.stderr.write("ValueError: it is dead\\n")
            sys.stderr.flush()
            os._exit(3)
        if request["say"] in ("second time", "send, second time"):
            if request["say"] != "second time":
                line.tell("stage", "waiting for the probes")
            if len(open("imports").read().split()) < 2:
                raise ValueError("it was asked before")
        if request["say"] == "die once" and len(open("imports").read().split()) < 2:
            os._exit(3)
        if request["say"] == "connect":
            connect(app)
        if request["say"] == "lie":
            # While nobody has asked.
            line.tell("report", {"kind": "first"})
            line.tell("report", {"kind": "lie"})
            line.tell("question", 2)
        if request["say"] == "chatter":
            def chatter():
                time.sleep(0.2)
                for _ in range(1000):
                    line.tell("noise", 1)
                open("chattered", "w").close()
            threading.Thread(target=chatter, daemon=True).start()
        if request["say"] == "look up":
            app.amqp.queues["other"] = 1
        if request["say"] == "tell":
            pools = [app._pool, app.amqp._producer_pool]
            return {"queues": sorted(app.amqp.queues), "pools": pools}
        if request["say"] == "spend":
            line.spent = True
        if request["say"] == "fail":
            raise ValueError("it failed")
        return {"kind": request["say"], "pid": os.getpid()}

    return with_app(request, line, work, needs_tasks=request.get("tasks", True))
"""
APP = """
import os
import kombu.pools
import django.db

with open("imports", "a") as file:
    file.write(str(os.getpid()) + "\\n")

class Connection:
    def ensure_connection(self, **options):
        pass

    def release(self):
        with open("closed", "a") as file:
            file.write("closed\\n")

class Amqp:
    queues = {"own": 1}
    _producer_pool = "open"

class App:
    conf = {}
    amqp = Amqp()
    _pool = "open"
    loader = property(lambda self: self)

    def connection_for_write(self):
        return Connection()

    def import_default_modules(self):
        TASKS

    def finalize(self):
        pass

app = App()
"""
POOLS = """
def reset():
    with open("closed", "a") as file:
        file.write("pools\\n")
"""
DATABASE = """
class Connections:
    def close_all(self):
        with open("closed", "a") as file:
            file.write("database\\n")

connections = Connections()
"""
CELERY = "import importlib\n\ndef find_app(name):\n    return importlib.import_module(name).app\n"
ASKED = {"unit": "w.service", "interpreter": [sys.executable], "app": "shop", "pythonPath": []}


class Shop:
    """An app in a folder, and whoever asks it."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.host = host
        self.environment: Dict[str, str] = {"A": "1"}
        self.heard: List[Dict[str, Any]] = []

    def write(self, tasks: str = "pass") -> None:
        package = self.folder / "celery" / "app"
        package.mkdir(parents=True, exist_ok=True)
        for path in (package.parent / "__init__.py", package / "__init__.py"):
            path.write_text("")
        (package / "utils.py").write_text(CELERY)
        for name, text in (("kombu/pools.py", POOLS), ("django/db.py", DATABASE)):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        (self.folder / "shop.py").write_text(APP.replace("TASKS", tasks))

    def ask(self, say: str, timeout: float = 30.0, **more: Any) -> Any:
        """What the program says, with its process; or the end of it."""
        request = {**ASKED, "invocation": "run-1", "say": say, **more}
        found: List[Dict[str, Any]] = []

        def take(message: Dict[str, Any]) -> None:
            self.heard.append(message)
            if "report" in message:
                found.append(message["report"])

        ended = questions.ask(self.host, "probe", request, take, lambda: bool(found), timeout)
        return found[0] if ended is None else ended

    def lines(self, name: str) -> List[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def shop(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Shop(tmp_path, host)
    found.write()
    real = app_process.source

    def source(name: str) -> str:
        return PROGRAM if name == "probe" else real(name)

    def context(host: Host, unit: str) -> unit_context.Context:
        whom = identity(str(os.geteuid()))
        return unit_context.Context(whom, str(tmp_path), found.environment, services.NONE)

    monkeypatch.setattr(app_process, "source", source)
    monkeypatch.setattr(unit_context, "context", context)
    yield found
    host.end_app()


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_several_questions_one_import(shop: Shop) -> None:
    pids = [shop.ask(say)["pid"] for say in ("a", "b", "c")]
    assert len(set(pids)) == 1 and shop.lines("imports") == [str(pids[0])]
    assert shop.lines("done") == ["a", "b", "c"]
    # The import is told once.
    stages = [message["stage"] for message in shop.heard if "stage" in message]
    assert stages == ["importing the app shop"]


def test_one_that_waits_leaves_when_it_is_ended(shop: Shop) -> None:
    pid = shop.ask("a")["pid"]
    begun = time.monotonic()
    shop.host.end_app()
    assert not is_there(pid) and shop.host.app is None
    assert time.monotonic() - begun < questions.LEAVE_SECONDS


def test_what_it_has_left_running_is_told_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    told: List[Any] = []
    monkeypatch.setattr(shop.host, "tell_left", lambda process, argv: told.append(process.pid))
    waits = shop.ask("a")["pid"]
    shop.host.end_app()
    assert told == [waits]
    shop.ask("die")
    assert len(told) == 2


@pytest.mark.parametrize("what", ["environment", "run", "interpreter"])
def test_what_differs_is_asked_of_a_fresh_process(shop: Shop, what: str) -> None:
    first = shop.ask("a")["pid"]
    more: Dict[str, Any] = {}
    if what == "environment":
        shop.environment = {"A": "2"}
    elif what == "run":
        more = {"invocation": "run-2"}
    else:
        more = {"interpreter": [sys.executable, "-B"]}
    second = shop.ask("b", **more)["pid"]
    assert second != first and not is_there(first)
    assert len(shop.lines("imports")) == 2


def test_what_env_replaces_is_no_difference(shop: Shop) -> None:
    """A worker that `env` has started has in its environment what its unit has not."""
    line = ["/usr/bin/env", "PYTHONPATH=/m:${PYTHONPATH}", sys.executable]
    shop.environment = {"A": "1", "PYTHONPATH": "/own"}
    first = shop.ask("a", interpreter=line, pythonPath=["/m"])["pid"]
    shop.environment = {"A": "1", "PYTHONPATH": "/m:/own"}
    assert shop.ask("b", interpreter=line, pythonPath=["/m"])["pid"] == first
    shop.environment = {"A": "1", "PYTHONPATH": "/m:/other"}
    assert shop.ask("c", interpreter=line, pythonPath=["/m"])["pid"] != first


def test_one_that_hangs_is_ended_at_its_time(shop: Shop) -> None:
    first = shop.ask("a")["pid"]
    begun = time.monotonic()
    assert shop.ask("hang", timeout=1.0).code is None
    assert time.monotonic() - begun < 5 and not is_there(first)
    assert shop.heard[-1] == {"stage": "hanging"}
    assert shop.ask("b")["kind"] == "b"
    # It was not asked a second time.
    assert shop.lines("done") == ["a", "hang", "b"]


def test_the_end_of_one_is_told_of_its_question(shop: Shop) -> None:
    shop.ask("a")
    ended = shop.ask("die")
    assert (ended.code, ended.lines()) == (3, ["ValueError: it is dead"])
    assert shop.ask("b")["kind"] == "b"
    assert shop.lines("done") == ["a", "die", "b"]


def test_what_was_said_before_is_no_answer(shop: Shop) -> None:
    assert shop.ask("lie") == {"kind": "first"}
    assert shop.ask("b")["kind"] == "b"
    assert shop.lines("done") == ["lie", "b"]


def test_what_it_did_while_it_waited_is_no_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ask("chatter")
    until = time.monotonic() + 9
    while not (shop.folder / "chattered").exists() and time.monotonic() < until:
        time.sleep(0.02)
    # It has told more than a question may.
    monkeypatch.setattr(app_process, "MOST", app_process.MOST._replace(lines=500))
    assert shop.ask("b")["kind"] == "b"
    assert len(shop.lines("imports")) == 2


def patient(text: str, seconds: float) -> str:
    usual = "IDLE_SECONDS = 10.0"
    assert usual in text
    return text.replace(usual, f"IDLE_SECONDS = {seconds}")


def test_one_that_nobody_asks_leaves(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    text = patient(app_process.text(questions.PROGRAM), 0.3)
    monkeypatch.setattr(app_process, "text", lambda name: text)
    first = shop.ask("a")["pid"]
    end = time.monotonic() + 10
    while Path(f"/proc/{first}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert shop.ask("b")["pid"] != first
    assert shop.lines("done") == ["a", "b"]


def test_one_that_does_not_begin_never_does(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "NOTICE_SECONDS", 0.5)
    first = shop.ask("a")["pid"]
    os.kill(first, signal.SIGSTOP)
    assert shop.ask("b")["pid"] != first
    assert not is_there(first) and shop.lines("done") == ["a", "b"]


def test_one_that_has_left_something_behind_leaves(shop: Shop) -> None:
    first = shop.ask("spend")["pid"]
    assert shop.ask("b")["pid"] != first


def test_one_without_time_left_is_not_asked(shop: Shop) -> None:
    first = shop.ask("a")["pid"]
    assert shop.ask("b", timeout=questions.LIFE_SECONDS)["pid"] != first


def test_the_connections_of_a_question_are_closed(shop: Shop) -> None:
    shop.ask("connect")
    assert shop.ask("tell")["pools"] == [None, None]
    assert shop.lines("closed")[:3] == ["closed", "pools", "database"]


def test_a_queue_that_a_question_has_looked_up_is_not_there_in_the_next(shop: Shop) -> None:
    shop.ask("look up")
    assert shop.ask("tell")["queues"] == ["own"]
    assert len(shop.lines("imports")) == 1


def test_tasks_that_do_not_import_are_told_to_each_that_needs_them(shop: Shop) -> None:
    shop.write("raise ValueError('no such table')")
    first = shop.ask("a", tasks=False)
    second = shop.ask("b")
    assert first["kind"] == "a"
    assert second["problem"] == "the app's tasks do not import: ValueError: no such table"
    assert any("shop.py" in line for line in second["evidence"])
    assert len(shop.lines("imports")) == 1


def test_it_ends_with_the_runner(shop: Shop) -> None:
    pid = shop.ask("a")["pid"]
    shop.host.runner_gone = True
    with pytest.raises(RunnerGone):
        shop.ask("b")
    assert not is_there(pid) and shop.host.app is None


# --- after its report ----------------------------------------------------------------------------


def report(shop: Shop, say: str) -> Dict[str, Any]:
    """As the facts ask."""
    request = {**ASKED, "invocation": "run-1", "kind": "consuming", "say": say}
    return listener.ask(shop.host, "broker", request, 30.0)


def test_only_what_went_well_is_asked_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_process, "source", sourced(app_process.source))
    assert report(shop, "consumes") == {"kind": "consumes"}
    known = shop.host.app
    assert known is not None
    assert report(shop, "consumes") == {"kind": "consumes"} and shop.host.app is known
    failed = report(shop, "fail")
    assert failed["problem"] == "ValueError: it failed" and shop.host.app is None
    died = report(shop, "die")
    assert died["problem"] == (
        "the process that talks to the worker exited while importing the app shop: "
        "ValueError: it is dead"
    )
    assert shop.host.app is None


@pytest.mark.parametrize("say", ["second time", "die once"])
def test_what_one_that_was_asked_before_cannot_tell_is_asked_of_a_fresh_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, say: str
) -> None:
    monkeypatch.setattr(app_process, "source", sourced(app_process.source))
    assert report(shop, "consumes") == {"kind": "consumes"}
    assert report(shop, say) == {"kind": say}
    assert shop.lines("imports")[0] != shop.lines("imports")[1]


def test_it_is_asked_once_more_only(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_process, "source", sourced(app_process.source))
    assert report(shop, "consumes") == {"kind": "consumes"}
    assert report(shop, "fail")["problem"] == "ValueError: it failed"
    assert shop.lines("done") == ["consumes", "fail", "fail"]
    # A fresh one has no past.
    assert report(shop, "fail")["problem"] == "ValueError: it failed"
    assert shop.lines("done") == ["consumes", "fail", "fail", "fail"]


def test_no_task_is_sent_twice(shop: Shop) -> None:
    shop.ask("a")
    request = {**ASKED, "invocation": "run-1", "kind": "task", "say": "send, second time"}
    said = listener.ask(shop.host, "probe", request, 30.0)
    assert said["problem"] == "ValueError: it was asked before"
    assert len(shop.lines("imports")) == 1


def test_the_stage_of_sending_is_that_of_the_program() -> None:
    spec = importlib.util.find_spec("celeriac_host.app.programs.probe")
    assert spec is not None and spec.origin is not None
    assert f'line.tell("stage", "{listener.SENDING}")' in Path(spec.origin).read_text()


def sourced(source: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: PROGRAM if name == "broker" else source(name)


class Waiting:
    def __init__(self) -> None:
        self.ends = 0

    def end(self) -> None:
        self.ends += 1


ENDS: Tuple[Tuple[Dict[str, Any], bool], ...] = (
    ({"ask": "look", "query": {"broker": {}}}, False),
    ({"ask": "look", "query": {"consuming": {}}}, False),
    ({"ask": "submit", "request": {"kind": "canary"}}, False),
    ({"ask": "submit", "request": {"kind": "task"}}, False),
    ({"ask": "submit", "request": {"kind": "http"}}, True),
    ({"ask": "look", "query": {"host": {}, "broker": {}}}, True),
    ({"ask": "look", "query": {"command": {}}}, True),
    ({"ask": "apply"}, True),
    ({"ask": "snapshot"}, True),
    ({}, True),
)


@pytest.mark.parametrize(("message", "ends"), ENDS)
def test_it_is_not_there_while_something_else_is_done(
    message: Dict[str, Any], ends: bool, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = host.app = Waiting()
    at_work: List[int] = []

    def work(*_: Any) -> Dict[str, Any]:
        at_work.append(waiting.ends)
        return {}

    monkeypatch.setattr(agent, "look", work)
    monkeypatch.setattr(agent, "_change", work)
    # What it does with most of these is not the point.
    with suppress(Fault, KeyError):
        agent._answer(message, None, host)  # type: ignore[arg-type]
    assert waiting.ends == int(ends) and at_work in ([], [int(ends)])


def test_two_interpreters_are_alike_only_in_all_of_it() -> None:
    whom = identity(str(os.geteuid()))
    one = Interpreter(["/usr/bin/python3"], whom, "/srv", {"A": "1"}, services.NONE)
    assert one.is_like(one._replace(environment={"A": "1"}))
    others = (
        one._replace(argv=["/usr/bin/python3", "-B"]),
        one._replace(directory="/"),
        one._replace(environment={}),
        one._replace(identity=whom._replace(groups=[*whom.groups, 4711])),
        one._replace(restrictions=services.NONE._replace(umask=0o077)),
    )
    assert not any(one.is_like(other) for other in others)
