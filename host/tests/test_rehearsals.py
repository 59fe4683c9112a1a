"""Changes that are tried: of PostgreSQL what is sent, and what is made of the answers."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from celeriac_host.store import postgres, postgres_repair
from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import OperationError
from hosts import Host, make_state

URL = "postgresql://app@localhost/jobs"


class Server(postgres_repair.Place):
    """Answers a script with these values, and then fails if it is told to."""

    def __init__(self, host: Host, answers: List[Any], fails: str = "") -> None:
        super().__init__(postgres.Session(host, "worker.service", URL), 2.0)
        self.answers = answers
        self.fails = fails
        self.script = ""

    def ask(self, script: str) -> List[Any]:
        assert "FROM pg_constraint" in script
        return []

    def stream(self, script: str, take: Callable[[Any], object]) -> None:
        self.script = script
        for answer in self.answers:
            take(answer)
        if self.fails:
            raise OperationError(f"{URL}: {self.fails}")


@pytest.fixture
def host(tmp_path: Any) -> Host:
    return Host(make_state(str(tmp_path)))


def row(ident: int, change: Dict[str, Any]) -> Dict[str, Any]:
    group = f"jobs:{ident}"
    seen = {"status": "processing"}
    return {
        "table": "jobs",
        "key": "id",
        "id": ident,
        "group": group,
        "seen": seen,
        "change": change,
    }


ROWS = [
    row(1, {"kind": "keep"}),
    row(2, {"kind": "update", "set": {"status": "failed", "e": '{"a":1}'}, "json": ["e"]}),
    row(3, {"kind": "delete"}),
]
BEGUN = ["begun"]


def test_all_of_it_is_rolled_back_and_deferred_constraints_are_checked(host: Host) -> None:
    server = Server(host, [BEGUN, ["compared"], ["done", 1, 1], ["done", 2, 1]])
    assert postgres_repair.rehearse(server, ROWS) == {"problems": [], "skipped": []}
    lines = server.script.splitlines()
    assert lines[0] == "BEGIN;"
    assert lines[-2:] == ["SET CONSTRAINTS ALL IMMEDIATE;", "ROLLBACK;"]
    assert "COMMIT" not in server.script
    assert "SET LOCAL statement_timeout = '30s';" in lines
    assert sum(line.startswith("WITH u AS (UPDATE") for line in lines) == 1
    assert sum(line.startswith("WITH u AS (DELETE") for line in lines) == 1


def test_json_is_written_as_such_and_text_as_text(host: Host) -> None:
    server = Server(host, [BEGUN])
    postgres_repair.rehearse(server, ROWS)
    assert '"status": "failed", "e": {"a": 1}' in server.script


@pytest.mark.parametrize(
    "answers, problem",
    [
        ([BEGUN, ["compared"]], "jobs 2: value too long"),
        ([BEGUN, ["compared"], ["done", 1, 1]], "jobs 3: value too long"),
        ([BEGUN, ["compared"], ["done", 1, 1], ["done", 2, 1]], "value too long"),
        ([BEGUN], "value too long"),
    ],
)
def test_a_problem_names_the_row_that_the_database_rejects(
    host: Host, answers: List[Any], problem: str
) -> None:
    server = Server(host, answers, "value too long")
    assert postgres_repair.rehearse(server, ROWS)["problems"] == [problem]


def test_a_change_that_the_database_ignores_is_a_problem(host: Host) -> None:
    server = Server(host, [BEGUN, ["compared"], ["done", 1, 0], ["done", 2, 1]])
    problems = postgres_repair.rehearse(server, ROWS)["problems"]
    assert problems == ["jobs 2: the database changed 0 rows instead of one"]


def test_a_row_that_is_locked_is_told_and_is_no_problem(host: Host) -> None:
    why = "is locked by another session"
    server = Server(host, [BEGUN, ["why", 1, why], ["compared"], ["done", 1, 0], ["done", 2, 1]])
    skipped = [{"table": "jobs", "id": 2, "group": "jobs:2", "why": why}]
    assert postgres_repair.rehearse(server, ROWS) == {"problems": [], "skipped": skipped}


def test_a_database_that_cannot_be_reached_is_no_verdict_on_the_changes(host: Host) -> None:
    with pytest.raises(OperationError):
        postgres_repair.rehearse(Server(host, [], "connection refused"), ROWS)


def test_a_sqlite_database_is_rehearsed_on_a_copy(host: Host, tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    with closing(sqlite3.connect(path)) as made:
        made.executescript(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT CHECK (status <> 'wrong'));"
            "INSERT INTO jobs VALUES (1, 'processing'), (2, 'moved');"
        )
    before = Path(path).read_bytes()
    store = open_store(path, host, user="root")

    def rehearse(ident: int, status: str) -> Dict[str, Any]:
        return store.rehearse([row(ident, {"kind": "update", "set": {"status": status}})], 1.0)

    assert rehearse(1, "failed") == {"problems": [], "skipped": []}
    (problem,) = rehearse(1, "wrong")["problems"]
    assert problem.startswith("the database rejected the change of jobs 1: CHECK constraint failed")
    (skipped,) = rehearse(2, "failed")["skipped"]
    assert skipped["why"] == "changed meanwhile: status is now 'moved'"
    assert Path(path).read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["jobs.db", "state"]
