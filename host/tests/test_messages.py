"""The tasks of the broker's messages, and which worker holds them."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any, Dict, List

import pytest
from brokers import FakeBroker, body, message, signature
from celeriac_host.app import leftovers
from celeriac_host.app.programs import messages
from celeriac_host.app.programs.app_side import Problem, line_of, masked

ALL = {"own", "next", "last", "body", "link", "part", "argument"}


# --- one message -------------------------------------------------------------------------------

PARTS = {"header": {"kwargs": {"tasks": [signature("part")]}}}
FOLLOW: dict[str, tuple[bytes, set[str]]] = {
    "nothing": (body(), set()),
    "a chain": (body(chain=[signature("last"), signature("next")]), {"last", "next"}),
    "a chord": (body(chord=signature("body")), {"body"}),
    "a callback": (body(callbacks=[signature("link")]), {"link"}),
    "an errback": (body(errbacks=[signature("link")]), {"link"}),
    "a group in a chain": (
        body(chain=[signature("next", tasks=[signature("part")])]),
        {"next", "part"},
    ),
    "a chord that is a task": (body(PARTS), {"part"}),
    # Only searched: loading it could run code.
    "a pickle": (b"\x80\x04\x95 next of a pickle", {"next"}),
}


@pytest.mark.parametrize(("content", "after"), FOLLOW.values(), ids=FOLLOW)
def test_tasks_that_follow_a_task_are_owed(content: bytes, after: set[str]) -> None:
    raw = json.dumps(message("own", content)).encode()
    assert messages.called_by(raw) == "own"
    assert messages.owed_by(raw, ALL) == {"own", *after}


def test_without_kombu_compressed_bodies_are_searched() -> None:
    packed = message("own", gzip.compress(body()), compression="application/x-gzip")
    assert messages.owed_by(json.dumps(packed).encode(), ALL) == {"own"}


@pytest.mark.parametrize(
    ("raw", "owed"),
    [(b"next, not JSON", {"next"}), (b"[]", set()), (b"7", set()), (b"\xff next \0", {"next"})],
)
def test_an_invalid_message_owes_all_tasks_that_it_mentions(raw: bytes, owed: set[str]) -> None:
    assert messages.called_by(raw) is None
    assert messages.owed_by(raw, ALL) == owed


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"headers": {"id": "a", "task": "t"}}, ["a", "t"]),
        ({"properties": {"correlation_id": "b"}}, ["b", "?"]),
        ({"headers": None, "properties": None}, ["?", "?"]),
        ({}, ["?", "?"]),
    ],
)
def test_the_task_name_is_read_if_known(content: Any, named: List[str]) -> None:
    assert messages.identify(content) == named


# --- the broker --------------------------------------------------------------------------------


@pytest.fixture(params=["", "app-"])
def broker(request: pytest.FixtureRequest) -> FakeBroker:
    return FakeBroker(request.param)


def test_every_known_or_bound_queue_is_read(broker: FakeBroker) -> None:
    broker.bind("links", "links", "variations")
    broker.put("celery", b"1")
    broker.put("links", b"2", step=9)
    broker.put("links", b"3")
    broker.put("variations", b"4")
    # Not a queue of this broker.
    broker.raw.lists["other"] = [b"5"]
    broker.raw.strings[broker.key("celery\x06\x163")] = b"no list"
    assert sorted(broker.queued()) == [b"1", b"2", b"3", b"4"]


def test_a_long_queue_is_read_completely_and_an_endless_one_refused(broker: FakeBroker) -> None:
    broker.raw.lists[broker.key("links")] = [b"%d" % number for number in range(2500)]
    assert list(broker.queued()) == [b"%d" % number for number in range(2500)]
    many = [b"x"] * (messages.QUEUED_LIMIT + 1)
    broker.raw.lists[broker.key("links")] = many
    with pytest.raises(Problem):
        list(broker.queued())


def test_unacknowledged_messages_are_listed_oldest_first(
    broker: FakeBroker,
) -> None:
    broker.deliver(message("late"), 20.0, "t2")
    broker.deliver(message("early"), 10.0, "t1")
    broker.deliver(b"torn", 5.0, "t0")
    broker.deliver(b"[7, 8, 9]", 6.0, "t3")
    # Acknowledged meanwhile.
    broker.raw.scores[broker.key("unacked_index")][b"gone"] = 1.0
    found = broker.unacked()
    assert [(each.tag, each.ident, each.delivered_at) for each in found] == [
        ("t1", "early", 10.0),
        ("t2", "late", 20.0),
    ]


def test_subscribers_of_this_database_may_be_workers(broker: FakeBroker) -> None:
    broker.raw.clients = [
        {"addr": "10.0.0.1:1", "db": "1", "psub": "1", "sub": "0"},
        {"addr": "10.0.0.2:1", "db": "1", "sub": "2"},
        {"addr": "10.0.0.3:1", "db": "1", "psub": "0", "sub": "0"},
        {"addr": "10.0.0.4:1", "db": "0", "psub": "3"},
    ]
    assert broker.listeners() == ["10.0.0.1:1", "10.0.0.2:1"]
    # Not every Redis allows this command.
    broker.raw.clients = None
    assert broker.listeners() == []


# --- unacked -----------------------------------------------------------------------------------


def look(broker: FakeBroker, **more: Any) -> Dict[str, Any]:
    request = {"kind": "look", "before": None, "mainPid": 0, "localWorkers": [], **more}
    return messages.look(broker, request)


def test_messages_delivered_before_a_time_are_counted(broker: FakeBroker) -> None:
    now = time.time()
    assert look(broker)["count"] == 0
    broker.deliver(message("a"), now - 100, "t1")
    broker.deliver(message("b", task="tasks.other"), now - 50, "t2", "links")
    broker.deliver(message("c"), now + 500, "t3")
    report = look(broker)
    assert report["tasks"] == {"tasks.other": 1, "tasks.step": 1}
    assert 100 <= report["oldestSeconds"] < 700
    assert [each["id"] for each in report["messages"]] == ["a", "b"]
    assert look(broker, before=now - 75)["count"] == 1


def test_only_other_workers_are_named(broker: FakeBroker) -> None:
    broker.deliver(message("a"), 1.0, "t1")
    broker.add_worker("celery@here", 812)
    broker.add_worker("celery@there", 812_000)
    broker.workers.append(("celery@odd", {"stats": "no idea"}))
    assert look(broker, mainPid=812)["others"] == ["celery@odd", "celery@there"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda broker, request: broker.add_worker("celery@there", 9), "celery@there"),
        (lambda broker, request: request.update(localWorkers=[4711]), "4711"),
        (
            lambda broker, request: broker.listen("10.0.0.9:1"),
            "10.0.0.9:1",
        ),
    ],
)
def test_messages_that_another_worker_may_hold_are_not_returned(
    broker: FakeBroker, change: Any, named: str
) -> None:
    request: Dict[str, Any] = {"localWorkers": []}
    change(broker, request)
    broker.deliver(message("a"), 1.0, "t1")
    report = look(broker, kind="restore", **request)
    assert named in report["why"]
    assert report["restored"] == 0
    assert "not returned to their queues" in leftovers.describe(report)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"problem": "no broker"}, "no broker"),
        ({"count": 0}, "no unacknowledged message"),
        ({"count": 1, "others": []}, "1 unacknowledged message"),
        ({"count": 2, "others": ["celery@x"]}, "celery@x"),
        ({"count": 2, "restored": 2}, "2 of 2 unacknowledged messages"),
        ({"count": 2, "restored": 1, "why": "1 lost"}, "1 lost"),
    ],
)
def test_the_result_is_described_in_a_line(more: Dict[str, Any], told: str) -> None:
    base = {"tasks": {"t": 1}, "oldestSeconds": 7.2, "restored": 0, "why": None, "others": []}
    said = leftovers.describe({**base, **more})
    assert told in said
    assert "\n" not in said


# --- tasks -------------------------------------------------------------------------------------


def trace(broker: FakeBroker, *idents: str, main: int = 0, local: Any = ()) -> Dict[str, Any]:
    request = {"ids": list(idents), "mainPid": main, "localWorkers": list(local)}
    return messages.trace(broker, request)


def test_queued_and_unacknowledged_tasks_are_owed(broker: FakeBroker) -> None:
    broker.put("links", message("a"))
    broker.put("links", message("x", body(chain=[signature("b")])))
    broker.deliver(message("c"), 1.0, "t1")
    broker.deliver(message("y", body(chord=signature("d"))), 1.0, "t2")
    broker.put("links", message("foreign"))
    said = trace(broker, "a", "b", "c", "d", "e")
    assert (said["owed"], said["held"]) == (["a", "b", "c", "d"], [])
    assert (trace(broker)["owed"], trace(broker)["held"]) == ([], [])


def test_a_task_that_a_worker_holds_is_not_owed(broker: FakeBroker) -> None:
    broker.deliver(message("a"), 1.0, "t1")
    broker.add_worker(
        "celery@here",
        812,
        active=[{"id": "a"}],
        reserved=[{"id": "b"}],
        scheduled=[{"eta": "x", "request": {"id": "c"}}],
    )
    said = trace(broker, "a", "b", "c", "d", main=812)
    assert (said["owed"], said["held"]) == ([], ["a", "b", "c"])


def test_a_task_that_a_worker_runs_comes_with_its_begin(broker: FakeBroker) -> None:
    at = 1795860000.25
    broker.add_worker(
        "celery@here",
        812,
        active=[
            {"id": "a", "time_start": at},
            # Old versions tell it by a clock of their own, or not at all.
            {"id": "b", "time_start": 4711.5},
            {"id": "c", "time_start": None},
            {"id": "d", "time_start": at},
        ],
        reserved=[{"id": "e", "time_start": None}],
    )
    said = trace(broker, "a", "b", "c", "e", main=812)
    assert said["begun"] == {"a": at}
    assert said["held"] == ["a", "b", "c", "e"]


def test_all_that_is_left_is_counted_whatever_is_asked_for(broker: FakeBroker) -> None:
    assert (trace(broker)["holding"], trace(broker)["waiting"]) == (0, 0)
    broker.bind("reply.celery.pidbox", "1.reply.celery.pidbox")
    broker.put("1.reply.celery.pidbox", b'{"body": "an answer to remote control"}')
    assert trace(broker)["waiting"] == 0
    broker.put("links", message("a"))
    broker.put("celery", b"no message of Kombu's", step=6)
    broker.deliver(message("b"), 1.0, "t1")
    broker.add_worker("celery@here", 812, active=[{"id": "c"}], reserved=[{"id": "d"}])
    for asked in ([], ["a", "c"]):
        said = trace(broker, *asked, main=812)
        assert (said["holding"], said["waiting"]) == (2, 3)


def test_two_workers_with_the_same_name_are_both_asked(broker: FakeBroker) -> None:
    for pid, task in ((812, "a"), (813, "b")):
        broker.add_worker("celery@same", pid, active=[{"id": task}])
    assert trace(broker, "a", "b", main=812, local=[813])["held"] == ["a", "b"]


def test_a_slow_worker_is_asked_again(broker: FakeBroker) -> None:
    broker.add_worker("celery@here", 812, active=[{"id": "a"}])
    broker.deaf = {"stats": 2, "active": 1, "scheduled": 2}
    assert trace(broker, "a", main=812)["held"] == ["a"]


@pytest.mark.parametrize(
    ("deaf", "main", "local", "named"),
    [
        ({"stats": 9}, 812, [], "remote control"),
        ({}, 999, [], "remote control"),
        ({}, 812, [4711], "4711"),
        ({"reserved": 9}, 812, [], "reserved"),
    ],
)
def test_a_worker_that_does_not_report_its_tasks_is_a_problem(
    broker: FakeBroker, deaf: Dict[str, int], main: int, local: List[int], named: str
) -> None:
    broker.add_worker("celery@here", 812)
    broker.deaf = deaf
    with pytest.raises(Problem) as problem:
        trace(broker, "a", main=main, local=local)
    assert named in str(problem.value)


def test_without_any_worker_nobody_holds_anything(broker: FakeBroker) -> None:
    broker.put("links", message("a"))
    said = trace(broker, "a", "b")
    assert said == {
        "owed": ["a"],
        "held": [],
        "begun": {},
        "holding": 0,
        "waiting": 1,
        "hidden": None,
    }


def test_only_messages_of_these_tasks_are_removed(broker: FakeBroker) -> None:
    broker.put("links", message("a"))
    broker.put("links", message("x", body(chain=[signature("b")])))
    broker.put("celery", message("c"), step=6)
    broker.put("links", b"mentions a, b and c")
    broker.deliver(message("d"), 1.0, "t1")
    request = {"ids": ["a", "b", "c", "d"]}
    assert messages.withdraw(broker, request) == {"withdrawn": ["a", "c"]}
    assert messages.withdraw(broker, request) == {"withdrawn": []}
    assert len(list(broker.queued())) == 2
    assert len(broker.unacked()) == 1


# --- texts -------------------------------------------------------------------------------------


class Conf:
    """An app's settings."""

    def __init__(self, **settings: Any) -> None:
        self.conf = settings


def test_passwords_are_never_shown() -> None:
    app = Conf(
        broker_url="redis://:hunter2@h/0;redis://u:s3cret@h2/0",
        result_backend="db+postgresql://u:tiger@h/x",
        broker_read_url=["amqp://u:third@h//", "no url ["],
        broker_write_url=None,
    )
    text = masked(app, "can't reach hunter2, s3cret, tiger, third")
    assert text == "can't reach **, **, **, **"


def test_an_error_becomes_one_line() -> None:
    assert line_of(ValueError("first\nsecond")) == "ValueError: first"
    assert line_of(KeyError()) == "KeyError"
