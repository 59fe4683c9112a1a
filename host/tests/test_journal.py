"""What the journal says was kept is on the disk, and what is torn in it stops nobody."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from celeriac_host.state.journal import RESERVE_BYTES, Journal, read_plan, remembered
from celeriac_host.system import files
from conftest import fill
from cuts import cuts

US = (os.geteuid(), os.getegid())


def test_entries_come_back_in_their_order_with_when_they_were_written(journal: Journal) -> None:
    before = time.time() - 0.001
    journal.write("started", index=0)
    journal.write("done", index=0, message="ünit\n\u2028written", result={"a": [1, None]})
    started, done = journal.entries()
    assert started.pop("at") >= before
    assert started == {"event": "started", "index": 0}
    assert done["message"] == "ünit\n\u2028written"
    assert done["result"] == {"a": [1, None]}
    assert os.stat(journal.path).st_mode & 0o777 == 0o600


def test_without_a_journal_nothing_was_begun(journal: Journal) -> None:
    assert journal.entries() == []
    assert journal.state() == "open"


@pytest.mark.parametrize(
    "torn",
    [b'{"event": "don', b"\0" * 40, b"\xff\xfe{]\n", b"[1, 2]\n", b'{"no": "event"}\n', b"\n\n"],
)
def test_a_torn_line_is_passed_over_and_the_next_stands_on_its_own(
    journal: Journal, torn: bytes
) -> None:
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
def test_the_state_is_told_by_the_last_that_was_ended_or_taken_up(
    journal: Journal, events: list[Any], expected: str
) -> None:
    for event in events:
        if isinstance(event, tuple):
            journal.write(event[0], result=event[1])
        else:
            journal.write(event)
    assert journal.state() == expected


def test_who_put_it_back_and_why_is_the_last_who_did(journal: Journal) -> None:
    assert journal.undoing() == {"undoneBy": "", "undoneWhy": ""}
    journal.write("undoing", by="the host itself", why="interrupted")
    journal.write("undoing", by="anna", why="requested")
    assert journal.undoing() == {"undoneBy": "anna", "undoneWhy": "requested"}


def test_what_a_step_keeps_is_found_by_the_same_step_of_another_process(journal: Journal) -> None:
    journal.step(0).keep("file", {"path": "/a"})
    journal.step(1).keep("file", {"path": "/b"})
    journal.step(1).keep("file", {"path": "/c"})
    again = Journal(journal.folder)
    assert again.step(0).get("file") == {"path": "/a"}
    assert again.step(1).get("file") == {"path": "/c"}
    assert again.step(2).get("file", "nothing") == "nothing"


def test_a_keep_that_is_cut_kept_the_value_or_nothing(journal: Journal) -> None:
    seen = set()
    for cut in cuts():
        files.remove(journal.path)
        journal.write("opened")
        cut(lambda: journal.step(0).keep("file", "x" * 10_000))
        kept = journal.step(0).get("file")
        assert kept in (None, "x" * 10_000)
        seen.add(kept is None)
        journal.write("undoing")
        assert [entry["event"] for entry in journal.entries()][-1] == "undoing"
    assert seen == {True, False}


def test_a_line_that_did_not_fit_is_an_error_and_does_not_spoil_the_next(
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
    # A part of it is there.
    assert os.stat(journal.path).st_size == 200
    assert journal.step(0).get("file") is None
    journal.step(0).keep("file", "later")
    assert Journal(journal.folder).step(0).get("file") == "later"


def test_what_was_held_back_lets_undoing_be_written_down_on_a_full_disk(
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


def test_nothing_is_promised_where_there_is_nothing_to_hold_back(
    make_disk: Callable[[int], Path],
) -> None:
    with pytest.raises(OSError):
        Journal(str(make_disk(RESERVE_BYTES // 2048))).reserve()


def test_a_backup_is_the_file_to_the_byte_and_closed_to_others(journal: Journal) -> None:
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


def begin(state: str, ident: str, started_at: float, **meta: Any) -> Journal:
    folder = os.path.join(state, "transactions", ident)
    os.makedirs(folder, exist_ok=True)
    plan = {"id": ident, "startedAt": started_at, "meta": meta, "operations": []}
    files.write(os.path.join(folder, "plan.json"), json.dumps(plan).encode(), 0o600, *US)
    return Journal(folder)


def test_transactions_are_remembered_oldest_first_with_what_became_of_them(state: str) -> None:
    begin(state, "b", 1.0, action="provision", holder="anna", sha="3f2c")
    late = begin(state, "a", 20.0, action="deploy-worker", holder="ben", unit="w.service")
    late.write("ended", result="committed")
    late.write("undoing", by="cleo", why="requested")
    assert remembered(state) == [
        {
            "id": "b",
            "action": "provision",
            "holder": "anna",
            "unit": None,
            "sha": "3f2c",
            "startedAt": 1.0,
            "state": "open",
            "undoneBy": "",
            "undoneWhy": "",
        },
        {
            "id": "a",
            "action": "deploy-worker",
            "holder": "ben",
            "unit": "w.service",
            "sha": "",
            "startedAt": 20.0,
            "state": "open",
            "undoneBy": "cleo",
            "undoneWhy": "requested",
        },
    ]


def test_what_was_never_begun_or_is_foreign_is_not_remembered(state: str) -> None:
    root = Path(state, "transactions")
    begin(state, "good", 1.0)
    (root / "empty").mkdir()
    (root / "notes.txt").touch()
    for name, text in (("half", b'{"id": "half", "sta'), ("list", b"[]"), ("noise", b"\xff\0")):
        (root / name).mkdir()
        (root / name / "plan.json").write_bytes(text)
    assert [each["id"] for each in remembered(state)] == ["good"]
    assert read_plan(str(root / "half")) is None


def test_a_host_without_a_state_folder_remembers_nothing(tmp_path: Path) -> None:
    assert remembered(str(tmp_path / "nowhere")) == []
