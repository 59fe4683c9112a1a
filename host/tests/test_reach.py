"""Whether the app to be started reaches its broker, and what becomes of the deploy if not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from celeriac_host.app import reach
from celeriac_host.app.programs import app_side
from celeriac_host.system.errors import OperationError

ASKED = {"refuse": True, "why": "the running worker would be stopped", "fix": "start it"}


class Refused(Exception):
    """What a library raises if the broker refuses."""


class Connection:
    connection_errors = (Refused,)
    channel_errors = ()
    alt = ("a", "b", "c", "d")

    def __init__(self, error: BaseException | None = None, seconds: float = 0) -> None:
        self.error, self.seconds = error, seconds
        self.retries = 0

    def as_uri(self, include_password: bool, mask: str) -> str:
        return "redis://:**@db:6379/0"

    def ensure_connection(self, max_retries: int, **more: float) -> None:
        self.retries = max_retries
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error

    def release(self) -> None:
        raise RuntimeError("broken")


class App:
    def __init__(self, connection: Connection) -> None:
        self.connection_for_read = lambda: connection
        self.conf = {"broker_url": "redis://:hush@db:6379/0"}


def test_each_broker_of_a_list_is_tried() -> None:
    connection = Connection()
    assert app_side.reach(App(connection), 5) == {"reached": True}
    assert connection.retries == 4


@pytest.mark.parametrize("error", [Refused("no hush"), OSError("no hush")])
def test_a_broker_that_refuses_is_named_without_its_password(error: Exception) -> None:
    said = app_side.reach(App(Connection(error)), 5)["unreachable"]
    assert said == f"cannot reach the broker redis://:**@db:6379/0: {type(error).__name__}: no **"


def test_a_broker_that_does_not_answer_is_unreachable_after_the_limit() -> None:
    begun = time.monotonic()
    said = app_side.reach(App(Connection(seconds=30)), 0.2)
    assert said["unreachable"].endswith("no answer within 0.2 s")
    assert time.monotonic() - begun < 10


def test_a_fault_that_is_not_the_brokers_refuses_no_deploy() -> None:
    said = app_side.reach(App(Connection(KeyError("x"))), 5)
    assert said == {"problem": "KeyError: 'x'"}
    sentence, result = reach.compare(ASKED, said)
    assert "unknown" in sentence
    assert "problem" in result


def test_an_unreachable_broker_is_refused_or_reported() -> None:
    seen = reach.read("x\n" + reach.MARK + json.dumps({"unreachable": "cannot reach it."}))
    with pytest.raises(OperationError) as caught:
        reach.compare(ASKED, seen)
    assert caught.value.message == "cannot reach it: the running worker would be stopped"
    assert caught.value.evidence == ["start it"]
    assert caught.value.ran is None
    sentence, result = reach.compare({**ASKED, "refuse": False}, seen)
    assert sentence == caught.value.message
    assert result == {"accepted": True}


@pytest.mark.parametrize("said", ["", "{", "7", '{"unreachable": 7}', '{"reached": 1}'])
def test_what_the_app_prints_instead_is_unknown(said: Any) -> None:
    assert "problem" in reach.read(reach.MARK + said)


def test_a_broker_that_is_reached_adds_nothing() -> None:
    seen = reach.read(reach.MARK + '{"reached": true}')
    assert reach.compare(ASKED, seen) == ("", {})
