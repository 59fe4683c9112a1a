"""The ledger records every release and its verdict, and exactly what awaits one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from celeriac_host.state import ledger
from conftest import fill
from cuts import cuts

UNIT = "worker.service"


def plan_of(unit: str = UNIT, **more: Any) -> dict[str, Any]:
    meta = {"unit": unit, "holder": "run 7", "actor": "anna", "sha": "3f2c9e1", **more}
    operations = [
        {"op": "write-file", "title": "write the unit", "diff": "-a\n+b\n"},
        {"op": "start-unit"},
    ]
    return {"meta": meta, "operations": operations}


def tell(state: str, unit: str = UNIT) -> list[tuple[int, str | None, str]]:
    return [
        (each["release"], each["transaction"], each["verdict"])
        for each in ledger.of_unit(state, unit)
    ]


def test_the_first_release_adds_release_zero(state: str) -> None:
    ledger.record(state, "t1", plan_of())
    ledger.record(state, "t2", plan_of())
    assert tell(state) == [(0, None, "none"), (1, "t1", "none"), (2, "t2", "none")]
    last = ledger.of_unit(state, UNIT)[-1]
    assert (last["holder"], last["actor"], last["sha"]) == ("run 7", "anna", "3f2c9e1")
    assert last["what"] == ["write the unit", "start-unit"]
    assert last["diff"] == "-a\n+b\n"
    assert os.stat(os.path.join(state, "releases.jsonl")).st_mode & 0o777 == 0o600


def test_each_unit_has_its_own_numbers(state: str) -> None:
    ledger.record(state, "t1", plan_of())
    ledger.record(state, "t2", plan_of("other.service"))
    assert tell(state, "other.service") == [(0, None, "none"), (1, "t2", "none")]
    assert tell(state, "worker") == []


def test_the_last_verdict_counts_and_unknown_transactions_get_none(state: str) -> None:
    for ident in ("t1", "t2"):
        ledger.record(state, ident, plan_of())
    ledger.judge(state, UNIT, ["t2", "t1", "unknown"], "confirmed", "run 8", "verified")
    ledger.judge(state, UNIT, ["t2"], "rolled-back", "anna", "requested")
    ledger.judge(state, "other.service", ["t1"], "rolled-back", "anna", "no unit of that name")
    assert tell(state) == [(0, None, "none"), (1, "t1", "confirmed"), (2, "t2", "rolled-back")]
    last = ledger.of_unit(state, UNIT)[-1]
    assert (last["judgedBy"], last["why"]) == ("anna", "requested")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"latencySeconds": 0.4}, {"latencySeconds": 0.4}),
        ({"latencySeconds": "0.4", "a": 1}, {"a": 1}),
        ([1], None),
        (None, None),
    ],
)
def test_figures_of_a_gate_are_numbers_or_not_known(state: str, written: Any, read: Any) -> None:
    ledger.record(state, "t1", plan_of())
    ledger.judge(state, UNIT, ["t1"], "confirmed", "run", "", written)
    found = ledger.of_unit(state, UNIT)[1]
    assert (found["verdict"], found.get("gateFigures")) == ("confirmed", read)
    # Without figures the line is what earlier versions write; with them it has all that they read.
    line = json.loads(Path(state, "releases.jsonl").read_text().splitlines()[-1])
    assert {"unit", "release", "at", "verdict", "by", "why"} == set(line) - {"gateFigures"}
    assert ("gateFigures" in line) == (written is not None)


def test_a_huge_diff_is_truncated(state: str) -> None:
    plan = plan_of()
    plan["operations"][0]["diff"] = "x" * 100_000
    ledger.record(state, "t1", plan)
    assert len(ledger.of_unit(state, UNIT)[-1]["diff"]) == ledger.DIFF_LIMIT


@pytest.mark.parametrize("torn", [b'{"unit": "worker', b"\0\0\0", b"\xff\xff\n", b'{"a": 1}\n7\n'])
def test_an_incomplete_line_does_not_hide_others(state: str, torn: bytes) -> None:
    ledger.record(state, "t1", plan_of())
    with open(os.path.join(state, "releases.jsonl"), "ab") as file:
        file.write(torn)
    ledger.record(state, "t2", plan_of())
    assert tell(state) == [(0, None, "none"), (1, "t1", "none"), (2, "t2", "none")]


def test_an_interrupted_record_can_be_repeated(state: str) -> None:
    seen = set()
    path = os.path.join(state, "releases.jsonl")
    for cut in cuts(state):
        if os.path.exists(path):
            os.unlink(path)
        ledger.record(state, "t1", plan_of())
        cut(lambda: ledger.record(state, "t2", plan_of()))
        now = tell(state)
        assert now[:2] == [(0, None, "none"), (1, "t1", "none")]
        assert now[2:] in ([], [(2, "t2", "none")])
        seen.add(len(now))
        ledger.record(state, "t3", plan_of())
        assert tell(state)[: len(now)] == now
        assert tell(state)[-1] == (len(now), "t3", "none")
    assert seen == {2, 3}


def test_a_full_disk_is_an_error_and_existing_lines_stay(
    make_disk: Callable[[int], Path],
) -> None:
    state = str(make_disk(64))
    ledger.record(state, "t1", plan_of())
    ballast = fill(Path(state))
    with pytest.raises(OSError):
        ledger.record(state, "t2", plan_of(holder="x" * 8000))
    assert tell(state) == [(0, None, "none"), (1, "t1", "none")]
    ballast.unlink()
    ledger.record(state, "t3", plan_of())
    assert tell(state)[-1] == (2, "t3", "none")


def test_a_ledger_that_grows_too_large_keeps_the_newest_of_every_unit(state: str) -> None:
    ledger.record(state, "quiet", plan_of("quiet.service"))
    ledger.judge(state, "quiet.service", ["quiet"], "confirmed", "", "")
    line = {"unit": UNIT, "transaction": "t", "at": 1.0, "diff": "x" * 8000}
    with open(os.path.join(state, "releases.jsonl"), "a", encoding="ascii") as file:
        for number in range(600):
            file.write(json.dumps({**line, "release": number}) + "\n")
    ledger.record(state, "new", plan_of())
    assert tell(state)[-1] == (600, "new", "none")
    assert len(tell(state)) == ledger.KEEP_LINES
    # Otherwise its next release would be number 1 again, and a rollback would pick the wrong one.
    assert tell(state, "quiet.service") == [(0, None, "none"), (1, "quiet", "confirmed")]
    assert os.stat(os.path.join(state, "releases.jsonl")).st_mode & 0o777 == 0o600


# --- awaiting ----------------------------------------------------------------------------------


def waiting_for(state: str, unit: str = UNIT) -> list[str]:
    found = ledger.awaiting(state, unit)
    return [] if found is None else list(found["transactions"])


def test_earlier_unconfirmed_releases_are_rolled_back_with_the_newest(state: str) -> None:
    before = time.time()
    deadline = ledger.await_verdict(state, UNIT, "t1", 900.0)
    assert before + 900 <= deadline <= time.time() + 900
    ledger.await_verdict(state, UNIT, "t2", 60.0)
    assert waiting_for(state) == ["t2", "t1"]
    assert [each["unit"] for each in ledger.all_awaiting(state)] == [UNIT]


def test_one_or_all_can_stop_waiting_repeatedly(state: str) -> None:
    for ident in ("t1", "t2", "t3"):
        ledger.await_verdict(state, UNIT, ident, 900.0)
    ledger.await_verdict(state, "other.service", "t4", 900.0)
    for _ in range(2):
        ledger.stop_awaiting(state, UNIT, "t2")
        assert waiting_for(state) == ["t3", "t1"]
    for _ in range(2):
        ledger.stop_awaiting(state, UNIT)
        assert waiting_for(state) == []
    assert [each["unit"] for each in ledger.all_awaiting(state)] == ["other.service"]
    ledger.stop_awaiting(state, "other.service", "t4")
    assert ledger.all_awaiting(state) == []


def test_without_a_release_nothing_waits(state: str) -> None:
    assert ledger.awaiting(state, UNIT) is None
    assert ledger.all_awaiting(state) == []
    ledger.stop_awaiting(state, UNIT)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"unit": "work', b"\xff"])
def test_a_damaged_file_means_no_wait(state: str, content: bytes) -> None:
    ledger.await_verdict(state, "other.service", "t1", 900.0)
    Path(state, "awaiting", UNIT + ".json").write_bytes(content)
    assert ledger.awaiting(state, UNIT) is None
    assert [each["unit"] for each in ledger.all_awaiting(state)] == ["other.service"]


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda state: ledger.await_verdict(state, UNIT, "t3", 9.0), ["t3", "t2", "t1"]),
        (lambda state: ledger.stop_awaiting(state, UNIT, "t2"), ["t1"]),
        (lambda state: ledger.stop_awaiting(state, UNIT), []),
    ],
)
def test_an_interrupted_change_leaves_one_valid_file(
    state: str, change: Callable[[str], object], after: list[str]
) -> None:
    """A leftover file would make the guard roll back a release that was confirmed meanwhile."""
    before = ["t2", "t1"]
    seen = []
    for cut in cuts(state):
        ledger.stop_awaiting(state, UNIT)
        for ident in reversed(before):
            ledger.await_verdict(state, UNIT, ident, 900.0)
        cut(lambda: change(state))
        now = waiting_for(state)
        assert now in (before, after)
        seen.append(now)
        assert [each["transactions"] for each in ledger.all_awaiting(state)] == [now] * bool(now)
        ledger.stop_awaiting(state, UNIT)
        assert ledger.all_awaiting(state) == []
        assert os.listdir(os.path.join(state, "awaiting")) == []
    assert before in seen
    assert after in seen


def test_the_boot_clock_decides_until_a_reboot(state: str) -> None:
    ledger.await_verdict(state, UNIT, "t1", 900.0)
    waiting = ledger.awaiting(state, UNIT)
    assert waiting is not None
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert not ledger.is_due(waiting)
    # The clock is set forward, then back.
    assert not ledger.is_due({**waiting, "deadline": 0.0})
    assert ledger.is_due({**waiting, "deadline": time.time() + 900, "bootDeadline": uptime})
    # After a reboot, only that clock is left.
    another = {**waiting, "bootId": "another boot", "bootDeadline": uptime}
    assert not ledger.is_due(another)
    assert ledger.is_due({**another, "deadline": time.time()})


def test_a_rollback_is_in_progress_until_it_ends(state: str) -> None:
    rolling = {"transactions": ["t2", "t1"], "by": "anna", "why": "requested"}
    assert ledger.current_rollback(state) is None
    seen = []
    for cut in cuts(state):
        ledger.end_rollback(state)
        cut(lambda: ledger.begin_rollback(state, rolling))
        seen.append(ledger.current_rollback(state))
    assert None in seen
    assert rolling in seen
    assert all(each in (None, rolling) for each in seen)
    ledger.end_rollback(state)
    ledger.end_rollback(state)
    assert ledger.current_rollback(state) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"unit": None},
        {"unit": ["worker.service"]},
        {"release": True},
        {"release": "2"},
        {"at": "yesterday"},
        {"transaction": 7},
        {"verdict": "confirmed"},
        {"verdict": "confirmed", "by": "anna", "why": None},
        {"soak": "proven", "by": "anna", "why": ""},
    ],
)
def test_a_line_of_another_kind_stops_nothing(state: str, damage: dict[str, Any]) -> None:
    ledger.record(state, "t1", plan_of())
    line = {"unit": UNIT, "release": 2, "at": 1.0, "transaction": "t2", **damage}
    if "verdict" in damage or "soak" in damage:
        line["release"] = 1
    with open(os.path.join(state, "releases.jsonl"), "a") as file:
        file.write(json.dumps(line) + "\n")
    assert tell(state) == [(0, None, "none"), (1, "t1", "none")]
    assert ledger.units(state) == [UNIT]
    assert ledger.units_released_after(state, "t0") == set()
    ledger.judge(state, UNIT, ["t1"], "confirmed", "run 8", "verified")
    assert tell(state)[-1] == (1, "t1", "confirmed")


@pytest.mark.parametrize(
    "damage", [{"transactions": [1]}, {"deadline": "soon"}, {"bootId": 7}, {"bootDeadline": None}]
)
def test_a_wait_of_another_kind_stops_nothing(state: str, damage: dict[str, Any]) -> None:
    ledger.record(state, "t1", plan_of())
    ledger.await_verdict(state, UNIT, "t1", 60.0)
    path = os.path.join(state, "awaiting", f"{UNIT}.json")
    with open(path) as file:
        found = json.load(file)
    with open(path, "w") as file:
        json.dump({**found, **damage}, file)
    assert ledger.awaiting(state, UNIT) is None and ledger.all_awaiting(state) == []
    ledger.forget_settled(state)
    ledger.stop_awaiting(state, UNIT)
