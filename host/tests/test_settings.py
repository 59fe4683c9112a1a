"""What the present release proved of its unit."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from celeriac_host.facts import settings
from celeriac_host.state import ledger
from celeriac_host.state.journal import transactions_folder
from hosts import Host, make_state

UNIT = "shop.service"


@pytest.fixture
def host(tmp_path: Any) -> Host:
    return Host(make_state(str(tmp_path)))


def release(host: Host, ident: str, *values: str, unit: str = UNIT) -> None:
    """One whose plan proves the unit once for each value."""
    proofs = [
        {"op": "prove-unit", "unit": unit, "properties": {"MemoryMax": value}} for value in values
    ]
    operations = [{"op": "start-unit", "unit": UNIT}, *proofs]
    plan = {"id": ident, "meta": {"unit": UNIT}, "operations": operations}
    folder = os.path.join(transactions_folder(host.state), ident)
    os.makedirs(folder)
    with open(os.path.join(folder, "plan.json"), "w", encoding="ascii") as file:
        json.dump(plan, file)
    ledger.record(host.state, ident, plan)


def look(host: Host) -> Any:
    return settings.look({"unit": UNIT}, host)


def test_those_of_the_newest_release_that_stayed(host: Host) -> None:
    assert look(host) is None
    release(host, "one", "1")
    release(host, "two", "2", "3")
    assert look(host) == {"transaction": "two", "properties": {"MemoryMax": "3"}}
    ledger.judge(host.state, UNIT, ["two"], "rolled-back", "x", "y")
    assert look(host) == {"transaction": "one", "properties": {"MemoryMax": "1"}}
    ledger.judge(host.state, UNIT, ["one"], "confirmed", "x", "y")
    assert look(host)["transaction"] == "one"


def test_a_release_that_proved_nothing_leaves_those_before_it(host: Host) -> None:
    release(host, "one", "1")
    release(host, "two")
    release(host, "three", "9", unit="other.service")
    assert look(host)["transaction"] == "one"


def test_a_release_whose_plan_is_gone_leaves_none(host: Host) -> None:
    release(host, "one", "1")
    release(host, "two", "2")
    os.unlink(os.path.join(transactions_folder(host.state), "two", "plan.json"))
    assert look(host) is None
