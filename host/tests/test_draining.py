"""Finding the worker to drain, and reporting the tasks that it still has."""

from __future__ import annotations

import time
from typing import Any, Dict, List

import pytest
from celeriac_host.app.programs import broker, remote_control
from celeriac_host.app.programs.app_side import Problem
from celeriac_host.app.programs.remote_control import Control, Worker
from remote_workers import HERE, LOADED, REQUEST, Connection, Line, Loaded, Workers, drain, node

pytestmark = pytest.mark.usefixtures("nodenames")


def find(workers: Workers, **request: Any) -> Worker:
    return remote_control.find(Control(workers, Connection()), {**REQUEST, **request})


def test_the_worker_is_found_by_its_main_process() -> None:
    workers = Workers(node("celery@there", 812), node(HERE, 900), node(f"links@{HERE[7:]}", 812))
    assert find(workers) == Worker(f"links@{HERE[7:]}", ["celery", "links"])


def test_a_host_name_in_its_arguments_counts() -> None:
    argv = ["celery", "worker", "-n", "w1@app.example"]
    assert find(Workers(node("w1@app.example")), argv=argv).node == "w1@app.example"


@pytest.mark.parametrize(
    ("told", "children", "is_it"),
    [
        ([813, 814], [814, 815], True),
        ([813], [815], False),
        ([], [815], True),
        ([813], [], True),
    ],
)
def test_reported_children_must_match(told: List[int], children: List[int], is_it: bool) -> None:
    said = {"pid": 812, "pool": {"processes": told}}
    assert remote_control.is_it(said, {**REQUEST, "children": children}) == is_it
    assert not remote_control.is_it("no idea", REQUEST)


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([], "worker"),
        ([node("celery@there", 7)], "celery@there"),
        ([node(), node(pid=900)], HERE),
    ],
)
def test_an_ambiguous_worker_is_a_problem(nodes: Any, named: str) -> None:
    with pytest.raises(Problem) as problem:
        find(Workers(*nodes))
    assert named in str(problem.value)


def test_no_answer_and_errors_are_problems() -> None:
    control = Control(Workers(node(active={"error": "no such method"})), Connection())
    for command, named in (("active", "no such method"), ("reserved", HERE)):
        with pytest.raises(Problem) as problem:
            control.ask(HERE, command)
        assert named in str(problem.value)


def test_the_error_of_a_worker_asked_by_its_run_is_told() -> None:
    ours = node(celeriac_consumers={"error": "AttributeError('task_consumer')"})
    # Of its name, but without the command, or meant for another run.
    unknown = node(celeriac_consumers={"error": "KeyError('celeriac_consumers')"})
    ignored = node(celeriac_consumers={"ok": "ignored"})
    with pytest.raises(Problem) as problem:
        Control(Workers(unknown, ignored, ours), Connection()).ask_run(HERE, "f00d")
    assert "AttributeError('task_consumer')" in str(problem.value)
    assert HERE in str(problem.value)
    with pytest.raises(Problem, match=r"reports this invocation$"):
        Control(Workers(ignored), Connection()).ask_run(HERE, "f00d")
    told = Control(Workers(ours, (HERE, Loaded().answers())), Connection()).ask_run(HERE, "f00d")
    assert told.queues == ["celery", "links"]


def test_a_failed_request_is_followed_by_a_new_connection() -> None:
    workers, connection = Workers(node()), Connection()

    def fail() -> None:
        raise ConnectionResetError("reset by peer")

    workers.broken = fail
    with pytest.raises(Problem) as problem:
        Control(workers, connection).ask(HERE, "stats")
    assert "reset by peer" in str(problem.value)
    assert connection.closed == 1


def test_every_queue_is_cancelled_after_the_agent_recorded_them() -> None:
    line = Line()
    queues = iter([[{"name": "celery"}, {"name": "links"}], [{"name": "links"}], []])
    tasks = iter([[{"id": "a", "name": "t"}], [], []])
    _, answers = node(cancel_consumer={"ok": "gone"}, reserved=[])
    answers.update(active_queues=lambda _: next(queues), active=lambda _: next(tasks))
    workers = Workers((HERE, answers))
    ended = drain(workers, line)
    assert line.asked == [("found", {"node": HERE, "queues": ["celery", "links"]})]
    cancelled = [words["queue"] for command, words in workers.said if command == "cancel_consumer"]
    # Once more for the queue that it still consumed.
    assert cancelled == ["celery", "links", "links"]
    assert (ended["end"], ended["left"], ended["seen"]) == ("drained", [], 1)


@pytest.mark.parametrize(
    ("wish", "end"),
    [
        ({"timeoutSeconds": 0}, "timeout"),
        ({"timeoutSeconds": 0, "policy": "wait", "stuckSeconds": 0}, "stuck"),
    ],
)
def test_remaining_tasks_are_reported_after_the_timeout(wish: Any, end: str) -> None:
    tasks = [{"id": "0123456789", "name": "app.tasks.process_link", "time_start": time.time()}]
    queues = iter([[{"name": "celery"}], []])
    _, answers = node(cancel_consumer={"ok": ""}, active=tasks, reserved=[{"id": "b"}, tasks[0]])
    answers.update(active_queues=lambda _: next(queues, []))
    ended = drain(Workers((HERE, answers)), Line(), **wish)
    assert ended["end"] == end
    assert ended["seen"] == 2
    first, second = ended["left"]
    assert first.startswith("process_link 0123… ")
    assert second == "? b (waits)"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("celery -A app worker", HERE),
        ("celery -A app worker -n links@%h -c 2", f"links@{HERE[7:]}"),
        ("celery -A worker_app worker -nlinks@%h", f"links@{HERE[7:]}"),
        ("celery -A app worker --hostname=a@b --hostname c@d", "c@d"),
        ("celery -A app worker -n x@%d", None),
        # As its title shows it, with setproctitle.
        ("[celeryd: w@h:MainProcess] -active- (worker -n w@h)", "w@h"),
    ],
)
def test_the_node_name_is_that_of_the_command_line(line: str, name: str | None) -> None:
    assert remote_control.name_of(line.split()) == name
    assert remote_control.name_of([line]) == name


def test_a_worker_without_the_module_gets_no_unknown_command() -> None:
    asked: List[Any] = []
    workers = Workers(node())
    told = workers.broadcast

    def broadcast(command: str, **more: Any) -> List[Dict[str, Any]]:
        asked.append((command, more["destination"]))
        return told(command, **more)

    workers.broadcast = broadcast  # type: ignore[method-assign]
    request = {**REQUEST, "argv": [*LOADED, "-n", "links@%h"]}
    control = Control(workers, Connection())
    assert remote_control.find_run(control, request) is None
    assert asked == [("celeriac_consumers", [f"links@{HERE[7:]}"])]


def test_a_worker_with_the_support_module_is_found_without_waiting_for_all() -> None:
    ours, other = Loaded(), Loaded("beef")
    workers = Workers((f"other@{HERE[7:]}", other.answers()), (HERE, ours.answers()))
    line = Line()
    assert drain(Workers((HERE, ours.answers())), line, argv=LOADED)["end"] == "drained"
    found = {"node": HERE, "queues": ["celery", "links"], "byRun": True}
    assert line.asked == [("found", found)]
    assert drain(workers, line, argv=LOADED)["end"] == "drained"
    assert (ours.queues, other.queues) == ([], ["celery", "links"])
    # No roll call, and no command by a node name that another worker may have.
    assert {command for command, _ in workers.said} == {"celeriac_consumers", "stats"}


def test_an_idle_worker_is_drained_as_soon_as_nothing_is_on_its_way() -> None:
    ours = Loaded()
    # Found, told to cancel, asked again, its BRPOP ends.
    ours.polls = iter([True, True, True, True, False])
    workers = Workers((HERE, Loaded("beef", [{"id": "a"}]).answers()), (HERE, ours.answers()))
    ended = drain(workers, Line(), argv=LOADED)
    assert (ended["end"], ended["left"], ended["seen"]) == ("drained", [], 0)
    # By its run alone, so another one with its name does not matter.
    assert {command for command, _ in workers.said} == {"celeriac_consumers"}


@pytest.mark.parametrize("polls", [[True] * 100, [None] * 100, []])
def test_tasks_are_counted_if_a_message_may_still_be_on_its_way(polls: List[Any]) -> None:
    ours = Loaded()
    ours.polls = iter(polls)
    workers = Workers((HERE, ours.answers()))
    assert drain(workers, Line(), argv=LOADED)["end"] == "drained"
    assert {command for command, _ in workers.said} == {"celeriac_consumers", "stats"}


def test_a_worker_at_work_is_not_drained_though_nothing_is_on_its_way() -> None:
    ours = Loaded(tasks=[{"id": "a", "name": "t"}])
    ours.polls = iter([False] * 100)
    ended = drain(Workers((HERE, ours.answers())), Line(), argv=LOADED, timeoutSeconds=0)
    assert (ended["end"], ended["seen"]) == ("timeout", 1)


@pytest.mark.parametrize(("polls", "sleeps"), [([True, True, False], False), ([None] * 3, True)])
def test_a_stop_waits_for_what_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, polls: List[Any], sleeps: bool
) -> None:
    slept: List[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    ours = Loaded()
    ours.polls = iter(polls)
    control = Control(Workers((HERE, ours.answers())), Connection())
    broker.cancel(control, {**REQUEST, "argv": LOADED}, Line())  # type: ignore[arg-type]
    assert any(each > broker.ASK_SECONDS for each in slept) == sleeps


def test_a_stop_waits_after_the_cancel_however_long_that_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept.append(seconds)

    def stop_consuming(*_: Any) -> tuple[str, None]:
        now[0] += 60
        return HERE, None

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(broker, "stop_consuming", stop_consuming)
    broker.cancel(Control(Workers(), Connection()), REQUEST, Line())  # type: ignore[arg-type]
    assert slept == [pytest.approx(broker.ON_ITS_WAY_SECONDS)]


def test_a_support_module_that_does_not_answer_is_no_problem() -> None:
    queues = iter([[{"name": "celery"}], []])
    _, answers = node(cancel_consumer={"ok": "gone"}, reserved=[], active=[])
    answers.update(active_queues=lambda _: next(queues, []))
    answers["celeriac_consumers"] = {"error": "no such control command"}
    line = Line()
    assert drain(Workers((HERE, answers)), line, argv=LOADED)["end"] == "drained"
    assert line.asked == [("found", {"node": HERE, "queues": ["celery"]})]


def test_a_late_answer_to_another_request_is_no_answer() -> None:
    def broadcast(command: str, **more: Any) -> List[Dict[str, Any]]:
        # As Kombu: each message counts, and only those of this request are passed on.
        assert more["limit"] > 1000
        more["callback"]({HERE: "yes"})
        raise AssertionError("waits for more")

    workers = Workers()
    workers.broadcast = broadcast  # type: ignore[method-assign]
    assert Control(workers, Connection()).ask(HERE, "active") == "yes"


@pytest.mark.parametrize(
    ("task", "age"),
    [
        ({"time_start": None}, -1),
        ({}, -1),
        ({"time_start": "yesterday"}, -1),
        # By the worker's monotonic clock, which gives no age.
        ({"time_start": 4711.5}, -1),
        ({"time_start": time.time() - 1000}, 1000),
    ],
)
def test_the_age_of_a_task_is_reported_if_known(task: Any, age: float) -> None:
    found = broker.age_of(task)
    assert found == -1 if age == -1 else found >= age
