"""Databases of any kind are opened the same way; rows of older versions can be restored."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from app_database import AppDatabase
from celeriac_host.facts import stores as fact
from celeriac_host.operations import repair_jobs
from celeriac_host.state.journal import Journal
from celeriac_host.store import postgres, postgres_extract
from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import OperationError
from hosts import Host

PACKAGE = Path(__file__).parents[1]
URL = "postgresql://app@localhost/jobs"


@pytest.fixture
def database(tmp_path: Path) -> AppDatabase:
    return AppDatabase(tmp_path / "jobs.db")


def describe(host: Host, path: str, user: str = "root") -> Dict[str, Any]:
    found: List[Dict[str, Any]] = fact.look(
        {"unit": "", "user": user, "databases": [path], "statusColumns": ["Status"]}, host
    )
    return found[0]


def test_the_tables_of_a_file_have_their_keys_and_statuses(
    host: Host, database: AppDatabase
) -> None:
    database.execute("CREATE TABLE notes (id INTEGER, job TEXT REFERENCES jobs)")
    found = describe(host, str(database.path))
    assert found["kind"] == "sqlite"
    assert [table["name"] for table in found["tables"]] == ["jobs", "links", "notes"]
    jobs, links, notes = found["tables"]
    assert jobs["statuses"] == ["processing"]
    assert sorted(links["statuses"]) == ["completed", "processing"]
    assert links["foreignKeys"] == [{"column": "job_id", "table": "jobs", "to": "id"}]
    # A foreign key without a column refers to the primary key.
    assert notes["foreignKeys"] == [{"column": "job", "table": "jobs", "to": "id"}]
    assert "statuses" not in notes


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_reading_does_not_change_the_folder(host: Host, tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "resting"
    folder.mkdir()
    database = AppDatabase(folder / "jobs.db", mode)
    before = database.path.read_bytes()
    assert describe(host, str(database.path))["kind"] == "sqlite"
    assert database.path.read_bytes() == before
    assert os.listdir(folder) == ["jobs.db"]


def test_root_does_not_read_what_the_apps_user_cannot(
    root: None, host: Host, tmp_path: Path
) -> None:
    database = AppDatabase(tmp_path / "jobs.db")
    nobody = pwd.getpwnam("nobody")
    os.chown(database.path, nobody.pw_uid, nobody.pw_gid)
    os.chmod(tmp_path, 0o700)
    said = describe(host, str(database.path), "nobody")
    assert said["kind"] == "unreadable"
    assert "cannot be opened by nobody" in said["problem"]
    assert not os.path.exists(f"{database.path}-wal")


def test_a_lock_is_reported(host: Host, tmp_path: Path) -> None:
    database = AppDatabase(tmp_path / "jobs.db", "DELETE")
    with database.open_elsewhere() as holder:
        holder.execute("BEGIN EXCLUSIVE")
        problem = describe(host, str(database.path))["problem"]
    assert problem.startswith(f"{database.path} is still locked by another process")


def test_a_missing_sqlite3_module_is_reported() -> None:
    program = (
        "import sys; sys.modules['sqlite3'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import json\n"
        "from celeriac_host.facts import stores\n"
        "from celeriac_host.system.system import System\n"
        "args = {'unit': '', 'user': 'root', 'databases': ['/jobs.db']}\n"
        "print(json.dumps(stores.look(args, System('/nowhere'))))"
    )
    argv = [sys.executable, "-I", "-c", program, str(PACKAGE)]
    (found,) = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)
    assert found["kind"] == "unreadable"
    assert "no sqlite3 module" in found["problem"]


def test_a_postgresql_database_is_neither_copied_whole_nor_replaced(host: Host) -> None:
    store = open_store(URL, host, "worker.service")
    with pytest.raises(OperationError) as refused, store.copied(None, None):
        pass
    assert URL in refused.value.message
    with pytest.raises(OperationError):
        store.replace("/backup.db", 1.0)


def test_an_extract_of_postgresql_reads_the_columns_of_the_plan_and_no_others(host: Host) -> None:
    table = {
        "table": "jobs",
        "id": "key",
        "status": "state",
        "parent": None,
        "own": None,
        "columns": ["key", "colour"],
        "statuses": ["done", 1, "1"],
        "unknown": ["RUNNING"],
        "orphanedBy": [],
        "ids": [],
        "beginnings": ["abc"],
        "bystanders": [],
    }
    extract = {"unit": "worker.service", "tables": [table], "counts": "c", "mostUnknown": 7}
    session = postgres.Session(host, "worker.service", URL)
    script = postgres_extract.Extract(session, extract, 1).script()
    assert 'json_build_array(0, json_build_array(t."key", t."colour"))' in script
    suspects = script[script.index("s0 AS") : script.index("u0 AS")]
    assert suspects.count("UNION") == 2
    assert """t."state"::text = ('["RUNNING"]'::jsonb ->> 0) LIMIT 7)""" in suspects
    counts = script[script.rindex("UNION ALL") :]
    assert 'to_jsonb(t."state") AS s, count(*) AS n FROM "jobs" t GROUP BY 1' in counts
    assert "json_build_array(1, " in counts
    assert """left(t."key"::text, 3) = ('["abc"]'::jsonb ->> 0)""" in suspects
    assert """IN (('["done"]'::jsonb ->> 0), ('["1"]'::jsonb ->> 0))""" in suspects


# As the first versions wrote it: without `key`, which was always `id`.
OLD_ROWS = [
    {
        "table": "links",
        "id": 1,
        "group": "one",
        "change": {"kind": "update", "set": {"status": "failed"}},
        "old": {"id": 1, "job_id": "one", "status": "processing", "celery_task_id": None},
    },
    {
        "table": "jobs",
        "id": "one",
        "group": "one",
        "change": {"kind": "delete"},
        "reset": True,
        "old": {
            "id": "one",
            "status": "processing",
            "celery_task_id": "task-one",
            "error_message": None,
            "started_at": "2026-01-18 11:02:03",
            "data": {"blob": "AP8="},
            "number": 1.5,
        },
    },
    {
        "table": "jobs",
        "id": "two",
        "group": "two",
        "change": {"kind": "update", "set": {"status": "failed"}},
        "old": {"id": "two", "status": "pending"},
    },
]


def test_rows_that_an_older_version_kept_are_restored(
    host: Host, journal: Journal, database: AppDatabase
) -> None:
    before = database.look()
    database.execute("UPDATE links SET status = 'failed' WHERE id = 1")
    with database.open() as opened:
        opened.execute("DELETE FROM jobs WHERE id = 'one'")
    step = journal.step(0)
    step.keep("rows", OLD_ROWS)
    step.keep("left", ["two"])
    # It named no user either.
    host.answers["systemctl", "show"] = (0, "LoadState=loaded\nUser=root\n")
    old = {"database": str(database.path), "unit": "worker.service"}
    said = repair_jobs.undo(old, host, step)
    assert said == f"2 rows of {database.path} restored"
    assert database.look() == before
