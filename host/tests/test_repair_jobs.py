"""Rows are changed in one transaction, if they are as the plan saw them, and restored exactly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from app_database import AppDatabase, Row, deleting, failing, update
from celeriac_host.operations import repair_jobs
from celeriac_host.state.journal import Journal, StepJournal
from celeriac_host.store import resets
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from cuts import line_cuts
from hosts import Host


@pytest.fixture
def database(tmp_path: Path) -> AppDatabase:
    return AppDatabase(tmp_path / "jobs.db")


def args_of(database: AppDatabase, rows: List[Row], busy: float = 5.0) -> Dict[str, Any]:
    whose = {"database": str(database.path), "unit": "", "user": "root"}
    return {**whose, "rows": rows, "busyTimeoutSeconds": busy}


class Step:
    """repair-jobs with these rows; each call as in a new process."""

    def __init__(
        self, host: Host, journal: Journal, database: AppDatabase, rows: List[Row], busy: float = 5
    ) -> None:
        self.host = host
        self.journal = journal
        self.args = args_of(database, rows, busy)

    def is_so(self) -> bool:
        return repair_jobs.check(self.args, self.host)

    def do(self) -> Dict[str, Any]:
        return repair_jobs.do(self.args, self.host, self.journal.step(0))[1]

    def undo(self) -> str | None:
        return repair_jobs.undo(self.args, self.host, self.journal.step(0))


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("rows", [failing(), deleting()], ids=["fail", "delete"])
def test_changes_are_detected_and_undone_twice(
    host: Host, journal: Journal, tmp_path: Path, mode: str, rows: List[Row]
) -> None:
    database = AppDatabase(tmp_path / "jobs.db", mode)
    before = database.look()
    step = Step(host, journal, database, rows)
    assert not step.is_so()
    result = step.do()
    assert (result["changed"], result["skipped"]) == (len(rows), [])
    assert database.statuses()["alive"] == "processing"
    assert database.look() != before
    assert step.is_so()
    for _ in range(2):
        step.undo()
        assert database.look() == before


@pytest.mark.parametrize("rows", [failing(), deleting()], ids=["fail", "delete"])
def test_an_interruption_changes_all_or_nothing_and_is_undone(
    host: Host, journal: Journal, tmp_path: Path, rows: List[Row]
) -> None:
    original = AppDatabase(tmp_path / "original.db", "DELETE")
    before = original.look()
    seen = set()
    for cut in line_cuts(step=7):
        files.remove(journal.path)
        shutil.copyfile(original.path, tmp_path / "jobs.db")
        database = original_at(tmp_path / "jobs.db")
        step = Step(host, journal, database, rows)
        # Its fork ends by itself: the parent is gone.
        cut(step.do)
        now = database.look()
        whole = step.is_so()
        assert whole or now == before
        seen.add(whole)
        for _ in range(2):
            step.undo()
            assert database.look() == before
    assert seen == {True, False}


def original_at(path: Path) -> AppDatabase:
    """A database that exists."""
    found = AppDatabase.__new__(AppDatabase)
    found.path = path
    return found


def test_an_interrupted_undo_is_finished_by_the_next(
    host: Host, journal: Journal, tmp_path: Path
) -> None:
    original = AppDatabase(tmp_path / "original.db", "DELETE")
    before = original.look()
    database = original_at(tmp_path / "jobs.db")
    rows = [{**row, "reset": f"{row['table']}:{row['id']}"} for row in failing()]
    for cut in line_cuts(step=11):
        files.remove(journal.path)
        shutil.copyfile(original.path, database.path)
        step = Step(host, journal, database, rows)
        step.do()
        cut(step.undo)
        step.undo()
        assert database.look() == before
        # The count may be off by one: it only decides when to give up.
        assert set(resets.read(host.state, str(database.path)).values()) <= {1}
        files.remove(str(Path(host.state, "resets.json")))


def test_resets_are_counted_and_undone_once(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    rows = [
        {**row, "reset": f"row {row['id']}"} if row["table"] == "jobs" else row for row in failing()
    ]
    step = Step(host, journal, database, rows)
    step.do()
    assert resets.read(host.state, str(database.path)) == {"row one": 1, "row two": 1}
    resets.count(host.state, str(database.path), ["row one"], 1)
    for _ in range(2):
        step.undo()
        assert resets.read(host.state, str(database.path)) == {"row one": 1}


class Meddling(StepJournal):
    """Writes after the rows are kept and before the database is locked."""

    def __init__(self, journal: Journal, meddle: Callable[[], object]) -> None:
        super().__init__(journal, 0)
        self.meddle = meddle

    def keep(self, name: str, value: Any) -> None:
        super().keep(name, value)
        if name == "rows":
            self.meddle()


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE links SET status = 'completed' WHERE id = 1", "'completed'"),
        ("UPDATE jobs SET status = 'completed' WHERE id = 'one'", "'completed'"),
        ("DELETE FROM links WHERE id = 1", "gone"),
        ("INSERT INTO links VALUES (99, 'one', 'pending', NULL)", "3 links"),
    ],
)
def test_a_changed_tree_is_skipped_also_by_undo(
    host: Host, journal: Journal, database: AppDatabase, sql: str, why: str, when: str
) -> None:
    step = Step(host, journal, database, failing())
    if when == "before":
        database.execute(sql)
        result = step.do()
    else:
        meddling = Meddling(journal, lambda: database.execute(sql))
        result = repair_jobs.do(step.args, host, meddling)[1]
    assert {row["group"] for row in result["skipped"]} == {"one"}
    assert why in " ".join(row["why"] for row in result["skipped"])
    assert result["changed"] == 2
    assert database.statuses()["two"] == "failed"
    step.undo()
    assert database.statuses()["two"] == "processing"
    # The app's own change stays.
    with database.open() as again:
        again.execute("BEGIN")
        again.execute(sql.replace("99", "98"))
        assert again.total_changes == (0 if sql.startswith("DELETE") else 1)
        again.execute("ROLLBACK")


def test_other_writes_do_not_matter(host: Host, journal: Journal, database: AppDatabase) -> None:
    sql = "UPDATE jobs SET status = 'completed' WHERE id = 'alive'"
    step = Step(host, journal, database, failing())
    meddling = Meddling(journal, lambda: database.execute(sql))
    result = repair_jobs.do(step.args, host, meddling)[1]
    assert (result["changed"], result["skipped"]) == (4, [])


def test_undo_skips_and_names_rows_that_changed_since(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    step = Step(host, journal, database, failing())
    step.do()
    database.execute("UPDATE jobs SET status = 'completed' WHERE id = 'one'")
    database.execute("DELETE FROM links WHERE id = 11")
    said = step.undo()
    assert said is not None
    assert "jobs one" in said
    assert "links 11" in said
    assert database.statuses() == {"alive": "processing", "one": "completed", "two": "processing"}


def test_every_kind_of_value_is_restored(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    database.execute(
        "UPDATE jobs SET error_message = CAST(x'80fe' AS TEXT), number = 1e300, data = NULL"
        " WHERE id = 'one'"
    )
    database.execute("UPDATE jobs SET data = zeroblob(70000), number = -7 WHERE id = 'two'")
    with database.open() as opened:
        opened.text_factory = bytes
        kinds = "SELECT *, typeof(data), typeof(number), typeof(error_message) FROM jobs"
        before = opened.execute(kinds).fetchall()
    step = Step(host, journal, database, deleting())
    step.do()
    assert list(database.statuses()) == ["alive"]
    step.undo()
    with database.open() as opened:
        opened.text_factory = bytes
        assert sorted(opened.execute(kinds).fetchall()) == sorted(before)


def test_a_lock_times_out_with_its_holder_and_nothing_is_changed(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    before = database.look()
    step = Step(host, journal, database, failing(), busy=0.1)
    with database.open_elsewhere() as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationError) as refused:
            step.do()
        holder.execute("ROLLBACK")
    assert "locked" in refused.value.message
    assert database.look() == before
    assert step.undo() is None
    assert step.do()["changed"] == 4


def test_a_constraint_violation_changes_nothing(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    before = database.look()
    gone = {**deleting()[2], "group": "other"}
    step = Step(host, journal, database, [*failing()[2:], gone])
    with pytest.raises(OperationError) as refused:
        step.do()
    assert "FOREIGN KEY" in refused.value.message
    assert database.look() == before
    assert step.undo() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"table": 'jobs"; DROP TABLE jobs; --'},
        {"table": "sqlite_master"},
        {"key": "id = id OR id"},
        {"seen": {'status" = 1 OR "id': "x"}},
        {"change": {"kind": "update", "set": {'x" = 1, "status': "x"}}},
    ],
)
def test_only_names_of_the_schema_reach_the_database(
    host: Host, journal: Journal, database: AppDatabase, wrong: Row
) -> None:
    before = database.look()
    row = {**update("jobs", "one", "g", "processing", status="failed"), **wrong}
    with pytest.raises(OperationError):
        Step(host, journal, database, [row]).do()
    assert database.look() == before


def test_a_hostile_id_matches_no_row(host: Host, journal: Journal, database: AppDatabase) -> None:
    row = update("jobs", "x' OR '1'='1", "g", "processing", status="failed")
    result = Step(host, journal, database, [row]).do()
    assert (result["changed"], result["skipped"][0]["why"]) == (0, "is gone")


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
def test_a_row_whose_deletion_cascades_is_skipped(
    host: Host, journal: Journal, database: AppDatabase, action: str
) -> None:
    database.execute(f"CREATE TABLE notes (job TEXT REFERENCES jobs ON DELETE {action})")
    database.execute("INSERT INTO notes VALUES ('one')")
    result = Step(host, journal, database, deleting()).do()
    assert {row["group"] for row in result["skipped"]} == {"one"}
    assert database.execute("SELECT job FROM notes") == [("one",)]
    assert list(database.statuses()) == ["alive", "one"]


def test_without_rows_nothing_is_touched(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    before = database.path.read_bytes()
    step = Step(host, journal, database, [])
    assert step.is_so()
    assert step.do()["changed"] == 0
    assert step.undo() is None
    assert database.path.read_bytes() == before


def test_a_full_disk_changes_nothing(
    host: Host, journal: Journal, make_disk: Callable[[int], Path]
) -> None:
    disk = make_disk(256)
    database = AppDatabase(disk / "jobs.db", "DELETE")
    before = database.look()
    rows = [update("jobs", "one", "one", "processing", error_message="x" * 500_000)]
    step = Step(host, journal, database, rows)
    with pytest.raises(OperationError):
        step.do()
    assert database.look() == before
    with database.open() as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert step.undo() is None


def told(**changes: Any) -> Dict[str, Any]:
    nothing = {"held": [], "owed": [], "holding": 0, "waiting": 0, "hidden": None}
    return {"kind": "told", **nothing, **changes}


@pytest.mark.parametrize(
    ("found", "alive"),
    [
        (told(), {}),
        (told(held=["a"], holding=1), {"one": "holds task a", "two": "names no task"}),
        (told(owed=["a"], waiting=1), {"one": "task a waits", "two": "names no task"}),
        (told(waiting=7), {"two": "of the 7 that wait"}),
        (told(holding=2), {"two": "of the 2 that workers hold"}),
        (
            told(waiting=2, hidden="2 messages, not whose"),
            {"one": "may still be queued: 2 messages", "two": "2 messages, not whose"},
        ),
        (told(held=["a"], hidden="?"), {"one": "holds task a", "two": "?"}),
    ],
)
def test_a_group_lives_by_its_task_or_where_it_names_none_by_any(
    found: Dict[str, Any], alive: Dict[str, str]
) -> None:
    awaited: List[Dict[str, Any]] = [
        {"group": "one", "task": "a"},
        {"group": "two", "task": None},
    ]
    said = repair_jobs.living(awaited, found)
    assert set(said) == set(alive)
    assert all(words in said[group] for group, words in alive.items())
