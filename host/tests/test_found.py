"""Databases are searched for below the unit's directory and in its environment."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Dict, List

import pytest
from celeriac_host.store import found
from celeriac_host.system import identities, unit_context
from hosts import Host

UNIT = "worker.service"


@pytest.fixture
def environment(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dict[str, str]:
    """Of a unit with the folder `app` as its directory."""
    app = tmp_path / "app"
    app.mkdir()
    variables: Dict[str, str] = {}
    whom = identities.identity(str(os.getuid()))
    where = unit_context.Context(whom, str(app), variables)
    monkeypatch.setattr(unit_context, "context", lambda *_: where)
    shown = f"LoadState=loaded\nUser={whom.name}\nWorkingDirectory={app}\n"
    host.answers["systemctl", "show"] = (0, shown)
    return variables


def database(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(str(path))) as opened, opened:
        opened.execute("CREATE TABLE jobs (id)")
    return str(path)


def paths(host: Host) -> List[str]:
    return found.found(host, UNIT, None)[0]


@pytest.mark.parametrize(
    "scheme", ["sqlite:///", "db+sqlite:///", "sqlite+aiosqlite:///", "sqla+sqlite:///"]
)
def test_a_file_that_a_variable_names_is_found(
    scheme: str, environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    path = database(tmp_path / "elsewhere" / "press.data")
    environment.update(HOME="/root", LP_DB=f"{scheme}{path}")
    assert paths(host) == [path]


def test_a_path_alone_may_be_that_of_a_backup_or_of_another_app(
    environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    environment["BACKUP"] = database(tmp_path / "elsewhere" / "press.data")
    assert paths(host) == []


def test_a_url_with_three_slashes_is_relative_to_the_directory(
    environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    path = database(tmp_path / "elsewhere" / "press.data")
    environment["DATABASE_URL"] = "sqlite:///../elsewhere/press.data?timeout=5"
    assert paths(host) == [path]


def test_several_names_of_one_file_are_one_database(
    environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    path = database(tmp_path / "app" / "jobs.db")
    os.symlink(path, str(tmp_path / "app" / "link.db"))
    environment.update(
        A=f"sqlite:///{path}", B=f"sqlite:///{tmp_path}/app/link.db", C="sqlite:///jobs.db"
    )
    assert paths(host) == [path]


def test_only_regular_files_of_sqlite_are_found(
    environment: Dict[str, str], host: Host, tmp_path: Path
) -> None:
    text = tmp_path / "app.conf"
    text.write_text("no database")
    empty = tmp_path / "empty"
    empty.touch()
    pipe = tmp_path / "pipe"
    os.mkfifo(str(pipe))
    values = (text, empty, pipe, tmp_path, "/dev/zero", tmp_path / "none", "/" + "x" * 5000)
    environment.update({f"V{at}": f"sqlite:///{value}" for at, value in enumerate(values)})
    environment.update(M="sqlite://", N="sqlite:///:memory:", O="relative.db")
    assert paths(host) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's file needs root")
def test_a_file_that_the_user_cannot_read_is_not_found(
    environment: Dict[str, str], host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(tmp_path / "secret.db")
    os.chmod(path, 0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/dev/shm/"):
            os.chmod(str(folder), 0o755)
    environment["DB"] = f"sqlite:///{path}"
    assert paths(host) == [path]
    assert found.found(host, UNIT, "nobody")[0] == []
