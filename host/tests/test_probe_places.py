"""Where the probes of a gate stand, as the broker and the workers tell."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
from celeriac_host.app import probe, reports
from celeriac_host.app.programs import probe_places
from celeriac_host.app.programs.probe import Job, Runs, queue_of
from celeriac_host.app.programs.probe_places import Places
from hosts import Host

UNIT = "celery-worker.service"
HERE = f"celery@{socket.gethostname()}"


class NotFound(Exception):
    reply_code = "404"


class Side:
    """An app whose queues hold `waiting`, and whose workers answer `said`."""

    def __init__(self, driver: str = "redis") -> None:
        self.waiting: Dict[str, List[bytes]] = {}
        self.said: List[Dict[str, Any]] = [{HERE: {}}]
        self.driver = driver
        self.asked: List[Any] = []
        self.control = self

    def __enter__(self) -> Any:
        return SimpleNamespace(
            channel=lambda: self.channel(),
            channel_errors=(NotFound,),
            transport=SimpleNamespace(driver_type=self.driver),
        )

    def __exit__(self, *_: Any) -> None:
        pass

    def connection_for_write(self) -> Side:
        return self

    def channel(self) -> Any:
        def declare(queue: str, passive: bool) -> Any:
            assert passive
            if queue not in self.waiting:
                raise NotFound
            return SimpleNamespace(message_count=len(self.waiting[queue]))

        client = SimpleNamespace(lrange=lambda key, first, last: self.waiting[key][: last + 1])
        return SimpleNamespace(
            queue_declare=declare,
            close=lambda: None,
            priority_steps=[0],
            _q_for_pri=lambda name, step: name,
            client=client,
        )

    def broadcast(self, command: str, arguments: Any, **_: Any) -> Any:
        self.asked.append((command, arguments))
        return self.said


def test_answers_of_a_worker_that_somebody_restarts_meanwhile_are_the_units() -> None:
    asked: List[str] = []
    now = ["one"]

    def ask(kind: str, what: Any) -> str:
        asked.append(kind)
        return now[0]

    runs = Runs({"invocation": "one"}, SimpleNamespace(ask=ask))  # type: ignore[arg-type]
    assert runs.has("one")
    assert not asked
    # Another host's worker: systemd is asked once about it.
    assert [runs.has(each) for each in ("other", "other", None, 7)] == [False] * 4
    assert asked == ["run"]
    now[0] = "two"
    assert [runs.has(each) for each in ("two", "two", "one", "other")] == [True, True, True, False]
    assert asked == ["run", "run"]
    now[0] = ""
    assert [runs.has(each) for each in ("", "three")] == [False, False]
    # systemd did not answer then.
    now[0] = "three"
    assert runs.has("three")


def test_the_run_of_a_unit_is_what_systemd_says_when_it_is_asked(host: Host) -> None:
    host.answers[("systemctl", "show")] = (0, "InvocationID=two\n")
    assert probe._told({"run": ""}, host, UNIT) == "two"
    host.answers[("systemctl", "show")] = (1, "Failed to connect to bus")
    assert probe._told({"run": ""}, host, UNIT) == ""


def test_each_place() -> None:
    side = Side()
    side.waiting = {"links": [b'{"headers": {"id": "q"}}'], "celery": []}
    side.said = [
        {HERE: {"a": ["active", {}], "r": ["reserved", {}], "e": ["ready", {}]}},
        {"celery@other": {"error": "no such command"}},
    ]
    tasks = {"q": "links", "a": "links", "r": "celery", "e": "celery", "g": "celery"}
    places = Places(side)
    wanted = {"q": "queued", "a": "active", "r": "reserved", "e": "reserved"}
    # It may be on its way from the queue to the worker.
    assert places.look(dict(tasks)) == {**wanted, "g": "unknown"}
    assert places.look(dict(tasks)) == {**wanted, "g": "lost"}
    assert side.asked[0] == ("query_task", {"ids": list(tasks)})


@pytest.mark.parametrize(
    ("said", "queue"),
    [
        ([], "celery"),
        ([{"celery@elsewhere": {}}], "celery"),
        ([{HERE: {"error": "no such command"}}], "celery"),
        ([{HERE: {}}], None),
    ],
)
def test_nothing_is_lost_that_may_be_where_nobody_could_look(said: Any, queue: str | None) -> None:
    side = Side()
    side.said = said
    side.waiting = {"celery": []}
    places = Places(side)
    assert [places.look({"g": queue}) for _ in range(3)] == [{"g": "unknown"}] * 3


def test_a_broker_that_shows_no_messages_tells_whether_there_are_any() -> None:
    side = Side("amqp")
    side.waiting = {"celery": [b"?"]}
    places = Places(side)
    assert [places.look({"g": "celery"}) for _ in range(2)] == [{"g": "unknown"}] * 2
    side.waiting = {}
    assert [places.look({"g": "celery"})["g"] for _ in range(2)] == ["unknown", "lost"]


def test_a_queue_too_long_to_be_searched_may_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_places, "DEPTH", 1)
    side = Side()
    side.waiting = {"celery": [b"other", b"more"]}
    places = Places(side)
    assert [places.look({"g": "celery"})["g"] for _ in range(2)] == ["unknown"] * 2


def test_a_broker_that_is_gone_makes_all_unknown() -> None:
    places = Places(SimpleNamespace())
    assert places.look({"g": "celery"}) == {"g": "unknown"}


def test_the_next_look_is_due_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("celeriac_host.app.programs.probe_places.time.monotonic", lambda: now[0])
    places = Places(Side())
    now[0] += 2.9
    assert not places.is_due()
    now[0] += 0.1
    assert places.is_due()
    places.look({})
    assert not places.is_due()
    now[0] += 5
    assert places.is_due()
    assert places.seconds() == 8


def test_the_last_place_is_said_in_words() -> None:
    job = Job("links")
    assert (job.stands(), job.standing()) == ("", "unknown")
    job.place = "queued"
    assert job.stands() == "; it is still queued"
    job.end("done", "")
    assert job.row()["place"] == "done"


def test_the_queue_of_a_task_is_its_own_or_that_of_its_route() -> None:
    route = SimpleNamespace(route=lambda options, name: {"queue": SimpleNamespace(name="links")})
    app = SimpleNamespace(amqp=SimpleNamespace(router=route))
    assert queue_of(app, None, "tasks.x") == "links"
    assert queue_of(app, SimpleNamespace(queue="own"), "tasks.x") == "own"
    assert queue_of(SimpleNamespace(), None, "tasks.x") is None


def test_what_the_program_tells_is_checked() -> None:
    told: List[Any] = []
    host: Any = SimpleNamespace(probes=told.append)
    row = {"where": "links", "place": "queued", "detail": "", "more": 1}
    probe._told({"probes": {"seconds": 3.5, "probes": [row, "no row"]}}, host, UNIT)
    assert told == [
        {"seconds": 3.5, "probes": [{"where": "links", "place": "queued", "detail": ""}]}
    ]
    for bad in ("x", {"seconds": 1, "probes": [{**row, "place": "gone"}]}, {"probes": [row]}):
        probe._told({"probes": bad}, host, UNIT)
    assert probe._told({"note": "x"}, host, UNIT) is None
    assert len(told) == 1
    with pytest.raises(reports.Invalid):
        reports.places({"seconds": 1})
