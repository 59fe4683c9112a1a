"""Databases are opened as the app's user: attacks by that user, and by others, gain nothing."""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import signal
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
from app_database import AppDatabase, failing
from celeriac_host.facts import backup as backup_fact
from celeriac_host.facts import rehearsal, stores
from celeriac_host.operations import backup_database, repair_jobs, restore_database
from celeriac_host.session import snapshot
from celeriac_host.state.journal import Journal
from celeriac_host.store import copies, sqlite_child
from celeriac_host.store.postgres import Session
from celeriac_host.store.sqlite_child import Channel, Work
from celeriac_host.system.app_user import AppUser, app_user
from celeriac_host.system.errors import Fault, OperationError
from celeriac_host.system.identities import identity
from hosts import Host

APP = "nobody"
UNIT = "shop-worker.service"
UID = pwd.getpwnam(APP).pw_uid
GID = pwd.getpwnam(APP).pw_gid
OTHER = "daemon"
LOADED = ("systemctl", "show")


@pytest.fixture
def host(state: str) -> Host:
    return Host(state, {LOADED: (0, f"LoadState=loaded\nUser={APP}\n")})


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, root_folder: Path) -> Path:
    """Where copies are made in this test: everybody may write there."""
    folder = root_folder / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(copies, "COPY_FOLDERS", (str(folder),))
    return folder


def make(path: Path, owner: str = APP, mode: str = "DELETE") -> AppDatabase:
    database = AppDatabase(path, mode)
    who = pwd.getpwnam(owner)
    os.chown(path, who.pw_uid, who.pw_gid)
    return database


def nobody() -> AppUser:
    return AppUser(identity(APP), UNIT)


def whose(path: Path, **more: Any) -> Dict[str, Any]:
    return {"database": str(path), "unit": UNIT, "user": None, **more}


Way = Callable[[Path, Host, Journal], Any]


def _look(path: Path, host: Host, journal: Journal) -> Any:
    asked = {"unit": UNIT, "user": None, "databases": [str(path)], "statusColumns": ["status"]}
    (found,) = stores.look(asked, host)
    if found["kind"] == "unreadable":
        raise OperationError(found["problem"])
    return found


def _snapshot(path: Path, host: Host, journal: Journal) -> Any:
    pieces: List[bytes] = []
    asked = {**whose(path), "limitBytes": 10**8, "extract": {"unit": UNIT, "tables": []}}
    snapshot.snapshot(asked, host, pieces.append)
    return pieces


def _back_up(path: Path, host: Host, journal: Journal) -> Any:
    return backup_database.do(whose(path, keep=5), host, journal.step(0))


def add_backup(path: Path, host: Host) -> None:
    hashed = hashlib.sha256(os.fsencode(str(path))).hexdigest()[:6]
    name = f"{path.stem}-{hashed}-20260101T000000Z.db"
    Path(host.state, "backups", name).write_bytes(b"")


def _restore(path: Path, host: Host, journal: Journal) -> Any:
    add_backup(path, host)
    args = whose(path, backup="latest", keep=5, busyTimeoutSeconds=1.0)
    return restore_database.do(args, host, journal.step(1))


def _undo(path: Path, host: Host, journal: Journal) -> Any:
    step = journal.step(2)
    step.keep("backup", "/dev/null")
    step.keep("restoring", "/dev/null")
    return restore_database.undo(whose(path), host, step)


def _repair(path: Path, host: Host, journal: Journal) -> Any:
    args = whose(path, rows=failing(), busyTimeoutSeconds=1.0)
    return repair_jobs.do(args, host, journal.step(3))


def _check(path: Path, host: Host, journal: Journal) -> Any:
    return repair_jobs.check(whose(path, rows=failing(), busyTimeoutSeconds=1.0), host)


def _rehearse(path: Path, host: Host, journal: Journal) -> Any:
    return rehearsal.look(whose(path, rows=failing(), busyTimeoutSeconds=1.0), host)


def _compare(path: Path, host: Host, journal: Journal) -> Any:
    add_backup(path, host)
    found = backup_fact.look(whose(path, backup="latest"), host)
    if found["kind"] != "compared":
        raise OperationError(found["problem"])
    return found


WAYS: List[Way] = [_look, _snapshot, _back_up, _restore, _undo, _repair, _check, _rehearse]
WAYS += [_compare]


def refused(way: Way, path: Path, host: Host, journal: Journal) -> str:
    with pytest.raises((OperationError, Fault)) as wrong:
        way(path, host, journal)
    return wrong.value.message


def everything(folder: Path) -> List[Tuple[str, int, int, bytes]]:
    """What is there, with owners and content."""
    return [
        (str(path), path.lstat().st_uid, path.lstat().st_mode, b"")
        if not stat.S_ISREG(path.lstat().st_mode)
        else (str(path), path.lstat().st_uid, path.lstat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
    ]


# --- whose work it is --------------------------------------------------------------------------


def test_the_user_is_that_of_the_unit_or_the_one_that_is_named(host: Host) -> None:
    assert app_user(host, UNIT).name == APP
    assert app_user(host, UNIT, OTHER)[:] == (identity(OTHER), "the app")
    assert app_user(host, UNIT, str(UID))[:] == (identity(APP), UNIT)
    assert app_user(host, "", OTHER).name == OTHER
    host.answers[LOADED] = (0, "LoadState=loaded\nUser=\n")
    assert app_user(host, UNIT).identity.uid == 0


def test_a_unit_gives_its_user_more_groups(host: Host) -> None:
    host.answers[LOADED] = (
        0,
        f"LoadState=loaded\nUser={APP}\nGroup=daemon\nSupplementaryGroups=sys\n",
    )
    daemon, sys = (identity("root", name).gid for name in ("daemon", "sys"))
    for user in (None, APP):
        found = app_user(host, UNIT, user).identity
        assert found.gid == daemon
        assert {daemon, sys} <= set(found.groups)
    assert sys not in app_user(host, UNIT, OTHER).identity.groups


@pytest.mark.parametrize("state", ["not-found", "masked", "error"])
def test_without_a_unit_there_is_no_user_unless_one_is_named(host: Host, state: str) -> None:
    host.answers[LOADED] = (0, f"LoadState={state}\nUser=\n")
    for unit in (UNIT, ""):
        with pytest.raises(OperationError, match=r"is unknown; give the `unit`.*`app-user`"):
            app_user(host, unit)
    assert app_user(host, UNIT, APP).name == APP


def test_an_agent_that_is_not_root_needs_no_unit(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers[LOADED] = (0, "LoadState=not-found\nUser=\n")
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    assert app_user(host, UNIT)[:] == (identity(APP), "the app")


def test_a_postgresql_session_is_of_the_named_user_with_the_environment_of_the_unit(
    host: Host,
) -> None:
    host.answers[LOADED] = (0, f"LoadState=loaded\nUser={APP}\nEnvironment=PGPASSWORD=x HOME=/x\n")
    host.answers["systemctl", "show-environment"] = (0, "")
    url = "postgresql://localhost/jobs"
    assert Session(host, UNIT, url).context().identity.name == APP
    found = Session(host, UNIT, url, OTHER).context()
    assert found.identity == identity(OTHER)
    assert found.environment["PGPASSWORD"] == "x"
    assert (found.environment["USER"], found.environment["HOME"]) == (OTHER, identity(OTHER).home)
    host.answers[LOADED] = (0, "LoadState=not-found\nUser=\n")
    assert Session(host, UNIT, url, OTHER).context().identity == identity(OTHER)
    with pytest.raises(OperationError, match="no such unit"):
        Session(host, UNIT, url).context()


@pytest.mark.parametrize("way", WAYS)
def test_a_database_of_another_user_is_refused_with_both_names(
    root_folder: Path, host: Host, journal: Journal, way: Way
) -> None:
    path = root_folder / "shop.db"
    make(path, OTHER)
    path.chmod(0o666)
    before = everything(root_folder)
    said = refused(way, path, host, journal)
    assert f"{path} belongs to {OTHER}, but {UNIT} runs as {APP}" in said
    assert "app-user" in said
    assert everything(root_folder) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_link_of_the_app_to_a_database_of_root_is_refused(
    root_folder: Path, app_folder: Path, host: Host, journal: Journal, way: Way, mode: int
) -> None:
    secret = root_folder / "root.db"
    make(secret, "root", "WAL")
    secret.chmod(mode)
    path = app_folder / "shop.db"
    path.symlink_to(secret)
    before = everything(root_folder)
    said = refused(way, path, host, journal)
    assert f"{path} (a link to {secret}) belongs to root" in said
    assert f"{UNIT} runs as {APP}" in said
    assert everything(root_folder) == before


def test_a_link_of_the_app_into_a_private_folder_is_refused(
    root_folder: Path, app_folder: Path, host: Host, journal: Journal
) -> None:
    private = root_folder / "private"
    private.mkdir(0o700)
    make(private / "root.db", "root")
    path = app_folder / "shop.db"
    path.symlink_to(private / "root.db")
    for way in WAYS:
        said = refused(way, path, host, journal)
        assert str(path) in said
        assert f"cannot be opened by {APP}" in said


def test_links_of_the_app_to_its_own_database_are_followed(
    root_folder: Path, app_folder: Path, host: Host, journal: Journal
) -> None:
    (app_folder / "shared").mkdir()
    os.chown(app_folder / "shared", UID, GID)
    make(app_folder / "shared" / "real.db")
    path = app_folder / "shop.db"
    path.symlink_to("shared/real.db")
    assert _look(path, host, journal)["user"] == APP
    assert _repair(path, host, journal)[1]["changed"] == 4
    owners = {each.lstat().st_uid for each in (app_folder / "shared").iterdir()}
    assert owners == {UID}


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_what_lies_beside_a_database_may_lead_anywhere(
    root_folder: Path,
    app_folder: Path,
    host: Host,
    journal: Journal,
    ending: str,
) -> None:
    target = root_folder / "root.conf"
    target.write_bytes(b"root's own")
    make(app_folder / "shop.db", mode="WAL")
    beside = app_folder / f"shop.db{ending}"
    if beside.exists():
        beside.unlink()
    beside.symlink_to(target)
    for way in (_look, _snapshot, _back_up, _rehearse, _repair):
        try:
            way(app_folder / "shop.db", host, journal)
        except (OperationError, Fault):
            continue
    assert target.read_bytes() == b"root's own"
    assert target.stat().st_uid == 0


def test_root_does_not_read_a_file_whose_mode_the_app_takes_away(
    app_folder: Path, host: Host, journal: Journal
) -> None:
    path = app_folder / "shop.db"
    make(path)
    path.chmod(0)
    said = refused(_look, path, host, journal)
    assert f"cannot be opened by {APP}" in said
    app_folder.chmod(0)
    for way in WAYS:
        assert f"cannot be opened by {APP}" in refused(way, path, host, journal)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_refused_without_waiting(
    app_folder: Path, host: Host, journal: Journal, kind: str
) -> None:
    path = app_folder / "shop.db"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.chown(path, UID, GID)
    for way in WAYS:
        assert "not a regular file" in refused(way, path, host, journal)


# --- a unit of root ----------------------------------------------------------------------------


def test_a_unit_of_root_works_on_files_of_root_only(
    root_folder: Path, app_folder: Path, host: Host, journal: Journal
) -> None:
    host.answers[LOADED] = (0, "LoadState=loaded\nUser=\n")
    make(root_folder / "root.db", "root")
    assert _look(root_folder / "root.db", host, journal)["user"] == "root"
    make(root_folder / "app.db", APP)
    said = refused(_look, root_folder / "app.db", host, journal)
    assert f"belongs to {APP}, but {UNIT} runs as root" in said
    # In a folder of the app, the next look may find another file at the same path.
    make(app_folder / "root.db", "root")
    for way in WAYS:
        said = refused(way, app_folder / "root.db", host, journal)
        assert f"is in {app_folder}, which users other than root can change" in said


# --- races -------------------------------------------------------------------------------------

Step = Callable[[], object]


@contextmanager
def meddling(step: Step) -> Iterator[None]:
    """The app's user does this over and over meanwhile."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(GID)
            os.setuid(UID)
            while os.getppid() != 1:
                try:
                    step()
                except OSError:
                    continue
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_folder_of_a_copy_leads_root_nowhere(
    root_folder: Path, app_folder: Path, host: Host, journal: Journal, temporary: Path
) -> None:
    path = app_folder / "shop.db"
    make(path)
    bait = root_folder / "etc"
    bait.mkdir()
    (bait / "copy.db").write_bytes(b"root's own")
    before = everything(bait)

    def swap() -> None:
        for each in temporary.iterdir():
            if each.name.startswith("celeriac-"):
                each.rename(temporary / f"moved-{time.monotonic_ns()}")
                each.symlink_to(bait)

    with meddling(swap):
        for _ in range(12):
            for way in (_snapshot, _back_up, _rehearse, _compare):
                try:
                    way(path, host, journal)
                except (OperationError, Fault):
                    continue
    assert everything(bait) == before
    # What the app leaves there is the app's, and root has made nothing in it.
    assert {each.lstat().st_uid for each in temporary.iterdir()} <= {UID}


def test_a_path_that_flips_is_the_apps_own_or_refused(
    root_folder: Path, app_folder: Path, host: Host, journal: Journal
) -> None:
    secret = root_folder / "root.db"
    make(secret, "root", "WAL")
    secret.chmod(0o600)
    make(app_folder / "own.db")
    path = app_folder / "shop.db"
    path.symlink_to("own.db")
    os.chown(path, UID, GID, follow_symlinks=False)
    before = secret.read_bytes()
    beside = app_folder / "beside"

    def flip() -> None:
        for target in ("own.db", str(secret)):
            beside.symlink_to(target)
            beside.rename(path)

    with meddling(flip):
        for _ in range(12):
            for way in (_look, _snapshot, _back_up, _repair, _rehearse):
                try:
                    way(path, host, journal)
                except (OperationError, Fault):
                    continue
    assert secret.read_bytes() == before
    assert sorted(each.name for each in root_folder.iterdir()) == ["app", "root.db"]
    for kept in Path(host.state, "backups").iterdir():
        # Complete copies of the app's own database: a fresh one has other pages than root's in WAL.
        assert kept.read_bytes()[18:20] == b"\1\1"


# --- the child ---------------------------------------------------------------------------------


@pytest.fixture
def path(app_folder: Path) -> str:
    make(app_folder / "shop.db")
    return str(app_folder / "shop.db")


def test_the_child_has_no_descriptor_but_its_own(
    path: str, host: Host, state: str, journal: Journal
) -> None:
    def work() -> List[str]:
        found = []
        for each in os.listdir("/proc/self/fd"):
            # The last one is that of the listing itself.
            with suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/self/fd/{each}"))
        return found

    with open(os.path.join(state, "lock"), "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        found = sqlite_child.ask(path, host, nobody(), work)
    assert {each for each in found if not each.startswith("socket:")} == {"/dev/null"}
    assert sum(each.startswith("socket:") for each in found) == 1


def test_the_child_is_limited(path: str, host: Host) -> None:
    def work() -> List[Any]:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        with open("/proc/self/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            return [limit, status["NoNewPrivs"], status["CapEff"], file.read().strip()]

    limit, no_new, capabilities, oom = sqlite_child.ask(path, host, nobody(), work)
    assert limit == sqlite_child.MEMORY_LIMIT_BYTES
    assert (no_new, int(capabilities, 16), oom) == ("1", 0, "1000")


def test_a_child_that_takes_all_memory_is_an_error(
    path: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_child, "MEMORY_LIMIT_BYTES", 600 * 1024 * 1024)
    with pytest.raises(OperationError, match="needs more than 600 MiB of memory"):
        sqlite_child.ask(path, host, nobody(), lambda: len(b"x" * 10**9))


def test_the_user_cannot_look_into_the_child(path: str, host: Host) -> None:
    def work(channel: Channel) -> Any:
        channel.send({"value": os.getpid()})
        return channel.receive()

    with sqlite_child.working(host, nobody(), Work(path, work)) as child:
        pid = child.receive()
        spy = os.fork()
        if spy == 0:
            opened = 0
            os.setgroups([])
            os.setgid(GID)
            os.setuid(UID)
            for name in ("mem", "environ", "fd/0", "maps"):
                try:
                    os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
                    opened += 1
                except OSError:
                    continue
            # PTRACE_ATTACH
            opened += ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0
            os._exit(opened)
        assert os.WEXITSTATUS(os.waitpid(spy, 0)[1]) == 0
        child.send("go")
        assert child.receive() == "go"


def test_a_child_that_its_user_stops_is_ended(path: str, host: Host) -> None:
    def work(channel: Channel) -> Any:
        channel.send({"value": os.getpid()})
        return channel.receive()

    with sqlite_child.working(host, nobody(), Work(path, work)) as child:
        pid = child.receive()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(sqlite_child.NoAnswer, match=r"stopped by a signal \(SIGSTOP\)"):
            child.receive()
    assert not os.path.exists(f"/proc/{pid}")


def test_a_child_that_goes_on_and_on_is_ended(path: str, host: Host) -> None:
    def slow(channel: Channel) -> None:
        while True:
            time.sleep(0.01)

    def sleepy(channel: Channel) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            channel.end.sendall(b" ")
            time.sleep(0.01)

    for work in (slow, sleepy):
        with pytest.raises(sqlite_child.NoAnswer, match=r"took more than 0\.2 s"):
            sqlite_child.look(host, nobody(), Work(path, work, 0.2))


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON\n",
        b"[" * 100_000 + b"\n",
        b"7\n",
        b'{"value": 1' + b"0" * 5000 + b"}\n",
        b"\xff\n",
    ],
)
def test_an_answer_that_is_none_is_an_error(path: str, host: Host, said: bytes) -> None:
    def work(channel: Channel) -> None:
        channel.end.sendall(said)
        os._exit(0)

    with sqlite_child.working(host, nobody(), Work(path, work)) as child:
        try:
            # Before 3.11 a long number is read.
            assert isinstance(child.receive(), int)
        except sqlite_child.NoAnswer:
            return


def test_a_line_without_end_is_not_kept(
    path: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_child, "LINE_LIMIT_BYTES", 5_000_000)

    def work(channel: Channel) -> None:
        while True:
            channel.end.sendall(b"x" * 1_000_000)

    with pytest.raises(sqlite_child.NoAnswer, match="sent more than 5000000 bytes"):
        sqlite_child.look(host, nobody(), Work(path, work))


def test_a_copy_has_the_announced_size_or_is_an_error(path: str, host: Host) -> None:
    def read(announced: int, sent: int) -> bytes:
        def work(channel: Channel) -> None:
            channel.send({"value": announced})
            channel.end.sendall(b"x" * sent)
            os._exit(0)

        with sqlite_child.working(host, nobody(), Work(path, work)) as child:
            return b"".join(child.pieces(child.receive()))

    assert read(3_000_000, 3_000_001) == b"x" * 3_000_000
    with pytest.raises(sqlite_child.NoAnswer, match="before the copy was complete"):
        read(3_000_000, 2_999_999)


def test_rows_that_the_plan_does_not_name_are_not_kept(
    path: str, host: Host, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a child that the app has taken over."""
    from celeriac_host.store import sqlite_repair

    def lie(self: Any, channel: Any) -> Any:
        channel.send({"value": [{"table": "jobs", "key": "id", "id": "one", "reset": "x" * 1000}]})
        channel.receive()
        return {}

    monkeypatch.setattr(sqlite_repair._Repair, "work", lie)
    with pytest.raises(OperationError, match="sent invalid data"):
        _repair(Path(path), host, journal)
    assert journal.step(3).get("rows") is None
