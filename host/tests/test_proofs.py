"""What each release has proven follows from the ledger, whatever happens to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celeriac_host.facts import releases
from celeriac_host.state import ledger, proofs, sampling
from celeriac_host.system.errors import Fault
from celeriac_host.transaction import control, lock
from conftest import fill
from cuts import cuts
from hosts import Host, make_state
from test_ledger import UNIT, plan_of

META = {"action": "verify", "holder": "run 9", "sha": "", "lockTimeoutSeconds": 0}
FIGURES = {"memoryBytes": 300.0, "restarts": 0, "latencySeconds": None}


def release(state: str, ident: str, confirmed: bool = True, unit: str = UNIT) -> None:
    ledger.record(state, ident, plan_of(unit))
    ledger.await_verdict(state, unit, ident, 900.0)
    if confirmed:
        ledger.judge(state, unit, [ident], "confirmed", "run 8", "verified")
        ledger.stop_awaiting(state, unit)


def undo(state: str, ident: str) -> None:
    ledger.judge(state, UNIT, [ident], "rolled-back", "anna", "requested")
    ledger.stop_awaiting(state, UNIT, ident)


def message(ident: str, verdict: str = "proven") -> dict[str, Any]:
    about = {"why": "24 h without a failure", "figures": FIGURES, "meta": META}
    return {"unit": UNIT, "transaction": ident, "verdict": verdict, **about}


def states(state: str) -> list[str]:
    return [each["state"] for each in proofs.of_unit(state, UNIT)]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(make_state(str(tmp_path)))


def test_a_release_awaits_its_verdict_is_unproven_then_proven(host: Host) -> None:
    assert proofs.current(host.state, UNIT) is None
    release(host.state, "t1", confirmed=False)
    assert states(host.state) == ["before", "awaiting"]
    assert control.prove(message("t1"), host) == {"recorded": False}
    ledger.judge(host.state, UNIT, ["t1"], "confirmed", "run 8", "verified")
    ledger.stop_awaiting(host.state, UNIT)
    assert states(host.state) == ["before", "unproven"]
    assert control.prove(message("t1"), host) == {"recorded": True}
    assert states(host.state) == ["before", "proven"]
    last = proofs.of_unit(host.state, UNIT)[-1]
    assert (last["by"], last["soakWhy"]) == ("run 9", "24 h without a failure")
    assert last["since"] >= last["judgedAt"]


def test_the_fact_tells_the_state_and_the_figures(host: Host) -> None:
    release(host.state, "t1")
    control.prove(message("t1"), host)
    told = releases.look({"unit": UNIT}, host)["releases"]
    assert [each["state"] for each in told] == ["before", "proven"]
    assert told[0]["figures"] is None
    assert told[1]["figures"] == FIGURES
    assert told[1]["verdict"] == "confirmed"


def test_what_a_soak_has_shown_is_final(host: Host) -> None:
    release(host.state, "t1")
    assert control.prove(message("t1", "failed"), host) == {"recorded": True}
    # Two runs at once: the second one hears whether it agrees.
    assert control.prove(message("t1", "failed"), host) == {"recorded": True}
    assert control.prove(message("t1"), host) == {"recorded": False}
    assert states(host.state) == ["before", "failed"]
    assert len(list(filter(lambda line: "soak" in line, ledger._lines(host.state)))) == 1


@pytest.mark.parametrize("verdict", ["proven", "failed"])
def test_a_verdict_ends_the_samples(host: Host, verdict: str) -> None:
    release(host.state, "t1")
    release(host.state, "o1", unit="other.service")
    for unit in (UNIT, "other.service"):
        sampling.want(host.state, unit, [])
    control.prove({**message("t1"), "transaction": "t0", "verdict": verdict}, host)
    assert sorted(sampling.wanted(host.state)) == ["other.service", UNIT]
    control.prove(message("t1", verdict), host)
    assert sampling.wanted(host.state) == ["other.service"]


def test_a_new_release_supersedes_one_that_is_not_proven(host: Host) -> None:
    release(host.state, "t1")
    release(host.state, "t2")
    assert states(host.state) == ["before", "superseded", "unproven"]
    _, first, second = proofs.of_unit(host.state, UNIT)
    assert (first["since"], first["by"]) == (second["at"], second["holder"])
    assert control.prove(message("t1"), host) == {"recorded": False}
    control.prove(message("t2"), host)
    release(host.state, "t3", confirmed=False)
    assert states(host.state) == ["before", "superseded", "proven", "awaiting"]


def test_after_a_roll_back_the_one_below_runs_again_and_begins_anew(host: Host) -> None:
    release(host.state, "t1")
    first = proofs.of_unit(host.state, UNIT)[1]["since"]
    release(host.state, "t2")
    undo(host.state, "t2")
    assert states(host.state) == ["before", "unproven", "undone"]
    again = proofs.of_unit(host.state, UNIT)
    assert again[1]["since"] == again[2]["since"] >= first
    control.prove(message("t1"), host)
    release(host.state, "t3")
    undo(host.state, "t3")
    # What was proven stays so.
    assert states(host.state) == ["before", "proven", "undone", "undone"]
    undo(host.state, "t1")
    assert proofs.current(host.state, UNIT) is None


def test_a_release_that_was_confirmed_with_the_newest_is_superseded(host: Host) -> None:
    release(host.state, "t1", confirmed=False)
    release(host.state, "t2", confirmed=False)
    ledger.judge(host.state, UNIT, ["t2", "t1"], "confirmed", "run 8", "verified")
    ledger.stop_awaiting(host.state, UNIT)
    assert states(host.state) == ["before", "superseded", "unproven"]


def test_units_have_their_own_states(host: Host) -> None:
    release(host.state, "t1")
    release(host.state, "t2", unit="other.service")
    control.prove(message("t1"), host)
    assert states(host.state)[-1] == "proven"
    assert proofs.of_unit(host.state, "other.service")[-1]["state"] == "unproven"


def test_an_interrupted_proof_is_recorded_or_not(tmp_path: Path) -> None:
    seen = set()
    for number, cut in enumerate(cuts(tmp_path), start=1):
        # A ledger of its own: one that grew with each round would take more lines than the last.
        host = Host(make_state(str(tmp_path / str(number))))
        release(host.state, "t1")
        sampling.want(host.state, UNIT, [])
        cut(lambda host=host: control.prove(message("t1"), host))
        state = states(host.state)[-1]
        assert state in ("unproven", "proven")
        seen.add((state, sampling.is_wanted(host.state, UNIT)))
        # The next run says the same, and ends what was left.
        assert control.prove(message("t1"), host) == {"recorded": True}
        assert states(host.state)[-1] == "proven"
        assert not sampling.is_wanted(host.state, UNIT)
    # Recorded first: evidence is only given up for a verdict.
    assert seen == {("unproven", True), ("proven", True), ("proven", False)}


def test_it_waits_for_the_lock(host: Host) -> None:
    release(host.state, "t1")
    with lock.take(host, META), pytest.raises(Fault):
        control.prove(message("t1"), host)
    assert states(host.state)[-1] == "unproven"


def test_a_full_disk_records_nothing(make_disk: Any) -> None:
    folder = make_disk(64)
    host = Host(str(folder))
    release(host.state, "t1")
    lock.take(host, META).__exit__(None, None, None)
    fill(folder)
    with pytest.raises((OSError, Fault)):
        control.prove({**message("t1"), "why": "x" * 9000}, host)
    assert states(host.state)[-1] == "unproven"


def test_a_proof_is_no_release_of_another_unit(host: Host) -> None:
    release(host.state, "t1")
    control.prove(message("t1"), host)
    release(host.state, "t2", unit="other.service")
    assert ledger.units_released_after(host.state, "t1") == {"other.service"}
    assert ledger.units_released_after(host.state, "t2") == set()
