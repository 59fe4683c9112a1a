"""Journal entries are durable, and an incomplete line does not prevent reading the rest."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from celeriac_host.state.journal import (
    RESERVE_BYTES,
    Journal,
    is_untold,
    mark_told,
    never_started,
    next_number,
    read_plan,
    remembered,
)
from celeriac_host.system import files
from conftest import fill
from cuts import cuts

US = (os.geteuid(), os.getegid())


def test_entries_are_read_in_order_with_their_times(journal: Journal) -> None:
    before = time.time() - 0.001
    journal.write("started", index=0)
    journal.write("done", index=0, message="ünit\n\u2028written", result={"a": [1, None]})
    started, done = journal.entries()
    assert started.pop("at") >= before
    assert started == {"event": "started", "index": 0}
    assert done["message"] == "ünit\n\u2028written"
    assert done["result"] == {"a": [1, None]}
    assert os.stat(journal.path).st_mode & 0o777 == 0o600


def test_without_a_journal_nothing_was_started(journal: Journal) -> None:
    assert journal.entries() == []
    assert journal.state() == "open"


@pytest.mark.parametrize(
    "torn",
    [b'{"event": "don', b"\0" * 40, b"\xff\xfe{]\n", b"[1, 2]\n", b'{"no": "event"}\n', b"\n\n"],
)
def test_an_incomplete_line_is_skipped_and_the_next_is_read(journal: Journal, torn: bytes) -> None:
    journal.write("started", index=0)
    with open(journal.path, "ab") as file:
        file.write(torn)
    journal.write("done", index=0)
    assert [entry["event"] for entry in journal.entries()] == ["started", "done"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["opened", "started"], "open"),
        (["opened", "done", ("ended", "committed")], "committed"),
        (["done", ("ended", "committed"), "undoing"], "open"),
        (["done", ("ended", "committed"), "undoing", ("ended", "undone")], "undone"),
        (["failed", "undoing", ("ended", "undo-failed"), "undoing"], "open"),
        (["undoing", ("ended", "undo-failed"), "undoing", ("ended", "undone")], "undone"),
    ],
)
def test_the_last_entry_determines_the_state(
    journal: Journal, events: list[Any], expected: str
) -> None:
    for event in events:
        if isinstance(event, tuple):
            journal.write(event[0], result=event[1])
        else:
            journal.write(event)
    assert journal.state() == expected


def test_the_last_undo_determines_who_and_why(journal: Journal) -> None:
    def undone() -> tuple[str, str]:
        found = journal.summary()
        return found["undoneBy"], found["undoneWhy"]

    assert undone() == ("", "")
    journal.write("undoing", by="the host itself", why="interrupted")
    journal.write("undoing", by="anna", why="requested")
    assert undone() == ("anna", "requested")


def test_kept_values_are_found_by_another_process(journal: Journal) -> None:
    journal.step(0).keep("file", {"path": "/a"})
    journal.step(1).keep("file", {"path": "/b"})
    journal.step(1).keep("file", {"path": "/c"})
    again = Journal(journal.folder)
    assert again.step(0).get("file") == {"path": "/a"}
    assert again.step(1).get("file") == {"path": "/c"}
    assert again.step(2).get("file", "nothing") == "nothing"


def test_an_interrupted_keep_kept_the_value_or_nothing(journal: Journal) -> None:
    seen = set()
    for cut in cuts(journal.folder):
        files.remove(journal.path)
        journal.write("opened")
        cut(lambda: journal.step(0).keep("file", "x" * 10_000))
        kept = journal.step(0).get("file")
        assert kept in (None, "x" * 10_000)
        seen.add(kept is None)
        journal.write("undoing")
        assert [entry["event"] for entry in journal.entries()][-1] == "undoing"
    assert seen == {True, False}


def test_a_line_that_did_not_fit_does_not_damage_the_next(
    journal: Journal,
) -> None:
    journal.write("opened")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(OSError):
            journal.step(0).keep("file", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # A part of the line is written.
    assert os.stat(journal.path).st_size == 200
    assert journal.step(0).get("file") is None
    journal.step(0).keep("file", "later")
    assert Journal(journal.folder).step(0).get("file") == "later"


def test_the_reserve_lets_an_undo_be_recorded_on_a_full_disk(
    make_disk: Callable[[int], Path],
) -> None:
    journal = Journal(str(make_disk(2 * RESERVE_BYTES // 1024)))
    journal.reserve()
    fill(Path(journal.folder))
    with pytest.raises(OSError):
        journal.step(0).keep("file", "x" * 9000)
    journal.drop_reserve()
    journal.drop_reserve()
    for index in range(20):
        journal.write("undone", index=index, message="x" * 9000)
    journal.write("ended", result="undone")
    assert journal.state() == "undone"
    assert sum(entry["event"] == "undone" for entry in journal.entries()) == 20


def test_a_reserve_that_does_not_fit_is_an_error(
    make_disk: Callable[[int], Path],
) -> None:
    with pytest.raises(OSError):
        Journal(str(make_disk(RESERVE_BYTES // 2048))).reserve()


def test_a_backup_is_exact_and_private(journal: Journal) -> None:
    content = bytes(range(256)) * 100
    path = journal.step(3).back_up(content)
    assert path == os.path.join(journal.folder, "backups", "3")
    with open(path, "rb") as file:
        assert file.read() == content
    assert os.stat(path).st_mode & 0o777 == 0o600


def _write_many(folder: str, who: int) -> None:
    for number in range(50):
        Journal(folder).write("note", who=who, number=number, text="x" * 3000)


def test_lines_of_two_writers_do_not_mix(journal: Journal) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(journal.folder, who)) for who in (1, 2)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert [each.exitcode for each in writers] == [0, 0]
    seen = [(entry["who"], entry["number"]) for entry in journal.entries()]
    assert sorted(seen) == [(who, number) for who in (1, 2) for number in range(50)]


# --- the transactions of a host ----------------------------------------------------------------


# As `control` names them; older, newer.
A, B = "20260101T000000-000a", "20260102T000000-000b"


def begin(
    state: str, ident: str, started_at: float, number: int | None = None, **meta: Any
) -> Journal:
    folder = os.path.join(state, "transactions", ident)
    os.makedirs(folder, exist_ok=True)
    plan = {"id": ident, "startedAt": started_at, "meta": meta, "operations": []}
    if number is not None:
        plan["number"] = number
    files.write(os.path.join(folder, "plan.json"), json.dumps(plan).encode(), 0o600, *US)
    return Journal(folder)


def test_transactions_are_listed_oldest_first_with_their_states(state: str) -> None:
    begin(state, B, 1.0, action="provision", holder="anna", sha="3f2c")
    late = begin(state, A, 20.0, action="deploy-worker", holder="ben", unit="w.service")
    late.write("ended", result="committed")
    late.write("undoing", by="cleo", why="requested")
    assert remembered(state) == [
        {
            "id": B,
            "action": "provision",
            "holder": "anna",
            "unit": None,
            "sha": "3f2c",
            "startedAt": 1.0,
            "state": "open",
            "number": 0,
            "undoneBy": "",
            "undoneWhy": "",
            "told": False,
        },
        {
            "id": A,
            "action": "deploy-worker",
            "holder": "ben",
            "unit": "w.service",
            "sha": "",
            "startedAt": 20.0,
            "state": "open",
            "number": 0,
            "undoneBy": "cleo",
            "undoneWhy": "requested",
            "told": False,
        },
    ]


def test_folders_without_a_plan_are_not_listed(state: str) -> None:
    root = Path(state, "transactions")
    begin(state, A, 1.0)
    (root / "notes.txt").touch()
    broken = [b'{"id": "half", "sta', b"[]", b"\xff\0"]
    names = [f"20260101T00000{number}-0001" for number in range(len(broken))]
    for name, text in zip(names, broken):
        (root / name).mkdir()
        (root / name / "plan.json").write_bytes(text)
    (root / "20260101T000009-0001").mkdir()
    assert [each["id"] for each in remembered(state)] == [A]
    assert read_plan(str(root / names[0])) is None
    # A damaged plan was begun: its backups may be needed.
    assert never_started(state) == ["20260101T000009-0001"]


@pytest.mark.parametrize(
    "name", [A + ".bak", "copy of " + A, "." + A, A + "~", A[:-1], "old", A + "\n"]
)
def test_only_names_that_celeriac_gives_are_transactions(state: str, name: str) -> None:
    begin(state, A, 1.0).write("ended", result="committed")
    # A copy that somebody made, still open: it must not be undone.
    begin(state, name, 0.0)
    assert [each["id"] for each in remembered(state)] == [A]
    assert never_started(state) == []
    (Path(state, "transactions") / name / "plan.json").unlink()
    assert never_started(state) == []


def test_the_order_is_the_hosts_own_whatever_its_clock_says(state: str) -> None:
    begin(state, A, 5.0)
    begin(state, B, 900.0, number=1)
    assert next_number(state) == 2
    # The clock was set back by years, and a version without numbers is older than any number.
    later = "20200101T000000-0001"
    begin(state, later, 1.0, number=2)
    assert [each["id"] for each in remembered(state)] == [A, B, later]
    assert next_number(state) == 3


def test_what_the_host_did_alone_is_untold_until_it_is_told(state: str) -> None:
    journal = begin(state, A, 1.0)
    by_hand = begin(state, B, 2.0)

    def untold() -> list[str]:
        return [each["id"] for each in remembered(state) if is_untold(each)]

    journal.write("ended", result="committed")
    journal.write("undoing", by="the host itself", why="not confirmed within 20 s")
    assert untold() == []
    journal.write("ended", result="undone")
    by_hand.write("undoing", by="anna", why="requested")
    by_hand.write("ended", result="undone")
    assert untold() == [A]
    mark_told(state, [A, "20200101T000000-0001", "../other"])
    assert untold() == []
    assert journal.state() == "undone"
    # Undone again by the host: that is another thing to tell.
    journal.write("undoing", by="the host itself", why="interrupted")
    journal.write("ended", result="undo-failed")
    assert untold() == [A]
    assert sorted(os.listdir(os.path.join(state, "transactions"))) == [A, B]


def test_without_a_state_folder_there_are_no_transactions(tmp_path: Path) -> None:
    assert remembered(str(tmp_path / "nowhere")) == []
