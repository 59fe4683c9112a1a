"""Requests are refused or recorded before anything is changed; the guard does what is due."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import pytest
from celeriac_host.facts import past, releases
from celeriac_host.state import guard_timer, ledger, lock_file
from celeriac_host.state.journal import (
    Journal,
    is_untold,
    remembered,
    transactions_folder,
)
from celeriac_host.system.errors import Fault, OperationError
from celeriac_host.system.system import Completed
from celeriac_host.transaction import control, guard, lock, program, runner, work
from conftest import fill
from cuts import cuts
from hosts import Answers, Host, make_state
from test_ledger import plan_of
from transactions import UNIT, World, begin, write

META = {"holder": "anna (run 8)", "action": "verify", "lockTimeoutSeconds": 0}
FIRST, SECOND = "20260101T000000-0001", "20260101T000001-0002"


def silent(told: Any) -> None:
    pass


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    "ask",
    [
        lambda host: control.apply([{"op": "dance"}], META, host, silent),
        lambda host: control.undo([FIRST], META, host, silent),
        lambda host: control.undo(["../../etc"], META, host, silent),
        lambda host: control.follow({"transactions": [FIRST], "live": FIRST}, host, silent),
        lambda host: control.follow({"transactions": [""], "live": ""}, host, silent),
    ],
)
def test_an_unknown_operation_is_refused_and_leaves_nothing(
    tmp_path: Path, ask: Callable[[Host], Any]
) -> None:
    host = Host(str(tmp_path / "state"))
    with pytest.raises(Fault):
        ask(host)
    assert os.listdir(tmp_path) == []


def test_an_undone_transaction_is_not_undone_again(host: Host, world: World) -> None:
    folder = begin(host.state, world.operations(), FIRST)
    runner.carry_out(folder, host, silent)
    runner.undo(folder, host, silent)
    with pytest.raises(Fault) as refused:
        control.undo([FIRST], META, host, silent)
    assert FIRST in refused.value.message
    assert not lock_file.is_held(host.state)


def test_a_transaction_with_later_changes_is_not_undone(host: Host, world: World) -> None:
    runner.carry_out(begin(host.state, world.operations(), FIRST), host, silent)
    world.changed.write_text("by hand\n")
    with pytest.raises(Fault) as refused:
        control.undo([FIRST], META, host, silent)
    assert refused.value.evidence == [str(world.changed)]
    assert ledger.current_rollback(host.state) is None
    assert not lock_file.is_held(host.state)


def test_nothing_is_undone_below_a_release_that_nobody_looked_at(host: Host, world: World) -> None:
    runner.carry_out(begin(host.state, world.operations(), FIRST), host, silent)
    # Otherwise it would be undone for real.
    world.changed.write_text("by hand\n")
    meta = {**META, "unit": UNIT}
    ledger.record(host.state, FIRST, plan_of(UNIT))
    with pytest.raises(Fault, match="changed since"):
        control.undo([FIRST], meta, host, silent, FIRST)
    ledger.record(host.state, SECOND, plan_of(UNIT))
    with pytest.raises(Fault, match="nothing was undone") as refused:
        control.undo([FIRST], meta, host, silent, FIRST)
    assert UNIT in refused.value.message
    ledger.judge(host.state, UNIT, [SECOND], "rolled-back", "anna", "requested")
    with pytest.raises(Fault, match="changed since"):
        control.undo([FIRST], meta, host, silent, FIRST)
    assert ledger.current_rollback(host.state) is None
    assert not lock_file.is_held(host.state)


def test_a_second_run_gets_an_error_and_changes_nothing(host: Host, world: World) -> None:
    ben = {"holder": "ben", "action": "cleanup"}
    with lock.take(host, ben), pytest.raises(Fault) as refused:
        control.apply(world.operations(), META, host, silent)
    assert "ben (cleanup" in refused.value.message
    assert world.is_as_before()
    assert os.listdir(transactions_folder(host.state)) == []


def test_without_an_interruption_there_is_nothing_to_recover(host: Host) -> None:
    with lock.take(host, {"holder": "ben", "action": "cleanup"}):
        assert control.recover(META, host, silent) == {"deeds": []}


# --- the state folder --------------------------------------------------------------------------


def test_the_state_folder_becomes_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "transactions").mkdir(parents=True, mode=0o755)
    control._make_state(str(state))
    control._make_state(str(state))
    for name in ("", "transactions", "backups"):
        assert stat.S_IMODE(os.stat(state / name).st_mode) == 0o700


@pytest.mark.parametrize("kind", ["a link", "a file", "somebody's"])
def test_an_invalid_state_folder_is_refused(root: None, tmp_path: Path, kind: str) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    other.mkdir()
    if kind == "a link":
        state.symlink_to(other)
    elif kind == "a file":
        state.touch()
    else:
        state.mkdir()
        os.chown(state, 65534, 65534)
    with pytest.raises(Fault) as refused:
        control._make_state(str(state))
    assert str(state) in refused.value.message
    assert os.listdir(other) == []


@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_without_a_journal_nothing_is_started(
    make_disk: Callable[[int], Path], world: World, kind: str
) -> None:
    disk = make_disk(2048)
    host = Host(str(disk / "state"))
    control._make_state(host.state)
    # Otherwise the guard of this machine would be disabled.
    ledger.await_verdict(host.state, "other.service", SECOND, 900.0)
    if kind == "full":
        fill(disk)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(Fault) as refused:
        control._begin(world.operations(), META, host)
    assert host.state in refused.value.message
    assert refused.value.next
    assert os.listdir(transactions_folder(host.state)) == []
    assert world.is_as_before()


# --- a guard that cannot be armed --------------------------------------------------------------

SYSTEMCTL = ("systemctl", "--no-pager", "--no-ask-password")


class TimerFails(Host):
    """systemd does not start the timer."""

    def run(self, argv: Sequence[str], *args: Any, **more: Any) -> Completed:
        done = super().run(argv, *args, **more)
        if tuple(argv[:4]) == (*SYSTEMCTL, "start"):
            raise OperationError("Job failed", argv, 1, ["no such timer"])
        return done


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of units, instead of this machine's own."""
    folder = tmp_path / "units"
    folder.mkdir()
    monkeypatch.setattr(guard_timer, "FOLDER", str(folder))
    return folder


def make_unarmable(kind: str, state: str, units: Path) -> Host:
    answers: Answers = {SYSTEMCTL: (0, "")}
    if kind == "the folder of the link is a file":
        (units / guard_timer.WANTS).touch()
    elif kind == "the timer is masked":
        (units / "celeriac-guard.timer").symlink_to("/dev/null")
    return (TimerFails if kind == "the timer does not start" else Host)(state, answers)


def look(folder: Path) -> Dict[str, str]:
    """Everything in it, except the lock and what is said of its holder."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("lock")
    }


UNARMABLE = [
    "the folder of the link is a file",
    "the timer is masked",
    "the timer does not start",
]


@pytest.mark.parametrize("kind", UNARMABLE)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_guard_that_cannot_be_armed_leaves_nothing_behind(
    state: str, units: Path, world: World, kind: str, earlier: bool
) -> None:
    host = make_unarmable(kind, state, units)
    if earlier:
        # Of another version; the guard was not needed any more.
        Path(program.path(state)).write_text("old program")
        (units / "celeriac-guard.service").write_text("old service")
    before = look(units), look(Path(state))
    with pytest.raises(Fault) as refused:
        control.apply(world.operations(), META, host, silent)
    assert "nothing was changed" in refused.value.message
    assert (look(units), look(Path(state))) == before
    assert world.is_as_before()
    assert not lock_file.is_held(state)


@pytest.mark.parametrize("kind", UNARMABLE)
def test_without_a_guard_nothing_is_undone_and_no_roll_back_stays(
    state: str, units: Path, world: World, kind: str
) -> None:
    host = make_unarmable(kind, state, units)
    runner.carry_out(begin(state, world.operations(), FIRST), host, silent)
    before = look(units), look(Path(state))
    with pytest.raises(Fault):
        control.undo([FIRST], META, host, silent)
    assert ledger.current_rollback(state) is None
    assert (look(units), look(Path(state))) == before
    assert world.look() == world.after


def test_a_guard_that_others_need_stays_though_it_could_not_be_armed_again(
    state: str, units: Path, world: World
) -> None:
    ledger.await_verdict(state, "other.service", SECOND, 900.0)
    host = make_unarmable("the timer does not start", state, units)
    with pytest.raises(Fault):
        control.apply(world.operations(), META, host, silent)
    assert guard_timer.is_armed()
    assert sorted(os.listdir(units)) == [
        "celeriac-guard.service",
        "celeriac-guard.timer",
        guard_timer.WANTS,
    ]
    assert os.path.exists(program.path(state))
    assert os.listdir(transactions_folder(state)) == []
    assert (*SYSTEMCTL, "stop") not in [tuple(argv[:4]) for argv in host.asked]


# --- verdicts ----------------------------------------------------------------------------------


@pytest.fixture
def released(host: Host, world: World) -> Host:
    """A release that awaits its verdict, and one of another unit, so that the guard stays."""
    about = {"confirmWithinSeconds": 900}
    runner.carry_out(begin(host.state, world.operations(), FIRST, release=about), host, silent)
    ledger.await_verdict(host.state, "other.service", SECOND, 900.0)
    return host


def verdicts(host: Host) -> List[str]:
    return [each["verdict"] for each in ledger.of_unit(host.state, UNIT)]


def test_what_its_gate_measured_is_kept_with_the_verdict(released: Host) -> None:
    measured = {"latencySeconds": 0.412}
    assert control.confirm(UNIT, [FIRST], META, released, measured) == {"confirmed": True}
    shown = releases.look({"unit": UNIT}, released)["releases"]
    assert [each["gateFigures"] for each in shown] == [None, measured]


def test_a_confirmed_release_stays(released: Host) -> None:
    assert control.confirm(UNIT, [FIRST], META, released) == {"confirmed": True}
    assert ledger.awaiting(released.state, UNIT) is None
    assert verdicts(released) == ["none", "confirmed"]
    # It cannot be confirmed twice.
    assert control.confirm(UNIT, [FIRST], META, released) == {"confirmed": False}
    assert guard.is_needed(released)
    assert released.asked == []


@pytest.mark.parametrize("idents", [[], [SECOND], [SECOND, FIRST]])
def test_only_verified_releases_are_confirmed(released: Host, idents: List[str]) -> None:
    assert control.confirm(UNIT, idents, META, released) == {"confirmed": False}
    assert verdicts(released) == ["none", "none"]


def make_due(host: Host, unit: str) -> None:
    waiting = ledger.awaiting(host.state, unit)
    assert waiting is not None
    ledger._write(ledger._awaiting_path(host.state, unit), {**waiting, "bootDeadline": 0.0})


def test_the_guard_rolls_back_what_is_not_confirmed_in_time(
    released: Host, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    work._guard(released)
    assert world.look() == world.after
    make_due(released, UNIT)
    work._guard(released)
    assert world.is_as_before()
    assert verdicts(released) == ["none", "rolled-back"]
    assert ledger.of_unit(released.state, UNIT)[-1]["judgedBy"] == "the host itself"
    # The other release is not due yet.
    assert ledger.awaiting(released.state, "other.service") is not None
    assert not lock_file.is_held(released.state)
    assert FIRST in capsys.readouterr().out


def test_a_roll_back_keeps_its_reason_through_a_power_cut(
    state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {"confirmWithinSeconds": 20}
    seen = set()
    for number, cut in enumerate(cuts(tmp_path)):
        host = Host(make_state(str(tmp_path / str(number))))
        world = World(tmp_path / str(number))
        runner.carry_out(begin(host.state, world.operations(), FIRST, release=about), host, silent)
        make_due(host, UNIT)
        cut(work._guard, host)
        seen.add(remembered(host.state)[0]["state"])
        # After the boot.
        work._guard(host)
        assert world.is_as_before()
        (known,) = remembered(host.state)
        assert (known["state"], known["undoneBy"]) == ("undone", "the host itself")
        assert known["undoneWhy"] == "not confirmed within 20 s"
        assert is_untold(known)
    assert seen == {"committed", "open", "undone"}


def test_the_host_tells_of_each_thing_that_it_did_alone(
    released: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    third = "20250101T000000-0003"
    make_due(released, UNIT)
    work._guard(released)
    # A clean-up came between, and a second rollback; the clock was set back before it.
    Journal(begin(released.state, [], SECOND, action="cleanup")).write("ended", result="committed")
    folder = begin(released.state, [], third, release={"confirmWithinSeconds": 900})
    runner.carry_out(folder, released, silent)
    ledger.await_verdict(released.state, UNIT, third, 900.0)
    make_due(released, UNIT)
    work._guard(released)
    assert [each["id"] for each in past.look({}, released)["untold"]] == [FIRST, third]
    # Any reader sees them until they are acknowledged, each one once.
    assert [each["id"] for each in past.look({}, released)["untold"]] == [FIRST, third]
    control.acknowledge([FIRST], released)
    assert [each["id"] for each in past.look({}, released)["untold"]] == [third]
    control.acknowledge([third], released)
    assert past.look({}, released)["untold"] == []


def test_what_a_run_must_know_of_the_past(released: Host) -> None:
    begin(released.state, [], SECOND, action="cleanup", unit=None)
    found = past.look({}, released)
    assert [(each["id"], each["unit"]) for each in found["open"]] == [(SECOND, None)]
    assert found["working"] is None
    units = [(each["unit"], each["withinSeconds"]) for each in found["awaiting"]]
    assert units == [("other.service", 900.0), (UNIT, 900)]
    with lock.take(released, {"holder": "ben", "action": "cleanup"}):
        assert past.look({}, released)["working"].startswith("ben (cleanup")


def test_the_guard_does_nothing_while_the_lock_is_held(released: Host, world: World) -> None:
    make_due(released, UNIT)
    with lock.take(released, {"holder": "ben", "action": "cleanup"}):
        work._guard(released)
    assert world.look() == world.after


def test_the_guard_undoes_interrupted_transactions(
    released: Host, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.folder / "later"
    folder = begin(released.state, [write(path, "x\n")], SECOND, action="cleanup", unit=None)
    runner.carry_out(folder, released, silent)
    journal = Path(folder, "journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    # As after a power failure before the end is recorded.
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    assert Journal(folder).state() == "open"
    work._guard(released)
    assert not path.exists()
    assert Journal(folder).state() == "undone"
    assert "run 7" in capsys.readouterr().out


def test_the_guard_is_enabled_while_it_is_needed(host: Host, world: World) -> None:
    assert not guard.is_needed(host)
    ledger.await_verdict(host.state, UNIT, FIRST, 900.0)
    assert guard.is_needed(host)
    ledger.stop_awaiting(host.state, UNIT)
    ledger.begin_rollback(host.state, {"transactions": [], "by": "", "why": ""})
    assert guard.is_needed(host)
    ledger.end_rollback(host.state)
    folder = begin(host.state, [], FIRST)
    assert guard.is_needed(host)
    Journal(folder).write("ended", result="committed")
    assert not guard.is_needed(host)


def test_an_overdue_release_names_how_long_it_waited() -> None:
    waiting: Dict[str, Any] = {"withinSeconds": 900}
    assert guard.overdue(waiting) == "not confirmed within 15 min"
    assert guard.overdue({"withinSeconds": 0.5}) == "not confirmed within 0.5 s"
