"""What runs told, so that the next one need not."""

from __future__ import annotations

import os

from celeriac_host.facts import past
from celeriac_host.state import notices
from celeriac_host.transaction import control
from hosts import Host


def test_the_last_run_about_a_thing_counts(state: str) -> None:
    host = Host(state)
    assert past.look({}, host)["notices"] == {}
    control.acknowledge([], host, {"about": "deploy of a.service", "messages": ["one", "two"]})
    control.acknowledge([], host, {"about": "deploy of b.service", "messages": ["one"]})
    control.acknowledge([], host, {"about": "deploy of a.service", "messages": ["two"]})
    told = {"deploy of b.service": ["one"], "deploy of a.service": ["two"]}
    assert past.look({}, host)["notices"] == told
    control.acknowledge([], host, {"about": "deploy of a.service", "messages": []})
    assert past.look({}, host)["notices"] == {"deploy of b.service": ["one"]}
    # Without any, as of a run that had nothing to tell.
    control.acknowledge([], host)
    assert past.look({}, host)["notices"] == {"deploy of b.service": ["one"]}


def test_it_is_bounded_and_survives_damage(state: str) -> None:
    for number in range(notices.KEEP + 20):
        notices.remember(state, f"run {number}", ["x" * 3000] * (notices.EACH + 1))
    found = notices.told(state)
    assert len(found) <= notices.KEEP
    assert list(found)[-1] == f"run {notices.KEEP + 19}"
    assert {len(each) for each in found.values()} == {notices.EACH}
    path = os.path.join(state, notices.NOTICES)
    assert os.path.getsize(path) <= notices.LIMIT_BYTES
    for damaged in ("", "{", '["a"]', '{"a": [1]}'):
        with open(path, "w", encoding="ascii") as file:
            file.write(damaged)
        assert notices.told(state) == {}
    notices.remember(state, "run", ["one"])
    assert notices.told(state) == {"run": ["one"]}


def test_where_it_cannot_be_written_it_is_told_again(tmp_path: object) -> None:
    path = os.path.join(str(tmp_path), "file")
    with open(path, "w", encoding="ascii"):
        pass
    notices.remember(os.path.join(path, "state"), "run", ["one"])
    assert notices.told(os.path.join(path, "state")) == {}
