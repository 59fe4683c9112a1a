"""All of the operations or none: real files, with answers of systemd from a table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, List

import pytest
from celeriac_host.state import ledger
from celeriac_host.state.journal import (
    HOST_ITSELF,
    RESERVE,
    RESERVE_BYTES,
    Journal,
    mark_told,
    remembered,
    transactions_folder,
)
from celeriac_host.system.errors import Fault, GoingDown
from celeriac_host.transaction import runner, work
from conftest import fill
from cuts import cuts
from hosts import Host, make_state
from transactions import UNIT, Operation, World, begin, write


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def broken(world: World) -> Operation:
    """An operation that fails: the plan saw another text."""
    return write(world.folder / "changed", "x", "never seen")


def test_all_steps_are_done_and_reported(host: Host, world: World) -> None:
    folder = begin(host.state, world.operations())
    told: List[Any] = []
    outcome = runner.carry_out(folder, host, told.append)
    assert outcome["result"] == "committed"
    assert [step["status"] for step in outcome["steps"]] == ["done"] * 3
    assert world.look() == world.after
    kinds = [each["kind"] for each in told]
    assert kinds == ["step-started", "step-ended"] * 3
    assert told[0]["title"] == "write changed"
    recalled = runner.recall(folder, host)
    assert recalled["result"] == "committed"
    assert [step["message"] for step in recalled["steps"]] == [
        step["message"] for step in outcome["steps"]
    ]


def test_a_step_without_a_change_is_not_undone(host: Host, world: World) -> None:
    world.changed.write_text("new changed\n")
    world.changed.chmod(0o644)
    folder = begin(host.state, [write(world.changed, "new changed\n", "old changed\n")])
    outcome = runner.carry_out(folder, host, lambda each: None)
    assert [step["status"] for step in outcome["steps"]] == ["already"]
    undone = runner.undo(folder, host, lambda each: None)
    assert undone["result"] == "undone"
    assert world.changed.read_text() == "new changed\n"


def test_the_jobs_that_an_older_version_settled_stay_as_they_are(host: Host, world: World) -> None:
    folder = begin(host.state, world.operations())
    runner.carry_out(folder, host, lambda each: None)
    # The plan of a release of that version, in which the operation is the second.
    plan = json.loads((Path(folder) / "plan.json").read_text())
    plan["operations"].insert(1, {"op": "settle-jobs", "title": "fail abandoned jobs"})
    (Path(folder) / "plan.json").write_text(json.dumps(plan))
    journal = Journal(folder)
    for event in ("started", "done"):
        journal.write(event, index=3, message="1 job left processing, failed", result=None)
    undone = runner.undo(folder, host, lambda each: None)
    assert undone["result"] == "undone"
    assert undone["steps"][1]["message"] == (
        "the jobs that it settled stay as they are: their worker was gone"
    )


def test_a_failure_undoes_all_earlier_steps(host: Host, world: World) -> None:
    never = write(world.folder / "never", "x")
    folder = begin(host.state, [*world.operations(), broken(world), never])
    outcome = runner.carry_out(folder, host, lambda each: None)
    assert outcome["result"] == "undone"
    statuses = [step["status"] for step in outcome["steps"]]
    assert statuses == ["undone", "undone", "undone", "failed", "skipped"]
    assert outcome["failure"]["index"] == 3
    assert str(world.changed) in outcome["failure"]["message"]
    assert world.is_as_before()
    assert Journal(folder).state() == "undone"
    recalled = runner.recall(folder, host)
    assert [step["status"] for step in recalled["steps"]] == statuses
    assert recalled["failure"] == outcome["failure"]


def test_a_failed_undo_is_reported_and_the_others_run(host: Host, world: World) -> None:
    folder = begin(host.state, [*world.operations(), broken(world)])

    def meddle(told: Any) -> None:
        if told["kind"] == "step-ended" and told["step"]["index"] == 1:
            world.new.write_text("theirs\n")

    outcome = runner.carry_out(folder, host, meddle)
    assert outcome["result"] == "undo-failed"
    statuses = [step["status"] for step in outcome["steps"]]
    assert statuses == ["undone", "not-undone", "undone", "failed"]
    assert world.look() == {**world.before, "made/new": "theirs\n"}
    # After the cause is fixed, it succeeds.
    world.new.write_text("new\n")
    again = runner.undo(folder, host, lambda each: None, "anna", "requested")
    assert again["result"] == "undone"
    assert world.is_as_before()
    known = remembered(host.state)[0]
    assert (known["state"], known["undoneBy"]) == ("undone", "anna")


def test_a_failed_listener_does_not_stop_it(host: Host, world: World) -> None:
    def fail(told: Any) -> None:
        raise BrokenPipeError

    folder = begin(host.state, world.operations())
    assert runner.carry_out(folder, host, fail)["result"] == "committed"


def test_a_signal_undoes_it_and_does_not_interrupt_the_undo(host: Host, world: World) -> None:
    def go(told: Any) -> None:
        host.runner_gone = told["kind"] == "step-ended" or host.runner_gone

    folder = begin(host.state, world.operations())
    outcome = runner.carry_out(folder, host, go)
    assert outcome["result"] == "undone"
    assert [step["status"] for step in outcome["steps"]] == ["undone", "failed", "skipped"]
    assert world.is_as_before()


def test_a_host_that_shuts_down_is_not_changed_until_the_boot(host: Host, world: World) -> None:
    host.answers[("systemctl", "is-system-running")] = (1, "stopping\n")
    folder = begin(host.state, [*world.operations(), broken(world)])
    with pytest.raises(GoingDown):
        runner.carry_out(folder, host, lambda each: None)
    assert world.look() == world.after
    assert Journal(folder).state() == "open"
    # After the boot.
    host.answers[("systemctl", "is-system-running")] = (0, "running\n")
    deeds = work.tend(host, lambda each: None)
    assert [deed["result"] for deed in deeds] == ["undone"]
    assert world.is_as_before()
    assert work.tend(host, lambda each: None) == []


# --- interruptions -----------------------------------------------------------------------------


def silent(told: Any) -> None:
    pass


def test_an_interruption_anywhere_is_undone_by_the_next_process(tmp_path: Path) -> None:
    results = set()
    for number, cut in enumerate(cuts(tmp_path)):
        folder = tmp_path / str(number)
        world = World(folder)
        host = Host(make_state(str(folder)))
        begun = begin(host.state, world.operations(), release={"confirmWithinSeconds": 900})
        cut(runner.carry_out, begun, host, silent)
        state = Journal(begun).state()
        results.add(state)
        deeds = work.tend(host, silent)
        if state == "committed":
            assert deeds == []
            assert world.look() == world.after
            waiting = ledger.awaiting(host.state, UNIT)
            assert waiting is not None
            assert waiting["transactions"] == [os.path.basename(begun)]
        else:
            assert [deed["result"] for deed in deeds] == ["undone"]
            assert world.is_as_before()
            # It does not await a verdict, and the ledger does not list it as a current release.
            assert ledger.all_awaiting(host.state) == []
            verdicts = [each["verdict"] for each in ledger.of_unit(host.state, UNIT)]
            assert "none" not in verdicts[1:]
        assert work.tend(host, silent) == []
    assert results == {"open", "committed"}


def test_an_interrupted_undo_is_finished_by_the_next(tmp_path: Path) -> None:
    for number, cut in enumerate(cuts(tmp_path)):
        folder = tmp_path / str(number)
        world = World(folder)
        host = Host(make_state(str(folder)))
        begun = begin(host.state, world.operations(), release={"confirmWithinSeconds": 900})
        runner.carry_out(begun, host, silent)
        rolling = {"transactions": [os.path.basename(begun)], "by": "anna", "why": "asked"}
        ledger.begin_rollback(host.state, rolling)
        cut(work.tend, host, silent)
        work.tend(host, silent)
        assert world.is_as_before()
        assert ledger.current_rollback(host.state) is None
        assert ledger.all_awaiting(host.state) == []
        assert Journal(begun).state() == "undone"
        last = ledger.of_unit(host.state, UNIT)[-1]
        assert (last["verdict"], last["judgedBy"], last["why"]) == ("rolled-back", "anna", "asked")


def test_a_rollback_of_several_starts_with_the_newest(host: Host, world: World) -> None:
    texts = ["old changed\n", "one\n", "two\n", "three\n"]
    idents = [f"20260101T00000{number}-0001" for number in range(3)]
    for ident, before, after in zip(idents, texts, texts[1:]):
        begun = begin(host.state, [write(world.changed, after, before)], ident, release={})
        assert runner.carry_out(begun, host, silent)["result"] == "committed"
    newest_first = idents[:0:-1]
    ledger.begin_rollback(
        host.state, {"transactions": [*newest_first, "gone"], "by": "anna", "why": "asked"}
    )
    deeds = work.tend(host, silent)
    assert [deed["transaction"] for deed in deeds] == newest_first
    assert world.changed.read_text() == "one\n"
    verdicts = [each["verdict"] for each in ledger.of_unit(host.state, UNIT)]
    assert verdicts == ["none", "confirmed", "rolled-back", "rolled-back"]


# --- releases ----------------------------------------------------------------------------------


def test_a_transaction_without_a_change_is_not_a_release(host: Host, world: World) -> None:
    world.changed.chmod(0o644)
    same = write(world.changed, "old changed\n", "old changed\n")
    folder = begin(host.state, [same], release={"confirmWithinSeconds": 900})
    assert not {"confirmBy", "release"} & set(runner.carry_out(folder, host, silent))
    assert ledger.of_unit(host.state, UNIT) == []
    assert ledger.all_awaiting(host.state) == []


def test_an_unconfirmed_release_has_a_deadline(host: Host, world: World) -> None:
    folder = begin(host.state, world.operations(), release={"confirmWithinSeconds": 900})
    outcome = runner.carry_out(folder, host, silent)
    waiting = ledger.awaiting(host.state, UNIT)
    assert waiting is not None
    assert outcome["confirmBy"] == waiting["deadline"]
    assert outcome["release"] == runner.recall(folder, host)["release"] == 1
    assert runner.recall(folder, host)["confirmBy"] == waiting["deadline"]


def test_a_release_without_confirmation_confirms_those_that_it_stands_on(
    host: Host, world: World
) -> None:
    first = write(world.changed, "one\n", "old changed\n")
    folder = begin(host.state, [first], "20260101T000000-0001", release={"confirmWithinSeconds": 1})
    runner.carry_out(folder, host, silent)
    assert ledger.awaiting(host.state, UNIT) is not None
    second = write(world.changed, "two\n", "one\n")
    runner.carry_out(begin(host.state, [second], "20260101T000001-0001", release={}), host, silent)
    # Otherwise the host would undo the first beneath the second.
    assert ledger.all_awaiting(host.state) == []
    verdicts = [each["verdict"] for each in ledger.of_unit(host.state, UNIT)]
    assert verdicts == ["none", "confirmed", "confirmed"]


def test_the_reserve_allows_the_commit_on_a_full_disk(
    make_disk: Callable[[int], Path], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = make_disk(3 * RESERVE_BYTES // 1024)
    host = Host(make_state(str(disk)))
    folder = begin(host.state, world.operations(), release={"confirmWithinSeconds": 900})
    Journal(folder).reserve()
    await_verdict = ledger.await_verdict

    def await_on_a_full_disk(state: str, unit: str, ident: str, within: float) -> float:
        if not (disk / "ballast").exists():
            fill(disk)
        return await_verdict(state, unit, ident, within)

    monkeypatch.setattr(ledger, "await_verdict", await_on_a_full_disk)
    assert runner.carry_out(folder, host, silent)["result"] == "committed"
    assert [each["release"] for each in ledger.of_unit(host.state, UNIT)] == [0, 1]
    assert not os.path.exists(os.path.join(folder, RESERVE))


# --- who may undo ------------------------------------------------------------------------------


def test_a_transaction_with_later_changes_is_not_undone(host: Host, world: World) -> None:
    folder = begin(host.state, world.operations())
    runner.carry_out(folder, host, silent)
    runner.refuse_foreign_changes([folder], host)
    world.new.write_text("by hand\n")
    with pytest.raises(Fault) as refused:
        runner.refuse_foreign_changes([folder], host)
    assert refused.value.evidence == [str(world.new)]


def test_changes_of_a_later_transaction_are_not_foreign(host: Host, world: World) -> None:
    folders = []
    texts = ["old changed\n", "one\n", "two\n"]
    for number, (before, after) in enumerate(zip(texts, texts[1:])):
        ident = f"20260101T00000{number}-0001"
        folders.append(begin(host.state, [write(world.changed, after, before)], ident))
        runner.carry_out(folders[-1], host, silent)
    runner.refuse_foreign_changes(folders[::-1], host)
    with pytest.raises(Fault):
        runner.refuse_foreign_changes(folders[:1], host)


@pytest.mark.parametrize("verb", ["dance", "../agent", "os.path", "Write-File", "", None, 7])
def test_an_unknown_operation_is_refused(verb: Any) -> None:
    with pytest.raises(Fault):
        runner.module_of({"op": verb})


def test_a_folder_without_a_plan_is_refused(host: Host) -> None:
    folder = os.path.join(host.state, "transactions", "empty")
    os.makedirs(folder)
    with pytest.raises(Fault):
        runner.carry_out(folder, host, silent)


# --- pruning -----------------------------------------------------------------------------------


def test_the_newest_of_each_action_and_those_in_use_are_kept(host: Host) -> None:
    keep = runner.KEEP_TRANSACTIONS
    deploys = [f"20260101T0000{number:02}-000a" for number in range(keep + 3)]
    cleanups = [f"20260102T0000{number:02}-000b" for number in range(keep + 3)]
    for ident in deploys:
        Journal(begin(host.state, [], ident)).write("ended", result="committed")
    for ident in cleanups[1:]:
        folder = begin(host.state, [], ident, action="cleanup", unit=None)
        Journal(folder).write("ended", result="committed")
    begin(host.state, [], cleanups[0], action="cleanup", unit=None)
    ledger.await_verdict(host.state, UNIT, deploys[0], 900.0)
    never_began = Path(host.state, "transactions", "20260103T000000-000c")
    never_began.mkdir()
    theirs = Path(host.state, "transactions", "20260103T000000-000c.bak")
    theirs.mkdir()
    runner.prune(host.state)
    runner.prune(host.state)
    left = set(os.listdir(os.path.join(host.state, "transactions")))
    assert left == {deploys[0], *deploys[3:], cleanups[0], *cleanups[3:], theirs.name}


def test_what_no_run_has_reported_is_kept(host: Host) -> None:
    keep = runner.KEEP_TRANSACTIONS
    idents = [f"20260101T0000{number:02}-000a" for number in range(keep + 2)]
    for ident in idents:
        Journal(begin(host.state, [], ident)).write("ended", result="committed")
    alone = Journal(os.path.join(transactions_folder(host.state), idents[0]))
    alone.write("undoing", by=HOST_ITSELF, why="not confirmed within 20 s")
    alone.write("ended", result="undone")
    runner.prune(host.state)
    left = set(os.listdir(transactions_folder(host.state)))
    assert left == {idents[0], *idents[2:]}
    mark_told(host.state, [idents[0]])
    runner.prune(host.state)
    assert set(os.listdir(transactions_folder(host.state))) == set(idents[2:])
