"""Whether a worker takes the messages of its queues, asked by a process of the app."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, cast

import pytest
from celeriac_host.app import listener
from celeriac_host.app.programs import broker, remote_control
from celeriac_host.app.programs.app_side import Problem
from celeriac_host.facts import consuming
from celeriac_host.system.system import System

HERE = f"celery@{socket.gethostname()}"
REQUEST: Dict[str, Any] = {
    "mainPid": 812,
    "children": [],
    "argv": ["celery", "worker"],
    "queues": ["celery", "links"],
    "forks": True,
    "activeSeconds": 3600.0,
}


class ChannelError(Exception):
    pass


class Side:
    """An app with its broker and a worker that is idle: `looks` are the lengths of the queues."""

    def __init__(self, *looks: Dict[str, int]) -> None:
        self.looks = list(looks)
        self.driver = "redis"
        self.uptime = 7200
        self.unacked = 5
        self.down = False
        self.remote_control = True
        self.arguments: Dict[str, Dict[str, Any]] = {}
        self.answers: Dict[str, Any] | None = {
            "stats": {"pid": 812, "total": {"tasks.one": 7}},
            "active_queues": [{"name": "celery"}, {"name": "links"}],
            "registered": ["tasks.one", "tasks.two"],
            "active": [],
            "reserved": [],
            "scheduled": [],
        }
        self.asked: List[str] = []

    def run(self, **request: Any) -> Dict[str, Any]:
        depths: Iterator[Dict[str, int]] = iter(self.looks)
        now: Dict[str, int] = {}
        asked = request.get("queues", REQUEST["queues"]) or ["celery"]
        # The first queue that is asked for begins a look.
        first = next((name for name in asked if name not in self.arguments), None)

        class Channel:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: Any) -> None:
                pass

            def queue_declare(_, queue: str, passive: bool) -> Any:
                assert passive
                if self.down:
                    raise ConnectionRefusedError("refused")
                if queue == first:
                    now.clear()
                    now.update(next(depths))
                if queue not in now:
                    raise ChannelError
                return SimpleNamespace(message_count=now[queue])

        info = {"uptime_in_seconds": self.uptime}
        connection = SimpleNamespace(
            channel=Channel,
            channel_errors=(ChannelError,),
            close=lambda: None,
            transport=SimpleNamespace(driver_type=self.driver),
            default_channel=SimpleNamespace(
                unacked_key="unacked",
                client=SimpleNamespace(
                    info=lambda section: info, hlen=lambda key: self.unacked if key else 0
                ),
            ),
        )
        queues = {
            name: SimpleNamespace(queue_arguments=self.arguments.get(name))
            for name in ("celery", "links", "other")
        }

        class Queues(Dict[str, Any]):
            consume_from = ("celery",)

        app = SimpleNamespace(
            control=self,
            conf=SimpleNamespace(worker_enable_remote_control=self.remote_control),
            amqp=SimpleNamespace(queues=Queues(queues)),
        )
        control = remote_control.Control(app, connection)
        return broker.consuming(app, control, {**REQUEST, **request})

    def broadcast(self, command: str, **more: Any) -> List[Dict[str, Any]]:
        self.asked.append(command)
        if self.answers is None:
            return []
        answer = self.answers[command]
        said = {HERE: answer() if callable(answer) else answer}
        if more.get("callback"):
            more["callback"](said)
        return [said]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    slept: List[float] = []
    monkeypatch.setattr("celeriac_host.app.programs.broker.time.sleep", slept.append)
    return slept


def test_empty_queues_end_the_question_at_once(no_pauses: List[float]) -> None:
    side = Side({})
    assert side.run() == {"kind": "consumes"}
    assert side.asked == [] and no_pauses == []


def test_an_idle_worker_that_leaves_messages_consumes_nothing(no_pauses: List[float]) -> None:
    found = Side({"celery": 3}, {"celery": 4, "links": 1}).run()
    assert (found["kind"], found["waiting"], found["answers"]) == ("nothing", {"celery": 4}, True)
    assert sum(no_pauses) > 4


def test_a_shrinking_queue_is_consumed() -> None:
    assert Side({"celery": 3, "links": 1}, {"celery": 2, "links": 9}).run()["kind"] == "consumes"
    assert Side({"celery": 3}, {}).run()["kind"] == "consumes"


def test_a_worker_of_many_short_tasks_only_seems_idle() -> None:
    side = Side({"celery": 3}, {"celery": 90})
    counts = iter(range(100))
    assert side.answers is not None
    side.answers["stats"] = lambda: {"pid": 812, "total": {"tasks.one": next(counts)}}
    assert side.run()["kind"] == "consumes"


def test_the_queues_of_others_and_cancelled_ones_do_not_count() -> None:
    side = Side({"celery": 3}, {"celery": 3})
    assert side.answers is not None
    side.answers["active_queues"] = [{"name": "links"}]
    assert side.run()["kind"] == "consumes"
    assert Side({"other": 5}, {"other": 5}).run()["kind"] == "consumes"


def test_without_queues_in_its_line_those_of_the_app_are_asked() -> None:
    assert Side({"celery": 3}, {"celery": 3}).run(queues=None)["kind"] == "nothing"
    assert Side({"links": 3}, {"links": 3}).run(queues=None)["kind"] == "consumes"


@pytest.mark.parametrize(
    "arguments", [{"x-single-active-consumer": True}, {"x-queue-type": "stream"}]
)
def test_queues_that_may_keep_messages_are_left_out(arguments: Dict[str, Any]) -> None:
    side = Side({"celery": 3}, {"celery": 3})
    side.arguments["celery"] = arguments
    assert side.run()["kind"] == "consumes"


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ({"active": [{"id": "1"}]}, "at work"),
        ({"reserved": [{"id": "1"}]}, "at work"),
        ({"registered": ["tasks.one [rate_limit=10/m]"]}, "rate limit"),
        ({"scheduled": [{"eta": "later"}] * 4}, "ETA"),
    ],
)
def test_a_worker_with_a_reason_to_wait_is_not_judged(answers: Dict[str, Any], named: str) -> None:
    side = Side({"celery": 3}, {"celery": 3})
    assert side.answers is not None
    side.answers.update(answers)
    found = side.run()
    assert found["kind"] == "unknown" and named in found["problem"]


@pytest.mark.parametrize(
    ("driver", "unacked", "kind"),
    [("redis", 0, "nothing"), ("redis", 1, "unknown"), ("amqp", 0, "unknown")],
)
def test_a_rate_limit_or_an_eta_excuses_only_who_holds_messages(
    driver: str, unacked: int, kind: str
) -> None:
    limited, later = ["tasks.one [rate_limit=10/m]"], [{"eta": "later"}]
    for answers in ({"registered": limited}, {"scheduled": later}):
        side = Side({"celery": 3}, {"celery": 3})
        side.driver, side.unacked = driver, unacked
        assert side.answers is not None
        side.answers.update(answers)
        assert side.run()["kind"] == kind


def test_a_worker_is_not_judged_by_the_answers_of_another_one() -> None:
    side = Side({"celery": 3}, {"celery": 3})
    # After the roll call, only the other one by its name is heard.
    pids = iter([812])
    assert side.answers is not None
    side.answers["stats"] = lambda: {"pid": next(pids, 900), "total": {}}
    found = side.run()
    assert found["kind"] == "unknown" and "2 workers share the node name" in found["problem"]


def test_a_silent_worker_whose_pool_forks_consumes_nothing() -> None:
    side = Side({"celery": 3}, {"celery": 3})
    side.answers = None
    found = side.run()
    assert (found["kind"], found["waiting"], found["answers"]) == ("nothing", {"celery": 3}, False)


def excuse_solo(side: Side, request: Dict[str, Any]) -> None:
    request["forks"] = False


def excuse_no_remote_control(side: Side, request: Dict[str, Any]) -> None:
    side.remote_control = False


def excuse_amqp(side: Side, request: Dict[str, Any]) -> None:
    side.driver = "amqp"


def excuse_new_worker(side: Side, request: Dict[str, Any]) -> None:
    request["activeSeconds"] = 20


def excuse_new_broker(side: Side, request: Dict[str, Any]) -> None:
    side.uptime = 20


@pytest.mark.parametrize(
    "excuse",
    [excuse_solo, excuse_no_remote_control, excuse_amqp, excuse_new_worker, excuse_new_broker],
)
def test_a_worker_that_may_be_silent_is_not_judged(
    excuse: Callable[[Side, Dict[str, Any]], None],
) -> None:
    side = Side({"celery": 3}, {"celery": 3})
    side.answers = None
    request: Dict[str, Any] = {}
    excuse(side, request)
    assert side.run(**request)["kind"] == "unknown"


def test_a_broker_that_fails_is_a_problem() -> None:
    side = Side({"celery": 3})
    side.down = True
    with pytest.raises(Problem, match="length of celery: ConnectionRefusedError"):
        side.run()


# --- the fact ----------------------------------------------------------------------------------

ARGS = {"unit": "celery-worker.service", "queues": ["celery"], "forks": True}
OF_THE_APP = {"interpreter": ["python3"], "app": "app", "pythonPath": []}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Dict[str, Any]:
    """What systemd shows, and what the process of the app reports."""
    state: Dict[str, Any] = {
        "ActiveState": "active",
        "MainPID": "812",
        "InvocationID": "1",
        "StatusText": "Consuming from celery",
        "ActiveEnterTimestampMonotonic": "1000000",
        "later": {},
        "report": {"kind": "consumes"},
        "asked": [],
    }
    looks: List[int] = []

    def show(host: Any, unit: str, properties: Any) -> Dict[str, str]:
        looks.append(1)
        found = {**state, **(state["later"] if len(looks) > 1 else {})}
        return {name: found[name] for name in properties}

    def run(host: Any, program: str, request: Any, timeout: float, like: int) -> Any:
        state["asked"].append(request)
        return state["report"]

    monkeypatch.setattr("celeriac_host.facts.consuming.units.show", show)
    monkeypatch.setattr("celeriac_host.facts.consuming.units.glance", show)
    monkeypatch.setattr(listener, "ask", run)
    monkeypatch.setattr("celeriac_host.facts.consuming.time.sleep", lambda seconds: None)
    return state


def look() -> Dict[str, Any]:
    # Only handed on: what it would be asked is replaced.
    return consuming.look({**ARGS, **OF_THE_APP}, cast(System, None))


def test_the_status_of_the_unit_is_evidence(shown: Dict[str, Any]) -> None:
    shown["StatusText"] = "Consumes nothing: 3 messages waited"
    assert look() == {"kind": "told", "status": "Consumes nothing: 3 messages waited"}
    assert shown["asked"] == []


def test_a_worker_that_comes_back_is_asked(shown: Dict[str, Any]) -> None:
    shown["StatusText"] = "Consumes nothing: 3 messages waited"
    shown["later"] = {"StatusText": "Consuming from celery"}
    assert look() == {"kind": "consumes"}
    [request] = shown["asked"]
    assert request["kind"] == "consuming" and request["activeSeconds"] > 0


@pytest.mark.parametrize("status", ["Waiting for the broker", "Reconnecting to the broker"])
def test_a_broker_that_is_away_is_no_verdict(shown: Dict[str, Any], status: str) -> None:
    shown["StatusText"] = status
    assert look()["kind"] == "unknown" and shown["asked"] == []


def test_a_worker_that_does_not_run_is_not_asked(shown: Dict[str, Any]) -> None:
    shown["ActiveState"] = "failed"
    assert look()["kind"] == "unknown" and shown["asked"] == []


@pytest.mark.parametrize(
    "report",
    [
        {"problem": "the app does not import", "evidence": []},
        {"kind": "unknown", "problem": "it is at work"},
        {"kind": "nothing", "waiting": "many"},
        {"kind": ["?"]},
        {},
    ],
)
def test_other_reports_are_no_verdict(shown: Dict[str, Any], report: Any) -> None:
    shown["report"] = report
    found = look()
    assert set(found) == {"kind", "problem"} and found["kind"] == "unknown"


def test_a_report_is_cut_to_what_is_expected(shown: Dict[str, Any]) -> None:
    waiting = {"celery\n": 3, "links": "many"}
    shown["report"] = {"kind": "nothing", "waiting": waiting, "answers": 1, "seconds": 6, "x": 1}
    expected = {"kind": "nothing", "waiting": {"celery ": 3}, "answers": True, "seconds": 6.0}
    assert look() == expected


def test_a_restart_during_the_check_is_no_verdict(shown: Dict[str, Any]) -> None:
    shown["report"] = {"kind": "nothing", "waiting": {"celery": 3}}
    shown["later"] = {"InvocationID": "2"}
    assert look()["kind"] == "unknown"
