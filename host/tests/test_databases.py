"""SQLite files are read, copied and sent as the app's user, and never changed."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from app_database import AppDatabase
from celeriac_host.session import snapshot, wire
from celeriac_host.store import copies, sqlite, sqlite_child, sqlite_copy, sqlite_locks
from celeriac_host.store.sqlite_child import Work
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.errors import Fault, OperationError, RunnerGone
from celeriac_host.system.identities import identity
from hosts import Host

MIB = 1024 * 1024


@pytest.fixture
def database(tmp_path: Path) -> AppDatabase:
    (tmp_path / "app").mkdir()
    return AppDatabase(tmp_path / "app" / "jobs.db")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where copies are made in this test: others may run on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="celeriac-test-"))
    folder.chmod(0o1777)
    monkeypatch.setattr(copies, "COPY_FOLDERS", (str(folder),))
    yield folder
    shutil.rmtree(folder)


def user(name: str = "root") -> AppUser:
    return AppUser(identity(name), "worker.service")


def content_of(database: AppDatabase, host: Host, whom: str = "root", **more: Any) -> bytes:
    limit, extract = more.get("limit"), more.get("extract")
    with sqlite_copy.copied(str(database.path), host, user(whom), limit, extract) as copy:
        content = b"".join(copy.pieces)
    assert len(content) == copy.size_bytes
    return content


def copy_of(database: AppDatabase, host: Host, whom: str = "root", **more: Any) -> List[Any]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content_of(database, host, whom, **more))
        file.flush()
        with closing(sqlite3.connect(file.name)) as opened:
            return opened.execute("SELECT id, status FROM jobs ORDER BY id").fetchall()


ALL = [("alive", "processing"), ("one", "processing"), ("two", "processing")]


# --- in the child ------------------------------------------------------------------------------


def test_the_child_runs_as_the_owner_only(root: None, open_folder: Path, host: Host) -> None:
    nobody = pwd.getpwnam("nobody")
    database = AppDatabase(open_folder / "jobs.db")
    os.chown(open_folder, nobody.pw_uid, nobody.pw_gid)
    os.chown(database.path, nobody.pw_uid, nobody.pw_gid)
    path = str(database.path)
    said = sqlite_child.ask(
        path,
        host,
        user("nobody"),
        lambda: [os.getresuid(), os.getresgid(), os.getgroups(), os.getcwd()],
    )
    groups = sorted({nobody.pw_gid, *os.getgrouplist("nobody", nobody.pw_gid)})
    assert said == [[nobody.pw_uid] * 3, [nobody.pw_gid] * 3, groups, "/"]

    def write() -> List[int]:
        with sqlite.opened(path, "mode=rw", 1.0) as opened:
            opened.execute("UPDATE jobs SET status = 'failed'")
            return [os.stat(path + suffix).st_uid for suffix in ("-wal", "-shm")]

    # Files of root would prevent the app from writing.
    assert sqlite_child.ask(path, host, user("nobody"), write) == [nobody.pw_uid] * 2
    assert copy_of(database, host, "nobody") == [(name, "failed") for name, _ in ALL]


def test_a_check_as_django_writes_it_is_no_damage(tmp_path: Path) -> None:
    path = str(tmp_path / "django.db")
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (e TEXT CHECK (JSON_VALID(e)), f TEXT AS (e || e))")
        made.execute("INSERT INTO t (e) VALUES ('{}')")
        made.commit()
    with sqlite.opened(path, "mode=rw", 1.0) as opened:
        assert opened.execute("SELECT e FROM t").fetchall() == [("{}",)]
        with pytest.raises(sqlite3.IntegrityError):
            opened.execute("UPDATE t SET e = 'no JSON'")


def test_an_error_in_the_child_names_the_path(database: AppDatabase, host: Host) -> None:
    def fail(error: BaseException) -> Callable[[], Any]:
        def work() -> Any:
            raise error

        return work

    path = str(database.path)
    for error, told in (
        (OperationError("no such column", evidence=["line"]), "no such column"),
        (sqlite3.DatabaseError("database disk image is malformed"), "damaged"),
        (KeyError("x"), "KeyError"),
        (sqlite_child.Locked("waited 1 s"), "locked"),
    ):
        with pytest.raises(OperationError) as failed:
            sqlite_child.ask(path, host, user(), fail(error))
        assert path in failed.value.message
        assert told in failed.value.message
    with pytest.raises(copies.TooLarge):
        sqlite_child.ask(path, host, user(), fail(copies.TooLarge("too large")))


def test_a_child_that_dies_gives_no_answer(database: AppDatabase, host: Host) -> None:
    with pytest.raises(sqlite_child.NoAnswer):
        sqlite_child.ask(str(database.path), host, user(), lambda: os.kill(os.getpid(), 9))


def test_a_child_ends_when_the_runner_disconnects(database: AppDatabase, host: Host) -> None:
    def work(channel: sqlite_child.Channel) -> Any:
        channel.send({"value": os.getpid()})
        return channel.receive()

    with pytest.raises(RunnerGone), sqlite_child.working(
        host, user(), Work(str(database.path), work)
    ) as child:
        pid = child.receive()
        host.runner_gone = True
        child.receive()
    assert not os.path.exists(f"/proc/{pid}")


def test_large_messages_pass_both_ways(database: AppDatabase, host: Host) -> None:
    def work(channel: sqlite_child.Channel) -> Any:
        return channel.receive()[::-1]

    text = "ä" * MIB + "b"
    with sqlite_child.working(host, user(), Work(str(database.path), work)) as child:
        child.send(text)
        assert child.receive() == text[::-1]


@pytest.mark.parametrize("kind", ["missing", "a folder", "a pipe"])
def test_a_path_that_is_not_a_file_is_named(tmp_path: Path, host: Host, kind: str) -> None:
    path = tmp_path / "jobs.db"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    with pytest.raises(OperationError) as refused:
        sqlite_child.ask(str(path), host, user(), lambda: None)
    assert str(path) in refused.value.message


def test_a_link_to_a_database_is_accepted(
    database: AppDatabase, host: Host, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(database.path)
    with sqlite_copy.copied(str(link), host, user(), None) as copy:
        assert len(b"".join(copy.pieces)) == copy.size_bytes == database.path.stat().st_size


def test_names_are_quoted(database: AppDatabase) -> None:
    assert sqlite.quoted('a"; DROP TABLE jobs; --') == '"a""; DROP TABLE jobs; --"'
    with pytest.raises(OperationError):
        sqlite.quoted("a\0b")


# --- locks -------------------------------------------------------------------------------------


def test_the_holder_of_a_lock_is_named(database: AppDatabase, host: Host) -> None:
    program = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "d.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-I", "-c", program, str(database.path)]

    def write() -> None:
        with sqlite.opened(str(database.path), "mode=rw", 0.1) as opened:
            opened.execute("UPDATE jobs SET status = 'failed'")

    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OperationError) as failed:
            sqlite_child.ask(str(database.path), host, user(), write)
        assert f"pid {holder.pid} (" in failed.value.message
        assert holder.stdin is not None
        holder.stdin.close()
    sqlite_child.ask(str(database.path), host, user(), write)


def test_a_read_only_file_is_refused_first(
    database: AppDatabase, host: Host, tmp_path: Path, make_disk: Callable[[int], Path]
) -> None:
    disk = make_disk(1024)
    there = AppDatabase(disk / "jobs.db", "DELETE")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    def write() -> None:
        with sqlite.opened(str(there.path), "mode=rw", 0.1):
            raise AssertionError

    with pytest.raises(OperationError) as refused:
        sqlite_child.ask(str(there.path), host, user(), write)
    assert "read-only" in refused.value.message
    assert copy_of(there, host) == ALL


# --- copies ------------------------------------------------------------------------------------


def test_a_copy_contains_the_write_ahead_log(database: AppDatabase, host: Host) -> None:
    with database.open_elsewhere() as writer:
        writer.execute("UPDATE jobs SET status = 'failed' WHERE id = 'one'")
        before = database.path.read_bytes()
        assert os.path.getsize(f"{database.path}-wal") > 0
        assert dict(copy_of(database, host))["one"] == "failed"
        assert database.path.read_bytes() == before


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_copy_of_an_unused_database_does_not_change_its_folder(
    tmp_path: Path, host: Host, mode: str
) -> None:
    folder = tmp_path / "resting"
    folder.mkdir()
    database = AppDatabase(folder / "jobs.db", mode)
    before = database.path.read_bytes(), os.stat(database.path).st_mtime_ns, os.listdir(folder)
    assert before[2] == ["jobs.db"]
    assert copy_of(database, host) == ALL
    after = database.path.read_bytes(), os.stat(database.path).st_mtime_ns, os.listdir(folder)
    assert after == before


def test_a_log_of_a_dead_writer_is_part_of_the_copy(database: AppDatabase, host: Host) -> None:
    program = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1]);"
        "d.execute('DELETE FROM links'); d.execute('DELETE FROM jobs'); d.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-I", "-c", program, str(database.path)], check=True)
    assert os.path.exists(f"{database.path}-wal")
    assert copy_of(database, host) == []


def test_copies_are_always_removed(database: AppDatabase, host: Host, temporary: Path) -> None:
    with sqlite_copy.copied(str(database.path), host, user(), None):
        assert os.listdir(temporary) == []
    copy_of(database, host)
    with pytest.raises(copies.TooLarge):
        copy_of(database, host, limit=4096)
    with pytest.raises(ZeroDivisionError), sqlite_copy.copied(
        str(database.path), host, user(), None
    ):
        raise ZeroDivisionError
    assert os.listdir(temporary) == []


def test_only_our_copies_of_killed_runs_are_removed_by_the_next(
    root: None, database: AppDatabase, host: Host, temporary: Path
) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    ours = os.getpid()
    # The last is another user's: root does not work in its folder.
    theirs = [
        f"celeriac-{os.getppid()}-{ours}",
        f"celeriac-{ours}x",
        f"celeriac-dependencies-{ours}",
        f"celeriac-{dead.pid}-nobody",
    ]
    for name in (*theirs, f"celeriac-{dead.pid}-{ours}"):
        (temporary / name).mkdir()
        (temporary / name / "copy.db").touch()
    os.chown(temporary / theirs[-1], 65534, 65534)
    copy_of(database, host)
    assert sorted(os.listdir(temporary)) == sorted(theirs)
    assert all((temporary / name / "copy.db").exists() for name in theirs)


def test_a_file_that_is_not_a_database_is_an_error(database: AppDatabase, host: Host) -> None:
    database.path.write_bytes(b"certainly no database " * 100)
    with pytest.raises(OperationError) as failed:
        copy_of(database, host)
    assert "not a SQLite database" in failed.value.message


def test_without_disk_space_nothing_is_started() -> None:
    with pytest.raises(OperationError) as refused:
        copies.roomy_folder(2**60)
    assert "/var/tmp" in refused.value.message


# --- snapshots ---------------------------------------------------------------------------------


def sent(host: Host, **args: Any) -> tuple[Any, bytes, list[int]]:
    pieces: List[bytes] = []
    asked = {"limitBytes": 64 * MIB, "user": "root", **args}
    answer = snapshot.snapshot(asked, host, pieces.append)
    return answer, zlib.decompress(b"".join(pieces)), [len(piece) for piece in pieces]


def test_a_snapshot_is_complete_and_has_its_digest(database: AppDatabase, host: Host) -> None:
    answer, content, _ = sent(host, database=str(database.path))
    assert answer["holds"] == "everything"
    assert answer["sizeBytes"] == len(content)
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    copy = database.path.with_name("sent.db")
    copy.write_bytes(content)
    with closing(sqlite3.connect(str(copy))) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert opened.execute("SELECT id, status FROM jobs ORDER BY id").fetchall() == ALL


@pytest.mark.parametrize("wal", [False, True])
def test_a_snapshot_says_when_the_database_was_last_written(
    database: AppDatabase, host: Host, wal: bool
) -> None:
    if wal:
        # Its writer ends without a last checkpoint.
        program = (
            "import os, sqlite3, sys; opened = sqlite3.connect(sys.argv[1], isolation_level=None);"
            " opened.execute('PRAGMA journal_mode = WAL');"
            " opened.execute('UPDATE jobs SET data = NULL'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-I", "-c", program, str(database.path)], check=True)
        os.utime(f"{database.path}-wal", (1_700_000_500, 1_700_000_500))
    # A checkpoint writes to the database later than the app did.
    os.utime(database.path, (1_700_000_900, 1_700_000_900))
    answer, _, _ = sent(host, database=str(database.path), limitBytes=MIB)
    assert answer["writtenAt"] == (1_700_000_500 if wal else 1_700_000_900)


def test_a_snapshot_is_sent_in_pieces_that_fit_in_a_line(database: AppDatabase, host: Host) -> None:
    with database.open() as opened:
        opened.execute("UPDATE jobs SET data = randomblob(1000000)")
    _, content, sizes = sent(host, database=str(database.path))
    assert len(content) > 3_000_000
    assert len(sizes) > 3
    assert set(sizes[:-1]) == {snapshot.PIECE_BYTES}
    assert 0 < sizes[-1] <= snapshot.PIECE_BYTES
    # In base64, with the message around it.
    assert 4 * -(-snapshot.PIECE_BYTES // 3) <= 256 * 1024 < wire.LINE_LIMIT_BYTES


def test_a_runner_that_disconnects_in_the_middle_leaves_nothing(
    database: AppDatabase, host: Host, temporary: Path
) -> None:
    with database.open() as opened:
        opened.execute("UPDATE jobs SET data = randomblob(2000000)")

    def go(piece: bytes) -> None:
        host.runner_gone = True

    with pytest.raises(RunnerGone):
        args = {"database": str(database.path), "limitBytes": 64 * MIB, "user": "root"}
        snapshot.snapshot(args, host, go)
    assert os.listdir(temporary) == []


def test_a_database_above_the_limit_is_refused_with_the_next_step(
    database: AppDatabase, host: Host
) -> None:
    with pytest.raises(Fault) as refused:
        sent(host, database=str(database.path), limitBytes=4096)
    assert "4096" in refused.value.message
    assert refused.value.next


# --- extracts ----------------------------------------------------------------------------------


def table(name: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    tie = None if parent is None else {"table": parent, "column": "job_id", "foreignKey": True}
    lists = ("statuses", "unknown", "orphanedBy", "ids", "beginnings", "bystanders")
    names = {"table": name, "id": "id", "status": "status", "columns": ["id", "status"]}
    return {**names, "parent": tie, "own": None, **{each: [] for each in lists}, **more}


def wanted(jobs: Any = None, links: Any = None) -> dict[str, Any]:
    tables = [table("jobs", **(jobs or {})), table("links", "jobs", **(links or {}))]
    return {"tables": tables, "counts": "status counts", "mostUnknown": 1}


@pytest.fixture
def large(database: AppDatabase) -> AppDatabase:
    """A database that is too large to be copied, because of a table without jobs."""
    with database.open() as opened:
        opened.execute("CREATE TABLE photos (content BLOB)")
        opened.execute("INSERT INTO photos VALUES (zeroblob(2000000))")
        opened.execute("UPDATE jobs SET status = 'done'")
        opened.execute("UPDATE links SET status = 'done' WHERE job_id <> 'two'")
    return database


def extracted(database: AppDatabase, host: Host, **more: Any) -> tuple[Any, list[Any]]:
    answer, content, _ = sent(
        host, database=str(database.path), limitBytes=MIB, extract=wanted(**more)
    )
    part = database.path.with_name("part.db")
    part.write_bytes(content)
    with closing(sqlite3.connect(str(part))) as opened:
        jobs = opened.execute("SELECT id FROM jobs ORDER BY id").fetchall()
        links = opened.execute("SELECT id FROM links ORDER BY id").fetchall()
    return answer, [ident for (ident,) in (*jobs, *links)]


@pytest.mark.parametrize(
    ("wish", "rows"),
    [
        ({"links": {"statuses": ["processing"]}}, ["two", 11, 12]),
        ({"jobs": {"statuses": ["done"]}}, ["alive", "one", "two", 1, 2, 11, 12, 21, 22]),
        ({"jobs": {"statuses": ["' OR 1 --"]}, "links": {"statuses": ["7"]}}, []),
        ({"jobs": {"beginnings": ["on"]}}, ["one", 1, 2]),
        ({"links": {"ids": ["12", 12]}}, ["two", 11, 12]),
        ({"jobs": {"ids": ["12", 12]}}, []),
        ({"jobs": {"ids": ["nobody"], "beginnings": ["nobody"]}}, []),
    ],
)
def test_an_extract_contains_the_suspects_with_ancestors_and_descendants(
    large: AppDatabase, host: Host, wish: dict[str, Any], rows: List[Any]
) -> None:
    before = large.path.read_bytes()
    answer, found = extracted(large, host, **wish)
    assert answer["holds"] == "rows"
    assert found == rows
    assert large.path.read_bytes() == before


def test_rows_without_their_parent_are_suspects_if_requested(
    large: AppDatabase, host: Host
) -> None:
    large.execute("DELETE FROM jobs WHERE id = 'one'")
    assert extracted(large, host)[1] == []
    tie = {"table": "jobs", "column": "job_id", "foreignKey": True}
    assert extracted(large, host, links={"orphanedBy": [tie]})[1] == [1, 2]


def test_an_extract_counts_all_rows_by_status_and_holds_some_in_unknown_ones(
    large: AppDatabase, host: Host
) -> None:
    with large.open() as opened:
        opened.execute("UPDATE jobs SET status = 'RUNNING' WHERE id <> 'two'")
        opened.execute("UPDATE links SET status = x'ff' WHERE id = 12")
    assert extracted(large, host)[1] == []
    _, found = extracted(large, host, jobs={"unknown": ["RUNNING", "' OR 1 --"]})
    assert found in (["alive", 21, 22], ["one", 1, 2])
    with closing(sqlite3.connect(str(large.path.with_name("part.db")))) as opened:
        counts = opened.execute('SELECT * FROM "status counts" ORDER BY 1, 3 DESC').fetchall()
    assert set(counts) == {
        ("jobs", "RUNNING", 2),
        ("jobs", "done", 1),
        ("links", "done", 4),
        ("links", None, 1),
        ("links", "processing", 1),
    }


def test_an_extract_that_is_too_large_names_its_rows(
    large: AppDatabase, host: Host, temporary: Path
) -> None:
    large.execute("UPDATE jobs SET data = randomblob(2000000)")
    with pytest.raises(Fault) as refused:
        extracted(large, host, jobs={"statuses": ["done"]})
    assert "3 jobs" in refused.value.message
    assert os.listdir(temporary) == []


def test_a_database_without_the_table_is_refused(large: AppDatabase, host: Host) -> None:
    large.execute("DROP TABLE links")
    with pytest.raises(OperationError) as refused:
        content_of(large, host, limit=MIB, extract=wanted())
    assert "links" in refused.value.message


@pytest.mark.parametrize(
    ("said", "ids"),
    [
        ([[1, 2], [3, 4]], {(1, 2), (3, 4)}),
        ([[1, "2"], [3], {"a": 1}, None, [5, 6]], set()),
        ("12", set()),
        (None, set()),
        ([[7, number] for number in range(9)], {(7, 0), (7, 1), (7, 2), (7, 3)}),
    ],
)
def test_what_the_child_says_of_its_files_is_numbers(said: Any, ids: Any) -> None:
    assert sqlite_locks.read_ids(said) == ids


@pytest.mark.parametrize("below", ["", "link/"])
def test_who_locks_a_database_is_found_without_a_look_at_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    path = str(tmp_path / below / "shop.db")
    script = """
        import sqlite3, sys
        found = sqlite3.connect(sys.argv[1], isolation_level=None)
        found.execute("CREATE TABLE t (x)")
        found.execute("BEGIN EXCLUSIVE")
        print("locked", flush=True)
        sys.stdin.read()
    """
    argv = [sys.executable, "-c", textwrap.dedent(script), path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        ids = set(sqlite_locks.ids_of(path))
        stat = os.stat

        def harmless(each: Any, *args: Any, **more: Any) -> os.stat_result:
            # It could wait for ever, for a file system of the user's.
            assert "/fd/" not in str(each)
            return stat(each, *args, **more)

        monkeypatch.setattr(os, "stat", harmless)
        found = sqlite_locks.lock_holders(path, ids)
        monkeypatch.undo()
        assert holder.stdin is not None
        holder.stdin.close()
    assert [each.split()[1] for each in found] == [str(holder.pid)]
    assert sqlite_locks.lock_holders(path, ids) == []


def test_a_process_with_several_locks_is_named_once(tmp_path: Path) -> None:
    path = str(tmp_path / "shop.db")
    script = """
        import fcntl, sys
        file = open(sys.argv[1], "wb")
        for start in (0, 10):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, start)
        print("locked", flush=True)
        sys.stdin.read()
    """
    argv = [sys.executable, "-c", textwrap.dedent(script), path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = sqlite_locks.lock_holders(path, set(sqlite_locks.ids_of(path)))
        assert holder.stdin is not None
        holder.stdin.close()
    assert [each.split()[1] for each in found] == [str(holder.pid)]
