"""Draining, stopping and giving back where another worker has the same node name."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
from celeriac_host.app.programs import broker, remote_control
from celeriac_host.app.programs.app_side import Problem
from celeriac_host.app.programs.broker import Drain
from celeriac_host.app.programs.remote_control import Control
from remote_workers import HERE, LOADED, REQUEST, Connection, Line, Loaded, Workers, drain, node

pytestmark = pytest.mark.usefixtures("nodenames")


def test_tasks_of_a_worker_with_the_same_name_are_not_waited_for() -> None:
    ours, other = Loaded(), Loaded("beef", [{"id": "a", "name": "t"}])
    workers = Workers((HERE, other.answers()), (HERE, ours.answers()))
    ended = drain(workers, Line(), argv=LOADED)
    assert (ended["end"], ended["left"], ended["seen"]) == ("drained", [], 0)
    assert (ours.queues, other.queues) == ([], ["celery", "links"])


def test_tasks_of_a_worker_with_a_shared_name_are_counted_but_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "NOTE_SECONDS", 0.1)
    ours, other = Loaded(tasks=[{"id": "a"}, {"id": "b"}]), Loaded("beef", [{"id": "c"}])
    workers = Workers((HERE, other.answers()), (HERE, ours.answers()))
    ended = drain(workers, Line(), argv=LOADED, timeoutSeconds=0)
    assert (ended["end"], ended["left"]) == ("timeout", [broker.UNNAMED] * 2)
    line = Line()
    line.waits = ours.tasks.clear
    ended = drain(workers, line, argv=LOADED)
    assert (ended["end"], ended["left"], ended["seen"]) == ("drained", [], 2)
    waiting = [str(what) for kind, what in line.asked if kind == "waiting"]
    assert waiting[0].startswith("2 tasks still running, ")


def test_the_tasks_of_its_run_count_not_the_first_answer_by_its_name() -> None:
    ours, other = Loaded(tasks=[{"id": "a", "name": "t"}]), Loaded("beef")
    late = ours.answers()
    workers = Workers((HERE, other.answers()), (HERE, late))
    # It answers too late to be seen as a second one.
    workers.hears = lambda answers, more: answers is not late or "callback" in more
    ended = drain(workers, Line(), argv=LOADED, timeoutSeconds=0)
    assert (ended["end"], len(ended["left"])) == ("timeout", 1)


def counting(workers: Workers, unfinished: int) -> tuple[Drain, int]:
    line: Any = Line()
    work = Drain(Control(workers, Connection()), REQUEST, line)
    return work, work.count_by_run(HERE, unfinished)


def test_more_tasks_than_its_run_has_are_not_its_own() -> None:
    ours, other = Loaded(tasks=[{"id": "a"}]), Loaded("beef", [{"id": "b"}, {"id": "c"}])
    silent = other.answers()
    workers = Workers((HERE, silent), (HERE, ours.answers()))
    workers.hears = lambda answers, more: answers is not silent or "callback" in more
    work, _ = counting(workers, 1)
    assert work.look(HERE) and not work.shared
    assert (work.count, work.tasks) == (1, [])


def test_a_task_that_its_run_no_longer_counts_is_progress() -> None:
    ours, other = Loaded(tasks=[{"id": "a"}]), Loaded("beef")
    work, empty = counting(Workers((HERE, other.answers()), (HERE, ours.answers())), 2)
    assert (work.shared, empty) == (True, 0)
    work.progressed = 0.0
    assert work.look(HERE) and work.progressed > 0
    work.progressed = 0.0
    assert work.look(HERE) and work.progressed == 0


def test_a_worker_is_not_drained_by_the_answers_of_another_one() -> None:
    other = node(pid=900, cancel_consumer={"ok": ""}, active=[], reserved=[], active_queues=[])
    ours = node(cancel_consumer={"ok": ""}, active=[{"id": "a"}], reserved=[])
    workers = Workers(other, ours)
    # The other one misses the roll call, and is the first from then on; ours is late.
    workers.hears = lambda answers, more: (
        answers is not other[1]
        if more["destination"] is None
        else answers is not ours[1] or "callback" in more
    )
    with pytest.raises(Problem, match=r"2 workers share .*, or load Celeriac's support"):
        drain(workers, Line())


def stop(workers: Workers, line: Line) -> None:
    broker.cancel(Control(workers, Connection()), REQUEST, line)  # type: ignore[arg-type]


def test_nothing_is_cancelled_where_another_worker_answers_by_its_name() -> None:
    other, ours = node(pid=900, active_queues=[]), node(cancel_consumer={"ok": ""})
    workers, line = Workers(other, ours), Line()
    # It misses the roll call.
    workers.hears = lambda answers, more: answers is not other[1] or more["destination"] is not None
    with pytest.raises(Problem, match="2 workers share the node name") as problem:
        stop(workers, line)
    assert "restart the others" not in str(problem.value)
    assert line.asked == []
    assert "cancel_consumer" not in [command for command, _ in workers.said]


def test_a_stop_says_what_it_has_told_another_worker_of_its_name() -> None:
    queues = [{"name": "celery"}]
    ours = node(cancel_consumer={"ok": ""}, active_queues=lambda _: queues)
    other = {"stats": {"pid": 900}}
    workers = Workers((HERE, other), ours)

    def hears(answers: Dict[str, Any], more: Dict[str, Any]) -> bool:
        cancelled = any(command == "cancel_consumer" for command, _ in workers.said)
        if cancelled:
            queues.clear()
        return cancelled or answers is not other

    workers.hears = hears
    with pytest.raises(Problem, match=r"all of them were told to stop .*: restart the others"):
        stop(workers, Line())


@pytest.mark.parametrize("said", [-1, True, 2.0, 10**9, "2", None])
def test_a_count_of_tasks_that_no_worker_has_is_none(said: Any) -> None:
    assert remote_control._run({"queues": [], "unfinished": said}).unfinished is None


def test_tasks_that_come_and_go_under_its_name_are_no_progress() -> None:
    ours, other = Loaded(tasks=[{"id": "a"}]), Loaded("beef", [{"id": "b"}])
    silent = other.answers()
    workers = Workers((HERE, silent), (HERE, ours.answers()))
    workers.hears = lambda answers, more: answers is not silent or "callback" in more
    work, _ = counting(workers, 1)
    workers.hears = lambda answers, more: True
    for task in ("b", "c", "d"):
        other.tasks[:] = [{"id": task}]
        work.progressed = 0.0
        assert work.look(HERE) and work.progressed == 0


def test_queues_are_given_back_though_another_worker_consumes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "celery", SimpleNamespace(VERSION=(5, 7, 0)))
    queues: List[Dict[str, str]] = []
    added = iter([[], [{"name": "celery"}], [{"name": "celery"}, {"name": "links"}]])

    def add(more: Dict[str, Any]) -> Dict[str, str]:
        queues[:] = next(added)
        return {"ok": "add consumer"}

    ours = node(active_queues=lambda _: list(queues), add_consumer=add)
    # The first to answer has its queues.
    workers = Workers(node(pid=900), ours)
    wish = {"node": HERE, "queues": ["celery", "links"], "byRun": False, "timeoutSeconds": 0}
    control = Control(workers, Connection())
    with pytest.raises(Problem, match="does not consume links"):
        broker.give_back(control, wish, Line())  # type: ignore[arg-type]
    assert broker.give_back(control, {**wish, "queues": ["links"]}, Line()) == {"lasting": True}  # type: ignore[arg-type]


def test_a_worker_that_was_not_heard_between_two_looks_is_not_drained() -> None:
    ours = node(cancel_consumer={"ok": ""}, active=[], reserved=[], active_queues=[])
    workers = Workers(ours)
    workers.hears = lambda answers, more: more["destination"] is None or "callback" in more
    ended = drain(workers, Line(), timeoutSeconds=1)
    assert ended["end"] == "timeout"


def test_workers_with_one_name_and_without_the_module_have_one_readable_line() -> None:
    with pytest.raises(Problem, match=r"2 workers share .*, or load Celeriac's support") as problem:
        drain(Workers(node(), node(pid=900)), Line())
    # The traceback of a cause would be shown as evidence.
    assert problem.value.__cause__ is None
