"""What a process of the app may say: one report, known fields and ids, limits for all of it."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from celeriac_host.app import app_process, listener, reports
from celeriac_host.operations import send_tasks
from celeriac_host.state.journal import Journal
from celeriac_host.system.following import Ended
from hosts import Host

TRACE = {"kind": "trace", "ids": ["a", "b"]}
FOUND = {"owed": ["a"], "held": [], "holding": 3, "waiting": 1, "hidden": None}
JOB = {"id": "1", "where": "celery", "state": "done", "detail": "", "seconds": 0.5}
JOBS = {"ok": True, "jobs": [JOB], "problem": None}


def say(monkeypatch: pytest.MonkeyPatch, messages: List[Dict[str, Any]]) -> None:
    """The program says this, whatever it is asked."""

    def run(host: Any, name: str, request: Any, take: Any, *_: Any, **__: Any) -> Ended:
        for message in messages:
            take(message)
        return Ended(0, "")

    monkeypatch.setattr(app_process, "run", run)


def test_unknown_fields_do_not_pass() -> None:
    said = {**FOUND, "transaction": "x", "problem": None}
    assert reports.checked("messages", TRACE, said) == FOUND


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"owed": ["c"]}, "nobody asked for"),
        ({"owed": [["a"]]}, "nobody asked for"),
        ({"held": "a"}, "instead of a list"),
        ({"holding": True}, "instead of a number"),
        ({"holding": -1}, "out of range"),
        ({"holding": float("nan")}, "out of range"),
        ({"waiting": 10**400}, "out of range"),
        ({"hidden": {}}, "instead of a text"),
        ({"begun": {"c": 1.5}}, "nobody asked for"),
        ({"begun": [1.5]}, "instead of numbers"),
        ({"begun": {"a": "1.5"}}, "instead of a number"),
    ],
)
def test_what_the_program_never_reports_is_a_problem(
    host: Host, monkeypatch: pytest.MonkeyPatch, change: Dict[str, Any], said: str
) -> None:
    say(monkeypatch, [{"report": {**FOUND, **change}}])
    found = listener.run(host, "messages", TRACE, 1)
    assert set(found) == {"problem", "evidence"}
    assert said in found["problem"] and "sent an invalid report" in found["problem"]


def test_calls_of_a_probe_have_no_ids_yet() -> None:
    asked = {"kind": "task", "task": "shop.tasks.probe", "calls": [{"args": [1]}]}
    said = {**JOBS, "delivery": {"transport": "redis", "where": "", "seconds": 1, "problem": None}}
    assert reports.checked("probe", asked, said) == said


def test_the_begin_of_tasks_passes() -> None:
    said = {**FOUND, "begun": {"a": 1795860000.25}}
    assert reports.checked("messages", TRACE, said) == said


@pytest.mark.parametrize("missing", sorted(FOUND))
def test_a_report_is_complete(missing: str) -> None:
    with pytest.raises(reports.Invalid):
        reports.checked("messages", TRACE, {k: v for k, v in FOUND.items() if k != missing})


def test_the_first_report_counts_and_nothing_after_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: List[Any] = []
    more = {**FOUND, "owed": ["b"]}
    say(monkeypatch, [{"x": 1}, {"report": FOUND}, {"report": more}, {"x": 2}])
    assert listener.run(host, "messages", TRACE, 1, heard.append)["owed"] == ["a"]
    assert heard == [{"x": 1}]


def test_messages_are_limited_in_number(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: List[Any] = []
    monkeypatch.setattr(listener, "MOST_MESSAGES", 5)
    say(monkeypatch, [*({"note": str(number)} for number in range(50)), {"report": FOUND}])
    assert listener.run(host, "messages", TRACE, 1, heard.append) == FOUND
    assert len(heard) == 5


def test_texts_are_one_printable_line_of_limited_length() -> None:
    job = {**JOB, "detail": "\x1b]52;c;x\x07" + "y" * 100_000, "more": "z"}
    (found,) = reports.checked("probe", {"kind": "canary"}, {**JOBS, "jobs": [job]})["jobs"]
    assert set(found) == set(JOB) and len(found["detail"]) == reports.LONGEST_TEXT
    assert found["detail"].isprintable()
    said = reports.checked(
        "broker", {"kind": "cancel"}, {"problem": "a\nb", "evidence": ["\x1b"] * 99}
    )
    assert said == {"problem": "a b", "evidence": [" "] * reports.MOST_EVIDENCE}


@pytest.mark.parametrize("state", ["", "DONE", None])
def test_a_job_in_an_unknown_state_is_none(state: Any) -> None:
    with pytest.raises(reports.Invalid):
        reports.checked("probe", {"kind": "task"}, {**JOBS, "jobs": [{**JOB, "state": state}]})


def test_ids_of_tasks_that_are_not_to_be_sent_are_not_written_down(
    host: Host, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"id": "a", "task": "t"}
    flood = [{word: f"x{number}"} for number in range(500) for word in ("send", "sent")]
    mine = [{"send": "a"}, {"sent": "a"}] * 500
    odd: List[Dict[str, Any]] = [{"send": ["a"]}, {"sent": {}}, {"send": None}]
    say(monkeypatch, [*flood, *odd, *mine, {"report": {"sent": ["a"]}}])
    args = {"unit": "w.service", "interpreter": [], "app": "app", "pythonPath": []}
    assert send_tasks._send(args, [call], host, journal.step(0)) == ["a"]
    kept = [entry["name"] for entry in journal.entries() if entry["event"] == "kept"]
    assert kept == ["sending:a", "sent:a"]
