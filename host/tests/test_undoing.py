"""What an undo will do is told from the journal: only what was done, the last first."""

from __future__ import annotations

import os

import pytest
from celeriac_host.facts import transactions, undoing
from celeriac_host.operations import guard_unit
from celeriac_host.state.journal import Journal
from celeriac_host.system.errors import OperationError
from hosts import Answers, Host
from transactions import begin

FIRST, SECOND = "20260101T000000-0001", "20260101T000001-0002"


def test_a_transaction_is_told_with_its_unit(host: Host) -> None:
    begin(host.state, [], FIRST, unit="one.service")
    begin(host.state, [], SECOND, unit=None)
    found = [(each["id"], each["unit"]) for each in transactions.look({}, host)]
    assert found == [(FIRST, "one.service"), (SECOND, None)]
    only = transactions.look({"unit": "one.service"}, host)
    assert [each["id"] for each in only] == [FIRST]


def test_only_done_steps_are_told_in_the_order_of_the_undo(host: Host) -> None:
    operations = [
        {"op": "guard-unit", "title": "record how it runs", "unit": "one.service"},
        {"op": "install-unit", "title": "install it", "diff": "-a\n+b", "path": "/etc/x"},
        {"op": "enable-unit", "title": "enable it"},
        {"op": "start-unit", "title": "start it"},
    ]
    for ident in (FIRST, SECOND):
        journal = Journal(begin(host.state, operations, ident))
        for index in (0, 1, 3):
            journal.write("done", index=index)
        journal.write("already", index=2)
    found = undoing.look({"transactions": [SECOND, FIRST, "../x", "20200101T000000-0009"]}, host)
    assert [each["id"] for each in found] == [SECOND, FIRST]
    titles = [each["title"] for each in found[0]["steps"]]
    assert titles == ["start it", "install it", "record how it runs"]
    assert [each["unit"] for each in found[0]["steps"]] == [None, None, "one.service"]
    assert found[0]["steps"][1] == {
        "op": "install-unit",
        "unit": None,
        "path": "/etc/x",
        "title": "install it",
        "diff": "-a\n+b",
        "cut": False,
        "rows": [],
        "rowCount": 0,
    }


def test_an_answer_fits_in_a_line(host: Host) -> None:
    rows = [
        {
            "table": "jobs",
            "id": number,
            "seen": {"status": "x" * 5000},
            "change": {"kind": "update", "set": {"status": "pending"}},
        }
        for number in range(1000)
    ]
    other = {"table": "links", "id": 1, "seen": {}, "change": {"kind": "delete"}}
    repair = {"op": "repair-jobs", "title": "repair", "rows": [other, *rows]}
    long = {"op": "write-file", "title": "long", "diff": "x" * 100_000}
    short = {"op": "write-file", "title": "short", "diff": "x" * 16_000}
    for number in range(8):
        folder = begin(host.state, [repair, long, *[short] * 20], f"20260101T00000{number}-0001")
        for index in range(22):
            Journal(folder).write("done", index=index)
    idents = os.listdir(os.path.join(host.state, "transactions"))
    found = undoing.look({"transactions": sorted(idents)}, host)
    assert len(str(found)) < 900_000
    steps = found[0]["steps"]
    assert steps[0]["diff"] == short["diff"] and not steps[0]["cut"]
    assert steps[-2]["diff"] == "" and steps[-2]["cut"]
    assert steps[-1]["rows"][0] == "links 1: written again"
    # However few of them fit, all are counted.
    repairs = [each["steps"][-1] for each in found]
    assert [each["rowCount"] for each in repairs] == [1001] * 8
    assert len(repairs[0]["rows"]) == 200
    assert repairs[-1]["rows"] == []


@pytest.mark.parametrize("healthy", [0, 0.5])
def test_a_worker_that_is_started_again_and_crashes_does_not_serve(
    host: Host, healthy: float
) -> None:
    """E.g. by code that no undo changes: `source: none`, and a file edited by hand."""
    shown = "ActiveState=active\nSubState=running\nUnitFileState=enabled\nMainPID=%d\n"
    shown += "InvocationID=%d\nNeedDaemonReload=no\nNRestarts=%d\nWorkingDirectory=\nUser=\n"
    looks = 0

    class Looping(Host):
        def run(self, argv, *args, **more):  # type: ignore[no-untyped-def]
            nonlocal looks
            if list(argv[:2]) == ["systemctl", "show"]:
                looks += 1
                # It crashes after systemd called it active.
                turn = max(looks - 3, 0)
                self.answers[("systemctl", "show")] = (0, shown % (0, 7 + turn, turn))
            return super().run(argv, *args, **more)

    answers: Answers = {("systemctl", "show"): (0, ""), ("systemctl",): (0, "")}
    looping = Looping(host.state, {**answers, ("journalctl",): (0, "")})
    looping.cancelled["worker.service"] = "9"
    journal = Journal(begin(host.state, [], FIRST)).step(0)
    was = {"ActiveState": "active", "InvocationID": "1", "NeedDaemonReload": "no", "children": 0}
    journal.keep("was", was)
    args = {"unit": "worker.service", "minHealthySeconds": healthy}
    if healthy:
        with pytest.raises(OperationError) as failed:
            guard_unit.undo(args, looping, journal)
        assert "does not serve: it was started again, and did not keep" in failed.value.message
    else:
        # An older plan does not say how long.
        assert "serves again" in (guard_unit.undo(args, looping, journal) or "")
