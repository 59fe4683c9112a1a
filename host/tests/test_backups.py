"""Backups of a job database: complete or absent, the last few kept, restored through SQLite."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, List

import pytest
from app_database import AppDatabase
from celeriac_host.facts import backup
from celeriac_host.operations import backup_database, restore_database
from celeriac_host.state.journal import Journal
from celeriac_host.store import backups as store_backups
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from conftest import fill
from cuts import line_cuts
from hosts import Host


@pytest.fixture
def database(tmp_path: Path) -> AppDatabase:
    return AppDatabase(tmp_path / "jobs.db")


def whose(database: AppDatabase) -> dict[str, Any]:
    return {"database": str(database.path), "unit": "", "user": "root"}


def back_up(host: Host, journal: Journal, database: AppDatabase, keep: int = 5) -> str:
    args = {**whose(database), "keep": keep}
    return str(backup_database.do(args, host, journal.step(0))[1]["path"])


def backups(host: Host) -> List[str]:
    folder = os.path.join(host.state, "backups")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def statuses(path: str) -> List[Any]:
    with closing(sqlite3.connect(path)) as opened:
        return opened.execute("SELECT id, status FROM jobs ORDER BY id").fetchall()


def test_a_backup_is_complete_private_and_survives_an_undo(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    path = back_up(host, journal, database)
    assert statuses(path) == database.execute("SELECT id, status FROM jobs ORDER BY id")
    about = os.stat(path)
    assert (about.st_mode & 0o777, about.st_uid) == (0o600, os.geteuid())
    for _ in range(2):
        assert backup_database.undo({}, host, journal.step(0)) is None
    assert backups(host) == [path]


def test_the_last_few_are_kept_and_other_files_are_not_touched(
    host: Host, journal: Journal, database: AppDatabase, tmp_path: Path
) -> None:
    by_hand = Path(host.state, "backups", "jobs-20200101T000000Z.db")
    by_hand.touch()
    (tmp_path / "other").mkdir()
    other = back_up(host, journal, AppDatabase(tmp_path / "other" / "jobs.db"))
    made = [back_up(host, journal, database, keep=2) for _ in range(4)]
    assert store_backups.listed(host.state, str(database.path)) == made[2:]
    assert backups(host) == sorted([str(by_hand), other, *made[2:]])
    # At least one is always kept.
    last = back_up(host, journal, database, keep=0)
    assert store_backups.listed(host.state, str(database.path)) == [last]


def test_an_interruption_leaves_a_complete_backup_or_none(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    seen = set()
    for cut in line_cuts(step=11):
        files.remove(journal.path)
        for path in backups(host):
            os.unlink(path)
        cut(back_up, host, journal, database)
        listed = store_backups.listed(host.state, str(database.path))
        assert [len(statuses(path)) for path in listed] == [3] * len(listed)
        backup_database.undo({}, host, journal.step(0))
        backup_database.undo({}, host, journal.step(0))
        # No incomplete backup either.
        assert backups(host) == listed
        seen.add(len(listed))
    assert seen == {0, 1}


def test_without_disk_space_older_backups_stay(
    journal: Journal, database: AppDatabase, make_disk: Callable[[int], Path]
) -> None:
    disk = make_disk(64)
    host = Host(str(disk))
    (disk / "backups").mkdir()
    with pytest.raises(OperationError) as refused:
        back_up(host, journal, database, keep=1)
    assert str(disk) in refused.value.message
    assert backups(host) == []


def test_a_copy_that_does_not_fit_is_removed(make_disk: Callable[[int], Path]) -> None:
    disk = make_disk(64)
    fill(disk).unlink()
    (disk / "ballast").write_bytes(b"x" * 52_000)
    target = disk / "backup.db"
    with pytest.raises(OSError):
        backup_database._write([b"x" * 10_000, b"x" * 10_000], str(target))
    assert os.listdir(disk) == ["ballast"]


# --- restore -----------------------------------------------------------------------------------


def restore(
    host: Host, journal: Journal, database: AppDatabase, backup: str = "latest", keep: int = 2
) -> Any:
    args = {**whose(database), "backup": backup, "keep": keep}
    return restore_database.do({**args, "busyTimeoutSeconds": 0.2}, host, journal.step(1))[1]


def undo(host: Host, journal: Journal, database: AppDatabase) -> Any:
    return restore_database.undo(whose(database), host, journal.step(1))


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_backup_is_restored_into_an_open_database_and_undone(
    host: Host, journal: Journal, tmp_path: Path, mode: str
) -> None:
    database = AppDatabase(tmp_path / "jobs.db", mode)
    before = database.look()
    backup = back_up(host, journal, database)
    with database.open_elsewhere() as app:
        database.execute("DELETE FROM links")
        database.execute("UPDATE jobs SET data = randomblob(100000)")
        after = database.look()
        assert restore(host, journal, database)["from"] == backup
        assert app.execute("SELECT count(*) FROM links") == [[6]]
        assert database.look() == before
        assert app.execute("PRAGMA integrity_check") == [["ok"]]
        for _ in range(2):
            undo(host, journal, database)
            assert database.look() == after


def test_the_oldest_can_be_restored_and_is_not_pruned_first(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    before = database.look()
    oldest = back_up(host, journal, database)
    database.execute("UPDATE jobs SET status = 'failed'")
    for _ in range(3):
        back_up(host, journal, database)
    said = restore(host, journal, database, oldest, keep=2)
    assert database.look() == before
    left = store_backups.listed(host.state, str(database.path))
    assert {oldest, said["before"]} == set(left)


def test_only_a_backup_of_the_same_database_is_restored(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    before = database.look()
    with pytest.raises(OperationError):
        restore(host, journal, database)
    backup = back_up(host, journal, database)
    other = os.path.join(host.state, "backups", "other.db")
    shutil.copy(backup, other)
    for wrong in (other, "/etc/passwd", os.path.basename(backup), f"{backup}/../../../x"):
        with pytest.raises(OperationError) as refused:
            restore(host, journal, database, wrong)
        assert backup in refused.value.message
    assert undo(host, journal, database) is None
    assert database.look() == before


def test_a_damaged_backup_changes_nothing(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    backup = back_up(host, journal, database)
    database.execute("UPDATE jobs SET status = 'failed'")
    before = database.look()
    content = bytearray(Path(backup).read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    Path(backup).write_bytes(content)
    with pytest.raises(OperationError):
        restore(host, journal, database, backup)
    assert database.look() == before
    # Undone in any case: it is unknown how far it came.
    undo(host, journal, database)
    assert database.look() == before


def test_a_locked_database_is_not_changed(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    back_up(host, journal, database)
    database.execute("UPDATE jobs SET status = 'failed'")
    before = database.look()
    with database.open_elsewhere() as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationError) as refused:
            restore(host, journal, database)
        holder.execute("ROLLBACK")
    assert "locked" in refused.value.message
    assert database.look() == before


def test_an_interrupted_restore_is_undone(host: Host, journal: Journal, tmp_path: Path) -> None:
    original = AppDatabase(tmp_path / "original.db", "DELETE")
    database = AppDatabase(tmp_path / "jobs.db", "DELETE")
    backup = back_up(host, journal, database)
    original.execute("UPDATE jobs SET status = 'failed'")
    before = original.look()
    for cut in line_cuts(step=23):
        files.remove(journal.path)
        for path in set(backups(host)) - {backup}:
            os.unlink(path)
        shutil.copyfile(original.path, database.path)
        cut(restore, host, journal, database, backup, 100)
        for _ in range(2):
            undo(host, journal, database)
            assert database.look() == before
        assert not [path for path in backups(host) if path.endswith(".part")]
    assert backup in backups(host)


def test_a_backup_is_compared_table_by_table(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    database.execute("CREATE TABLE orders (number TEXT, note TEXT)")
    database.execute("INSERT INTO orders VALUES ('a', NULL), ('b', 'x')")
    back_up(host, journal, database)
    asked = {**whose(database), "backup": "latest"}
    assert backup.look(asked, host)["differences"] == []
    (first, *_) = (row[0] for row in database.execute("SELECT id FROM jobs ORDER BY id"))
    database.execute(f"UPDATE jobs SET status = 'failed' WHERE id = '{first}'")
    database.execute("DELETE FROM orders WHERE number = 'b'")
    database.execute("INSERT INTO orders VALUES ('c', NULL)")
    database.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")
    database.execute("INSERT INTO later VALUES (1), (2)")
    assert backup.look(asked, host)["differences"] == [
        {"table": "jobs", "newer": 0, "changed": 1, "gone": 0},
        {"table": "later", "newer": 2, "changed": 0, "gone": 0},
        {"table": "orders", "newer": 1, "changed": 0, "gone": 1},
    ]


def test_a_second_restore_of_the_latest_does_not_bring_back_what_the_first_replaced(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    saved = back_up(host, journal, database)
    database.execute("UPDATE jobs SET status = 'broken'")
    args = {**whose(database), "backup": "latest", "keep": 5, "busyTimeoutSeconds": 5}
    for step in (1, 2):
        line, result = restore_database.do(args, host, journal.step(step))
        assert result["from"] == saved, line
        assert statuses(str(database.path)) == statuses(saved)
    assert len(backups(host)) == 3
