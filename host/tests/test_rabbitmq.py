"""RabbitMQ tells how many messages there are, not whose."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from celeriac_host.app import app_process
from celeriac_host.app.programs import messages, rabbitmq
from celeriac_host.app.programs.rabbitmq import Counts

Declared = SimpleNamespace


class ChannelError(Exception):
    def __init__(self, reply_code: int) -> None:
        super().__init__(reply_code)
        self.reply_code = reply_code


class Connection:
    """Kombu's connection to a RabbitMQ with these queues: name → messages, consumers."""

    channel_errors = (ChannelError,)
    ssl: Any = None
    userid = "me"
    password = "open sesame"
    virtual_host = "shop/eu"
    # How it refuses to show other queues.
    code = 404

    def __init__(self, **queues: Tuple[int, int]) -> None:
        self.queues = queues
        self.hostname: Optional[str] = None
        self.open = 0

    def channel(self) -> Any:
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1

    def queue_declare(self, queue: str, passive: bool) -> Any:
        assert passive
        if queue not in self.queues:
            raise ChannelError(self.code)
        count, consumers = self.queues[queue]
        return Declared(message_count=count, consumer_count=consumers)


# --- counting ----------------------------------------------------------------------------------


def test_messages_and_consumers_of_its_queues_are_counted() -> None:
    connection = Connection(celery=(2, 1), links=(1, 2), other=(9, 9))
    counts = rabbitmq.count(connection, {"celery", "links", "never-declared"})
    assert counts == Counts(3, None, 3)
    assert connection.open == 0


def test_messages_with_a_countdown_are_counted_too() -> None:
    delayed = {"celery_delayed_0": (0, 0), "celery_delayed_1": (4, 0)}
    assert rabbitmq.count(Connection(celery=(0, 1), **delayed), {"celery"}).ready == 4


def test_a_queue_that_may_not_be_seen_is_not_an_empty_one() -> None:
    connection = Connection()
    connection.code = 403
    with pytest.raises(ChannelError):
        rabbitmq.count(connection, {"celery"})


@pytest.fixture
def management(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dict[str, Any]]:
    """The management API; `said`: its answer, `asked`: paths and credentials."""
    state: Dict[str, Any] = {"said": [], "code": 200, "asked": []}

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = self.headers["Authorization"].split()[1]
            state["asked"].append((self.path, base64.b64decode(token).decode()))
            self.send_response(state["code"])
            self.end_headers()
            self.wfile.write(json.dumps(state["said"]).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(rabbitmq, "MANAGEMENT_PORT", server.server_address[1])
    yield state
    server.shutdown()
    server.server_close()


def queue(name: str, unacked: Any) -> Dict[str, Any]:
    return {"name": name, "messages_unacknowledged": unacked}


@pytest.mark.parametrize(
    ("said", "unacked"),
    [
        ([queue("celery", 2), queue("links", 1), queue("other", 7)], 3),
        ([queue("other", 7)], 0),
        # Statistics are off.
        ([{"name": "celery"}], None),
        ({"error": "not_authorized"}, None),
    ],
)
def test_the_management_api_tells_unacknowledged_messages(
    management: Dict[str, Any], said: Any, unacked: Optional[int]
) -> None:
    management["said"] = said
    connection = Connection(celery=(0, 1))
    connection.hostname = "127.0.0.1"
    assert rabbitmq.count(connection, {"celery", "links"}).unacked == unacked
    assert management["asked"] == [("/api/queues/shop%2Feu", "me:open sesame")]


def test_the_password_does_not_leave_an_encrypted_connection(management: Dict[str, Any]) -> None:
    connection = Connection(celery=(0, 1))
    connection.hostname, connection.ssl = "127.0.0.1", True
    assert rabbitmq.count(connection, {"celery"}).unacked is None
    assert management["asked"] == []


def test_a_user_without_rights_is_told_nothing(management: Dict[str, Any]) -> None:
    management["code"] = 401
    connection = Connection(celery=(0, 1))
    connection.hostname = "127.0.0.1"
    assert rabbitmq.count(connection, {"celery"}).unacked is None


# --- what a task may hide behind ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "consuming", "holding", "why"),
    [
        (Counts(0, 0, 4), 4, 0, None),
        (Counts(0, None, 4), 4, 0, None),
        (Counts(0, None, 0), 0, 0, None),
        # Acknowledged early: their messages are gone.
        (Counts(0, 0, 4), 4, 2, None),
        (Counts(1, 0, 4), 4, 0, "1 message is in its queues"),
        (Counts(3, None, 0), 0, 0, "3 messages are in its queues"),
        (Counts(0, 2, 4), 4, 2, "2 messages are unacknowledged"),
        (Counts(0, None, 6), 4, 0, "a worker that does not answer"),
        (Counts(0, None, 4), 4, 2, "workers hold 2 tasks"),
        # Each of them is counted by the API, whoever holds it.
        (Counts(0, 0, 6), 4, 0, None),
    ],
)
def test_a_task_hides_behind_what_is_left(
    counts: Counts, consuming: int, holding: int, why: Optional[str]
) -> None:
    said = rabbitmq.hidden(counts, consuming, holding)
    assert (said is None) if why is None else (said is not None and why in said)


# --- tracing tasks -----------------------------------------------------------------------------


class FakeWorkers(messages.Workers):
    """Workers with these answers, at this RabbitMQ."""

    def __init__(self, connection: Connection, *told: Dict[str, Any]) -> None:
        conf = SimpleNamespace(task_default_queue="celery")
        app = SimpleNamespace(amqp=SimpleNamespace(queues={"links": None}), conf=conf)
        super().__init__(app, connection)
        self.told = told

    def answers(
        self, command: str, seconds: float, limit: Optional[int] = None
    ) -> List[Tuple[str, Any]]:
        nothing: Dict[str, Any] = {"active": [], "reserved": [], "scheduled": []}
        return [
            ("celery@%d" % said["stats"]["pid"], {**nothing, **said}[command]) for said in self.told
        ]


def worker(pid: int, *queues: str, **said: Any) -> Dict[str, Any]:
    return {"stats": {"pid": pid}, "active_queues": [{"name": name} for name in queues], **said}


def trace(workers: FakeWorkers, *ids: str, main: int = 0) -> Dict[str, Any]:
    return messages.trace_counted(workers, {"ids": list(ids), "mainPid": main, "localWorkers": []})


def test_with_empty_queues_a_task_that_no_worker_holds_is_nowhere() -> None:
    idle = FakeWorkers(Connection(celery=(0, 1), extra=(0, 1)), worker(7, "celery", "extra"))
    assert trace(idle, "a", main=7) == {
        "owed": [],
        "held": [],
        "begun": {},
        "holding": 0,
        "waiting": 0,
        "hidden": None,
    }


def test_a_task_in_a_worker_is_held() -> None:
    busy = FakeWorkers(
        Connection(celery=(0, 1)), worker(7, "celery", active=[{"id": "a"}, {"id": "b"}])
    )
    said = trace(busy, "a", main=7)
    assert (said["held"], said["holding"]) == (["a"], 2)
    assert "workers hold 2 tasks" in said["hidden"]


@pytest.mark.parametrize("name", ["celery", "links", "extra"])
def test_a_message_in_any_queue_of_the_app_or_a_worker_may_be_its_own(name: str) -> None:
    queues = {"celery": (0, 1), "extra": (0, 1), name: (1, 1 if name != "links" else 0)}
    said = trace(FakeWorkers(Connection(**queues), worker(7, "celery", "extra")), "a", main=7)
    assert said["waiting"] == 1
    assert "1 message is in its queues" in said["hidden"]


def test_a_worker_that_does_not_answer_may_hold_it() -> None:
    silent = FakeWorkers(Connection(celery=(0, 2)), worker(7, "celery"))
    hidden = trace(silent, "a", main=7)["hidden"]
    assert "a worker that does not answer consumes its queues" in hidden


def test_the_program_runs_alone() -> None:
    """As in the app's interpreter, where no other module of ours is."""
    text = app_process.text("messages")
    assert "def trace_counted" in text
    assert "MANAGEMENT_PORT" in text
    assert "MANAGEMENT_PORT" not in app_process.text("probe")
    compile(text, "messages.py", "exec")
