"""The visibility timeout that an app tells, and what a plan expects of it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Dict

import pytest
from celeriac_host.app import app_process, visibility
from celeriac_host.app.programs.app_side import delivery
from celeriac_host.system.errors import OperationError

ASKED = {"atLeastSeconds": 900, "refuse": True, "why": "twice", "fix": "write it"}


class Redis:
    driver_type = "redis"

    class Channel:
        visibility_timeout = 3600


class Sqs:
    driver_type = "sqs"

    class Channel:
        default_visibility_timeout = 1800

        @property
        def visibility_timeout(self) -> int:
            return 0


class Amqp:
    driver_type = "amqp"

    class Channel:
        pass


class OldAmqp:
    """As in Kombu 4, which names no channel class."""

    driver_type = "amqp"


class App:
    """A Celery app, as far as it is asked."""

    def __init__(self, transport: Any, options: Any = None, **conf: Any) -> None:
        self.transport = transport
        self.transport_options = options
        self.conf: Dict[str, Any] = conf

    def connection_for_read(self) -> App:
        if isinstance(self.transport, Exception):
            raise self.transport
        return self

    def __enter__(self) -> App:
        return self

    def __exit__(self, *error: Any) -> None:
        self.closed = True


def of(transport: Any, options: Any = None, **conf: Any) -> Dict[str, Any]:
    return delivery(App(transport, options, **conf))


REDIS_BACKEND = {"result_backend": "redis://localhost/1"}


@pytest.mark.parametrize(
    ("app", "seconds", "where"),
    [
        (App(Redis()), 3600, "the default"),
        (App(Redis(), {"visibility_timeout": 600}), 600, "broker_transport_options"),
        (App(Redis(), {"visibility_timeout": "600"}), 600, "broker_transport_options"),
        (App(Redis(), {"visibility_timeout": 0}), 0, "broker_transport_options"),
        (App(Sqs()), 1800, "the default"),
        (
            App(
                Redis(),
                result_backend_transport_options={"visibility_timeout": 60},
                **REDIS_BACKEND,
            ),
            60,
            "result_backend_transport_options",
        ),
        (
            App(
                Redis(),
                {"visibility_timeout": 50},
                result_backend_transport_options={"visibility_timeout": 60},
                **REDIS_BACKEND,
            ),
            50,
            "broker_transport_options",
        ),
        (
            App(
                Redis(),
                result_backend_transport_options={"visibility_timeout": 60},
                result_backend="db+postgresql://localhost/x",
            ),
            3600,
            "the default",
        ),
        (App(Amqp(), {"visibility_timeout": 1}), None, ""),
        (App(OldAmqp()), None, ""),
    ],
)
def test_an_app_tells_its_timeout(app: App, seconds: float | None, where: str) -> None:
    found = delivery(app)
    assert (found["seconds"], found["where"], found["problem"]) == (seconds, where, None)
    assert app.closed


def test_what_cannot_be_told_is_a_problem_and_shows_no_password() -> None:
    broken = of(ValueError("no transport redis://app:hunter2@localhost"))
    assert broken["problem"] == "ValueError: no transport redis://app:**@localhost"
    assert "predefined" in of(Sqs(), {"predefined_queues": {"a": {}}})["problem"]
    assert "soon" in of(Redis(), {"visibility_timeout": "soon"})["problem"]


def test_the_program_tells_it_after_whatever_the_app_printed() -> None:
    side = app_process.source(app_process.SHARED)
    app = (
        "class T:\n driver_type = 'redis'\n class Channel:\n  visibility_timeout = 3600\n"
        "class App:\n transport = T()\n transport_options = {'visibility_timeout': 60}\n"
        " conf = {}\n"
        " connection_for_read = lambda self: self\n __enter__ = lambda self: self\n"
        " __exit__ = lambda self, *error: None\n"
        "app = App()\nprint('no end of line', end='')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", side + app + visibility.TELL], stdout=subprocess.PIPE, check=True
    )
    assert visibility.read(ran.stdout.decode())["seconds"] == 60


@pytest.mark.parametrize("out", ["", "celeriac: delivery {", "celeriac: delivery 7"])
def test_an_app_that_tells_nothing_is_unknown(out: str) -> None:
    sentence, result = visibility.compare(ASKED, visibility.read(out))
    assert "unknown" in sentence
    assert "problem" in result


def test_a_shorter_one_is_refused_with_what_to_write() -> None:
    seen = {"transport": "redis", "seconds": 600.0, "where": "broker_transport_options"}
    with pytest.raises(OperationError) as caught:
        visibility.compare(ASKED, seen)
    assert caught.value.message == (
        "its visibility timeout is 10 min (broker_transport_options), "
        "but longest-task is 15 min: twice"
    )
    assert caught.value.evidence == ["write it"]
    sentence, result = visibility.compare({**ASKED, "refuse": False}, seen)
    assert "10 min" in sentence
    assert result["accepted"]


@pytest.mark.parametrize("seconds", [900, 3600, None])
def test_a_longer_one_or_none_is_passed_in_silence(seconds: float | None) -> None:
    seen = {"transport": "redis", "seconds": seconds, "where": ""}
    assert visibility.compare(ASKED, {**seen, "problem": None}) == ("", seen)
