"""The support module's decision that a worker consumes nothing, without Celery and a broker."""

from __future__ import annotations

import collections
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any, Callable, Sequence

import pytest

MODULE = Path(__file__).parents[1] / "support" / "celeriac_support.py"


class Step:
    """Stands for `celery.bootsteps.StartStopStep`."""


class Signal:
    def connect(self, receiver: Any, **_: Any) -> None:
        pass


def decorator(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda function: function


@pytest.fixture
def support(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with just enough of Celery to be imported."""
    names = ("celery", "celery.worker", "celery.worker.state", "celery.worker.control")
    fakes: dict[str, Any] = {name: types.ModuleType(name) for name in names}
    celery, worker, state, control = (fakes[name] for name in names)
    celery.Task = type("Task", (), {})
    celery.shared_task = decorator
    celery.bootsteps = types.SimpleNamespace(StartStopStep=Step, RUN=1)
    celery.signals = types.SimpleNamespace(
        worker_init=Signal(), worker_ready=Signal(), worker_shutting_down=Signal()
    )
    worker.state = state
    control.control_command = decorator
    state.reserved_requests = set()
    state.active_requests = set()
    state.all_total_count = [0]
    for name in names:
        monkeypatch.setitem(sys.modules, name, fakes[name])
    spec = importlib.util.spec_from_file_location("celeriac_support_under_test", MODULE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the decision ------------------------------------------------------------------------------


def run_looks(support: Any, looks: Sequence[tuple[float, int | None]], look: float) -> list[Any]:
    since, last, found = None, looks[0][0], []
    for now, waiting in looks:
        since = support.suspicion(since, last, now, waiting, look)
        last = now
        found.append(since)
    return found


def test_it_is_suspect_from_the_first_look_that_sees_messages(support: Any) -> None:
    looks = [(100, 0), (103, 2), (106, 2), (109, 5)]
    assert run_looks(support, looks, 3) == [None, 103, 103, 103]


@pytest.mark.parametrize("waiting", [0, None])
def test_no_message_or_no_answer_ends_the_suspicion(support: Any, waiting: int | None) -> None:
    looks = [(100, 2), (103, 2), (106, waiting), (109, 2)]
    assert run_looks(support, looks, 3) == [100, 100, None, 109]


def test_a_pause_of_the_loop_starts_the_suspicion_again(support: Any) -> None:
    looks = [(100, 2), (103, 2), (900, 2), (903, 2)]
    assert run_looks(support, looks, 3) == [100, 100, 900, 900]


@pytest.mark.parametrize("watchdog", [10, 30, 60, 300, 3600])
def test_a_hang_ends_within_the_watchdog(support: Any, watchdog: float) -> None:
    pace = support.pace(watchdog, None)
    # The messages may have come right after a look.
    assert pace.look + pace.deaf <= watchdog / 2
    assert pace.look + pace.hopeless <= watchdog
    # Never by one unlucky look, and a reconnect has time to help.
    assert pace.deaf >= 2 * pace.look
    assert pace.hopeless >= pace.deaf + pace.look


def test_zero_switches_the_search_off(support: Any) -> None:
    assert support.pace(300, 0).deaf == float("inf")
    assert support.pace(300, 20).deaf < 20


# --- a worker ----------------------------------------------------------------------------------


class ChannelError(Exception):
    pass


class Queue:
    def __init__(self, name: str, **arguments: Any) -> None:
        self.name = name
        self.queue_arguments = {
            key.replace("_", "-"): value for key, value in arguments.items()
        } or None


class Tasks:
    """Stands for the consumer of the task queues."""

    def __init__(self, *queues: Queue) -> None:
        self.queues = list(queues)
        self.cancelled: set[str] = set()
        self.channel = types.SimpleNamespace()

    def consuming_from(self, name: str) -> bool:
        return name not in self.cancelled


class Channel:
    """As of Redis: it stays open after an error."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def queue_declare(self, queue: str, passive: bool) -> Any:
        assert passive
        self.broker.asked.append(queue)
        self.broker.slow()
        if not self.broker.depths.get(queue):
            if self.broker.driver == "amqp":
                self.is_open = False
            raise ChannelError(queue)
        return types.SimpleNamespace(message_count=self.broker.depths[queue])

    def close(self) -> None:
        self.broker.closed += 1


class Broker:
    """Its connections, those of the consumer and our own."""

    channel_errors = (ChannelError,)

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.transport = types.SimpleNamespace(driver_type=driver)
        self.depths: dict[str, int] = {}
        self.tried = self.opened = self.closed = self.released = 0
        self.options: Any = None
        self.down = False
        self.asked: list[str] = []
        self.slow: Callable[[], None] = lambda: None

    def channel(self) -> Channel:
        self.tried += 1
        if self.down:
            raise ConnectionRefusedError
        self.opened += 1
        return Channel(self)

    def release(self) -> None:
        self.released += 1


class Consumer:
    connection_errors = (OSError,)

    def __init__(self, driver: str = "redis", *queues: Queue) -> None:
        self.broker = Broker(driver)
        self.connection = self.broker
        self.hub: Any = types.SimpleNamespace(on_tick=set(), readers={})
        self.pool = types.SimpleNamespace(num_processes=2, limit=2)
        self.qos = types.SimpleNamespace(value=4)
        self.initial_prefetch_count = 4
        self.task_buckets: dict[str, Any] = collections.defaultdict(lambda: None)
        self.task_consumer = Tasks(*(queues or (Queue("celery"), Queue("links"))))
        conf = types.SimpleNamespace(broker_connection_retry=True)
        self.app = types.SimpleNamespace(conf=conf, connection_for_read=self.connect)
        self.taken: list[Any] = []

    def connect(self, **options: Any) -> Broker:
        self.broker.options = options
        return self.broker

    def create_task_handler(self) -> Callable[[Any], None]:
        return self.taken.append


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Worker:
    """A worker with WatchdogSec=30 whose loop turns."""

    def __init__(self, support: Any, monkeypatch: pytest.MonkeyPatch, consumer: Consumer) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        self.said: list[str] = []
        self.clock = Clock()
        monkeypatch.setattr(support, "time", self.clock)
        # Reports ask, too.
        monkeypatch.setattr(support, "REPORT_EVERY", float("inf"))
        support._hearing.reported = 0.0
        monkeypatch.setattr(support, "notify", lambda *lines: self.said.extend(lines))
        self.support = support
        self.consumer = consumer
        self.errors: list[Exception] = []
        support._hearing.listen(consumer)
        self.handle = consumer.create_task_handler()

    def turn(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.now += 1
            error = self.support._hearing.check(self.consumer)
            self.support.ping()
            if error is not None:
                self.errors.append(error)

    def status(self) -> str:
        return str(self.support._hearing.status)

    def pinged(self, seconds: float) -> bool:
        self.said.clear()
        self.turn(seconds)
        return "WATCHDOG=1" in self.said


@pytest.fixture(params=["redis", "amqp"])
def deaf(request: Any, support: Any, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Free, connected, and messages wait."""
    worker = Worker(support, monkeypatch, Consumer(request.param))
    worker.consumer.broker.depths = {"celery": 3}
    return worker


def test_a_deaf_worker_reconnects_once_and_then_ends(deaf: Worker) -> None:
    deaf.turn(10)
    assert deaf.errors == [] and deaf.status() == "Consuming from celery, links"
    deaf.turn(8)
    assert [type(error) for error in deaf.errors] == [ConnectionResetError]
    assert deaf.status().startswith("Consumes nothing: 3 messages waited")
    assert not deaf.pinged(5) and "WATCHDOG=trigger" not in deaf.said
    deaf.turn(10)
    assert "WATCHDOG=trigger" in deaf.said
    assert len(deaf.errors) == 1


def test_a_message_ends_it_at_once(deaf: Worker) -> None:
    deaf.turn(18)
    deaf.handle("message")
    assert deaf.consumer.taken == ["message"]
    assert deaf.pinged(1) and deaf.status() == "Consuming from celery, links"
    # Other messages wait, but it takes some.
    for _ in range(60):
        deaf.handle("message")
        assert deaf.pinged(1)
    assert len(deaf.errors) == 1


def test_a_busy_or_empty_worker_does_not_ask(deaf: Worker) -> None:
    for _ in range(60):
        deaf.handle("message")
        deaf.turn(1)
    assert deaf.consumer.broker.opened == 0


def test_looks_are_limited_in_number_and_in_time(deaf: Worker) -> None:
    deaf.turn(12)
    options = deaf.consumer.broker.options["transport_options"]
    assert options and all(0 < seconds <= 2 for seconds in options.values())
    asked = deaf.consumer.broker.opened
    assert 0 < asked <= (8 if deaf.consumer.broker.driver == "amqp" else 4)


def test_a_look_at_many_queues_of_a_slow_broker_is_cut_short(deaf: Worker) -> None:
    def slow() -> None:
        deaf.clock.now += 0.3

    deaf.consumer.task_consumer.queues = [Queue(str(number)) for number in range(100)]
    deaf.consumer.broker.slow = slow
    deaf.turn(4)
    assert 0 < len(deaf.consumer.broker.asked) < 20


def test_a_look_that_fails_is_not_repeated_soon(deaf: Worker) -> None:
    deaf.consumer.broker.down = True
    deaf.turn(60)
    assert 0 < deaf.consumer.broker.tried <= 3
    deaf.consumer.broker.down = False
    deaf.turn(60)
    assert deaf.errors != []


def test_a_reconnect_of_the_consumer_renews_the_connection_of_the_looks(deaf: Worker) -> None:
    deaf.consumer.broker.down = True
    deaf.turn(8)
    assert deaf.consumer.broker.tried == 1
    deaf.consumer.broker.down = False
    deaf.support._hearing.listen(deaf.consumer)
    deaf.turn(20)
    assert deaf.errors != []


def test_a_setting_that_is_no_number_switches_the_search_off(
    deaf: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERIAC_DEAF_AFTER_SEC", "never")
    deaf.support._hearing.listen(deaf.consumer)
    deaf.turn(100)
    assert deaf.errors == [] and deaf.pinged(1)


def test_no_reconnect_where_nothing_would_catch_it(deaf: Worker) -> None:
    deaf.consumer.hub = None  # gevent
    deaf.turn(18)
    assert deaf.errors == [] and not deaf.pinged(3)
    deaf.consumer.hub = object()
    deaf.support._hearing.heard()
    deaf.consumer.app.conf.broker_connection_retry = False
    deaf.turn(18)
    assert deaf.errors == []


def test_without_a_watchdog_it_is_only_told(
    deaf: Worker, monkeypatch: pytest.MonkeyPatch, support: Any
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")
    deaf.turn(60)
    assert deaf.status().startswith("Consumes nothing") and "WATCHDOG=trigger" not in deaf.said


def excuses() -> dict[str, Callable[[Worker], None]]:
    def busy(worker: Worker) -> None:
        worker.support.requests.reserved_requests = {"a"}
        worker.support.requests.active_requests = {"a", "b"}

    def green(worker: Worker) -> None:
        worker.consumer.pool = types.SimpleNamespace(is_green=True, num_processes=9, limit=1)
        worker.support.requests.active_requests = {"a"}

    def limited(worker: Worker) -> None:
        worker.consumer.task_buckets["tasks.slow"] = types.SimpleNamespace(contents=["request"])

    def eta_limit(worker: Worker) -> None:
        worker.consumer.qos = types.SimpleNamespace(value=8, max_prefetch=8)

    def quorum(worker: Worker) -> None:
        worker.consumer.task_consumer.queues = [Queue("celery", x_queue_type="quorum")]
        worker.consumer.qos.value = 5

    def prefetch(worker: Worker) -> None:
        qos = types.SimpleNamespace(can_consume=lambda: False)
        worker.consumer.task_consumer.channel.qos = qos

    def paused(worker: Worker) -> None:
        worker.consumer.task_consumer.cancelled = {"celery"}

    def standby(worker: Worker) -> None:
        worker.consumer.task_consumer.queues = [Queue("celery", x_single_active_consumer=True)]

    def stream(worker: Worker) -> None:
        worker.consumer.task_consumer.queues = [Queue("celery", x_queue_type="stream")]

    def other_broker(worker: Worker) -> None:
        worker.consumer.broker.transport.driver_type = "SQS"

    def away(worker: Worker) -> None:
        worker.consumer.broker.down = True

    def another_queue(worker: Worker) -> None:
        worker.consumer.broker.depths = {"of another worker": 9}

    cases = (busy, green, limited, eta_limit, quorum, prefetch, paused, standby, stream)
    return {case.__name__: case for case in (*cases, other_broker, away, another_queue)}


@pytest.mark.parametrize("excuse", excuses().values(), ids=excuses().keys())
def test_a_worker_with_a_reason_to_wait_is_well(
    deaf: Worker, excuse: Callable[[Worker], None]
) -> None:
    excuse(deaf)
    deaf.turn(200)
    assert deaf.errors == [] and deaf.pinged(1)
    assert deaf.status().startswith("Consuming from ")


def test_a_quorum_queue_without_etas_is_watched(deaf: Worker) -> None:
    deaf.consumer.task_consumer.queues = [Queue("celery", x_queue_type="quorum")]
    deaf.turn(20)
    assert deaf.errors != []


def test_what_is_broken_in_here_stays_in_here(deaf: Worker) -> None:
    deaf.consumer.task_buckets = None  # type: ignore[assignment]
    deaf.turn(60)
    assert deaf.errors == [] and deaf.pinged(1)
    deaf.consumer.task_consumer = object()  # type: ignore[assignment]
    deaf.turn(60)
    assert deaf.errors == [] and deaf.pinged(1)


def test_the_status_names_no_cancelled_queue(deaf: Worker) -> None:
    deaf.consumer.task_consumer.cancelled = {"links"}
    deaf.turn(1)
    assert deaf.status() == "Consuming from celery"
    deaf.consumer.task_consumer.cancelled = {"links", "celery"}
    deaf.turn(1)
    assert deaf.status() == "Consuming from no queue"


# --- the repair --------------------------------------------------------------------------------


class Cycle:
    pass


class RedisTransport:
    driver_type = "redis"

    def __init__(self) -> None:
        self.cycle = Cycle()
        self.registered = 0

    def register_with_event_loop(self, connection: Any, hub: Any) -> None:
        cycle = self.cycle
        self.registered += 1

        def on_poll_start() -> Any:
            return cycle

        hub.on_tick.add(on_poll_start)


class Connected:
    connected = True

    def __init__(self, transport: Any, sock: Any = None) -> None:
        self.transport = transport
        self.connection = types.SimpleNamespace(sock=sock)


def test_lost_sockets_of_redis_are_registered_again(support: Any) -> None:
    consumer = Consumer()
    transport = RedisTransport()
    consumer.connection = Connected(transport)  # type: ignore[assignment]
    transport.register_with_event_loop(None, consumer.hub)
    support.repair(consumer)
    assert transport.registered == 1
    consumer.hub.on_tick.clear()
    support.repair(consumer)
    assert transport.registered == 2
    support.repair(consumer)
    assert transport.registered == 2


def test_the_callback_of_an_older_connection_does_not_count(support: Any) -> None:
    consumer = Consumer()
    old, new = RedisTransport(), RedisTransport()
    old.register_with_event_loop(None, consumer.hub)
    consumer.connection = Connected(old)  # type: ignore[assignment]
    support.repair(consumer)
    consumer.connection = Connected(new)  # type: ignore[assignment]
    support.repair(consumer)
    assert (old.registered, new.registered) == (1, 1)


def test_a_kombu_that_keeps_them_in_another_way_is_left_alone(support: Any) -> None:
    consumer = Consumer()
    transport = RedisTransport()
    consumer.connection = Connected(transport)  # type: ignore[assignment]
    support.repair(consumer)
    assert transport.registered == 0


def test_a_repair_that_does_not_show_is_not_repeated(support: Any) -> None:
    consumer = Consumer()
    transport = RedisTransport()
    consumer.connection = Connected(transport)  # type: ignore[assignment]
    transport.register_with_event_loop(None, consumer.hub)
    support.repair(consumer)
    consumer.hub.on_tick = frozenset()
    calls: list[Any] = []
    transport.register_with_event_loop = lambda *given: calls.append(given)  # type: ignore[method-assign]
    support.repair(consumer)
    support.repair(consumer)
    assert len(calls) == 1


def test_lost_sockets_of_amqp_are_registered_again(support: Any) -> None:
    consumer = Consumer("amqp")
    sock = types.SimpleNamespace(fileno=lambda: 7)

    class Transport:
        driver_type = "amqp"

        def register_with_event_loop(self, connection: Any, hub: Any) -> None:
            hub.readers[connection.sock.fileno()] = ()

    consumer.connection = Connected(Transport(), sock)  # type: ignore[assignment]
    consumer.hub.readers[7] = ()
    support.repair(consumer)
    consumer.hub.readers.clear()
    support.repair(consumer)
    assert 7 in consumer.hub.readers


@pytest.mark.parametrize("what", ["hub", "connection"])
def test_without_a_loop_or_a_connection_there_is_nothing_to_repair(support: Any, what: str) -> None:
    consumer = Consumer()
    setattr(consumer, what, None)
    support.repair(consumer)
    assert support._logged == set()


def test_sockets_lost_in_the_first_second_are_registered_again(support: Any) -> None:
    consumer: Any = Consumer("amqp")
    consumer.pool = types.SimpleNamespace(num_processes=2)
    sock = types.SimpleNamespace(fileno=lambda: 7)
    consumer.connection = types.SimpleNamespace(
        connected=True,
        connection=types.SimpleNamespace(sock=sock),
        transport=types.SimpleNamespace(
            driver_type="amqp",
            register_with_event_loop=lambda connection, hub: hub.readers.update({7: connection}),
        ),
    )
    consumer.hub.readers[7] = consumer.connection.connection
    due: list[tuple[float, Callable[[], None]]] = []
    consumer.timer = types.SimpleNamespace(call_after=lambda after, what: due.append((after, what)))

    support.Pulse().start(consumer)
    first = [what for after, what in due if after == 0]
    due.clear()
    for what in first:
        what()
    consumer.hub.readers.clear()
    for _, what in list(due):
        what()

    assert 7 in consumer.hub.readers


# --- reports for the sampler -------------------------------------------------------------------


@pytest.fixture(params=["redis", "amqp"])
def reporting(request: Any, support: Any, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """It reports once a minute, and is too busy to be suspected."""
    queues = (Queue("celery"), Queue("a b=1]"), Queue("log", x_queue_type="stream"))
    worker = Worker(support, monkeypatch, Consumer(request.param, *queues))
    monkeypatch.setattr(support, "REPORT_EVERY", 60.0)
    support._hearing.reported = float("-inf")
    support.requests.active_requests = {1, 2}
    support.requests.reserved_requests = {1, 2}
    support.requests.all_total_count[0] = 120
    return worker


def test_a_report_has_tasks_and_queues(reporting: Worker) -> None:
    reporting.consumer.broker.depths = {"celery": 3, "a b=1]": 7, "log": 9}
    reporting.turn(1)
    assert reporting.said[0] == (
        "STATUS=Consuming from a b=1], celery, log"
        " [at=1001 active=2 processed=120 queues=2 waiting:a%20b%3D1%5D=7 waiting:celery=3]"
    )
    assert reporting.consumer.broker.asked == ["celery", "a b=1]"]


def test_a_report_comes_once_a_minute(reporting: Worker) -> None:
    reporting.turn(1)
    reporting.said.clear()
    reporting.turn(59)
    assert not any("STATUS=" in line for line in reporting.said)
    reporting.turn(1)
    assert sum("STATUS=" in line for line in reporting.said) == 1


def test_an_empty_queue_is_known_with_redis_only(reporting: Worker) -> None:
    # As RabbitMQ answers for a queue that does not exist.
    reporting.turn(1)
    assert ("queues=2 waiting:a%20b%3D1%5D=0 waiting:celery=0" in reporting.said[0]) == (
        reporting.consumer.broker.driver == "redis"
    )
    assert ("queues=" in reporting.said[0]) == ("waiting:" in reporting.said[0])


def test_a_part_of_the_queues_is_not_reported(
    reporting: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporting.consumer.broker.depths = {"celery": 3, "a b=1]": 7}
    # The time for a look was over after the first.
    monkeypatch.setattr(reporting.support, "LOOK_LIMIT", -1.0)
    reporting.turn(1)
    assert reporting.said[0].endswith(" [at=1001 active=2 processed=120]")
    monkeypatch.undo()


def test_a_broker_that_is_away_is_asked_rarely(reporting: Worker) -> None:
    broker = reporting.consumer.broker
    broker.down = True
    reporting.turn(599)
    assert broker.tried == 1
    assert "active=2 processed=120]" in reporting.said[0]
    broker.down = False
    broker.depths = {"celery": 3, "a b=1]": 1}
    reporting.turn(2)
    assert broker.tried == 2
    assert any("waiting:celery=3" in line for line in reporting.said)


def test_a_status_in_between_repeats_the_report(reporting: Worker) -> None:
    reporting.turn(1)
    report = reporting.said[0].partition(" [")[2]
    reporting.support._say("Reconnecting to the broker")
    assert reporting.said[-1] == f"STATUS=Reconnecting to the broker [{report}"


def test_a_report_is_bounded(support: Any) -> None:
    lengths = {f"queue-{number}-" + "\u00e9" * 20: 10**6 for number in range(200)}
    report = support.report(1.0, lengths)
    assert len(report.encode()) < support.REPORT_BYTES + 100
    assert report.endswith("=1000000]")
    assert " queues=200 " in report and report.count("waiting:") < 200


def test_no_error_in_a_report_escapes(reporting: Worker, caplog: Any) -> None:
    del reporting.support.requests.all_total_count
    reporting.turn(3)
    assert reporting.errors == []
    assert caplog.text.count("could not report") == 1
    assert reporting.status().startswith("Consuming from ")


# --- what is on its way ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "hub", "channel", "polls"),
    [
        ("redis", True, {"_in_poll": None}, False),
        ("redis", True, {"_in_poll": object()}, True),
        # Cancelled, but the channel has not been told yet: it begins another BRPOP.
        ("redis", True, {"_in_poll": False, "active_queues": {"celery"}}, True),
        # gevent; a subscription to a fanout queue; another Kombu; another broker.
        ("redis", None, {"_in_poll": None}, None),
        ("redis", True, {"_in_poll": None, "_in_listen": object()}, None),
        ("redis", True, {}, None),
        ("amqp", True, {"_in_poll": None}, None),
    ],
)
def test_a_message_may_be_on_its_way_while_it_polls(
    support: Any, driver: str, hub: Any, channel: dict[str, Any], polls: bool | None
) -> None:
    whole = {"_in_listen": None, "active_queues": set(), **channel}
    consumer = types.SimpleNamespace(
        hub=hub,
        task_consumer=types.SimpleNamespace(channel=types.SimpleNamespace(**whole)),
        connection=types.SimpleNamespace(transport=types.SimpleNamespace(driver_type=driver)),
    )
    assert support.polls(consumer) is polls


def test_tasks_that_change_while_they_are_counted_are_unknown(support: Any) -> None:
    class Changing:
        def __iter__(self) -> Any:
            raise RuntimeError("Set changed size during iteration")

    assert support.unfinished() == 0
    support.requests.active_requests = Changing()
    assert support.unfinished() is None
