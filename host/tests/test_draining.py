"""Finding the worker to drain, and reporting the tasks that it still has."""

from __future__ import annotations

import socket
import sys
import time
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List

import pytest
from celeriac_host.app.programs import broker, remote_control
from celeriac_host.app.programs.app_side import Problem
from celeriac_host.app.programs.broker import Drain
from celeriac_host.app.programs.remote_control import Control, Worker

HERE = f"celery@{socket.gethostname()}"
REQUEST: Dict[str, Any] = {
    "mainPid": 812,
    "children": [],
    "argv": ["celery", "worker"],
    "invocation": "f00d",
    "policy": "kill",
    "timeoutSeconds": 600,
    "stuckSeconds": 600,
}


class Connection:
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Workers:
    """The workers behind `app.control`: node → command → its answer, or a function for it."""

    def __init__(self, *nodes: tuple[str, Dict[str, Any]]) -> None:
        self.nodes = nodes
        self.control = self
        self.said: list[tuple[str, Any]] = []
        self.broken: Callable[[], None] = lambda: None
        # Whether the worker with these answers is heard in time.
        self.hears: Callable[[Dict[str, Any], Dict[str, Any]], bool] = lambda answers, more: True

    def broadcast(self, command: str, **more: Any) -> List[Dict[str, Any]]:
        self.broken()
        self.said.append((command, more.get("arguments")))
        found: List[Dict[str, Any]] = []
        for node, answers in self.nodes:
            wanted = more["destination"]
            # As Kombu: without a limit, as many as nodes were asked.
            if len(found) == (more.get("limit") or (len(wanted) if wanted else None)):
                break
            asked = command in answers and (wanted is None or node in wanted)
            if asked and self.hears(answers, more):
                answer = answers[command]
                found.append({node: answer(more) if callable(answer) else answer})
                if more.get("callback"):
                    more["callback"](found[-1])
        return found if more["reply"] else []


def node(name: str = HERE, pid: int = 812, **more: Any) -> tuple[str, Dict[str, Any]]:
    queues = [{"name": "celery"}, {"name": "links"}]
    return name, {"stats": {"pid": pid}, "active_queues": queues, **more}


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


class Line:
    """Records the messages to the agent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.waits: Callable[[], None] = lambda: None

    def ask(self, kind: str, what: Any) -> None:
        self.asked.append((kind, what))
        if kind == "waiting":
            self.waits()


def drain(workers: Workers, line: Line, **request: Any) -> Dict[str, Any]:
    control = Control(workers, Connection())
    return Drain(control, {**REQUEST, **request}, line).run()  # type: ignore[arg-type]


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


class Loaded:
    """A worker that loads the support module; `name` may be that of others, too."""

    def __init__(self, invocation: str = "f00d", tasks: Any = ()) -> None:
        self.queues = ["celery", "links"]
        self.invocation = invocation
        self.tasks = list(tasks)
        self.polls: Iterator[Any] = iter(())

    def consumers(self, more: Dict[str, Any]) -> Dict[str, Any]:
        asked = more["arguments"]
        if asked["invocation"] != self.invocation:
            return {"ok": "ignored: meant for another worker"}
        told = list(self.queues)
        # Celery does it a moment later.
        self.queues = [name for name in self.queues if name not in asked.get("cancel", ())]
        unfinished = len(self.tasks)
        return {"queues": told, "polls": next(self.polls, None), "unfinished": unfinished}

    def answers(self) -> Dict[str, Any]:
        consumers, active = self.consumers, lambda _: self.tasks
        stats = {"pid": 812 if self.invocation == "f00d" else 900}
        reserved: List[Any] = []
        return {
            "celeriac_consumers": consumers,
            "active": active,
            "reserved": reserved,
            "stats": stats,
        }


LOADED = ["celery", "worker", "-I", "celeriac_support"]


@pytest.fixture(autouse=True)
def nodenames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's, which is not installed here."""
    host = socket.gethostname()

    def default_nodename(given: str | None) -> str:
        name, _, rest = (given or "").rpartition("@")
        return f"{name or 'celery'}@{rest or host}"

    def host_format(name: str) -> str:
        if "%d" in name:
            raise ValueError("no such key")
        return name.replace("%h", host)

    names = SimpleNamespace(default_nodename=default_nodename, host_format=host_format)
    monkeypatch.setitem(sys.modules, "celery.utils.nodenames", names)


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


def test_a_stop_says_that_another_worker_answered_by_its_name() -> None:
    other, ours = node(pid=900, active_queues=[]), node(cancel_consumer={"ok": ""})
    workers = Workers(other, ours)
    workers.hears = lambda answers, more: answers is not other[1] or more["destination"] is not None
    with pytest.raises(Problem, match="2 workers share the node name"):
        broker.cancel(Control(workers, Connection()), REQUEST, Line())  # type: ignore[arg-type]


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


def test_workers_with_one_name_and_without_the_module_have_one_readable_line() -> None:
    with pytest.raises(Problem, match=r"2 workers share .*, or load Celeriac's support") as problem:
        drain(Workers(node(), node(pid=900)), Line())
    # The traceback of a cause would be shown as evidence.
    assert problem.value.__cause__ is None


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
