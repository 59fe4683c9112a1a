"""What a killed writer leaves is never read, and removed by whoever has the lock next."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from celeriac_host.code import environments
from celeriac_host.operations import make_swap
from celeriac_host.state import (
    guard_timer,
    ledger,
    lock_file,
    notices,
    sampler_timer,
    sweeping,
    version,
)
from celeriac_host.state.journal import Journal, remembered, transactions_folder
from celeriac_host.store import resets
from celeriac_host.system import files, limits, own_program
from celeriac_host.transaction import control, guard, lock, runner, work
from cuts import cuts
from hosts import Answers, Host
from transactions import UNIT, World, begin, write

IDENT, OTHER = "20260101T000000-0001", "20260101T000001-0002"
META = {"holder": "anna (run 8)", "action": "verify", "lockTimeoutSeconds": 0}
ANSWERS: Answers = {
    ("systemctl", "show"): (0, "ActiveState=active\nMemoryMax=1\nMemoryHigh=1\n"),
    ("systemctl",): (0, ""),
}

Case = Callable[[Host, Path], None]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of the test in place of those of systemd."""
    for name in ("systemd", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(guard_timer, "FOLDER", str(tmp_path / "systemd"))
    monkeypatch.setattr(limits, "FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(sweeping, "RUN", str(tmp_path / "run"))
    own_program.put(lambda: {"a.py": "pass\n"})
    return tmp_path


def new_wait(host: Host, places: Path) -> None:
    ledger.await_verdict(host.state, UNIT, OTHER, 900.0)


def one_less(host: Host, places: Path) -> None:
    ledger.stop_awaiting(host.state, UNIT, IDENT)


def roll_back(host: Host, places: Path) -> None:
    ledger.begin_rollback(host.state, {"transactions": [IDENT], "by": "anna", "why": "requested"})


def installed(host: Host, places: Path) -> None:
    environments.record(host.state, UNIT, {"lock": "new"})


def counted(host: Host, places: Path) -> None:
    resets.count(host.state, "/srv/app.db", ["jobs:1"], 1)


def backed_up(host: Host, places: Path) -> None:
    Journal(os.path.join(transactions_folder(host.state), IDENT)).step(0).back_up(b"old")


def guarded(host: Host, places: Path) -> None:
    guard.arm(host)


def sampled(host: Host, places: Path) -> None:
    sampler_timer.start(host, UNIT, [])


def marked(host: Host, places: Path) -> None:
    Path(host.state, version.NAME).unlink()
    version.claim(host.state)


def noticed(host: Host, places: Path) -> None:
    notices.remember(host.state, UNIT, ["concurrency is 5 on one CPU"])


def held(host: Host, places: Path) -> None:
    limits.hold(UNIT, host)


def written(host: Host, places: Path) -> None:
    files.write(str(places / "etc" / "changed"), b"new changed\n", 0o644, 0, 0)


def compacted(host: Host, places: Path) -> None:
    ledger.judge(host.state, UNIT, [IDENT], "confirmed", "anna", "verified")


# What is written → a writer of it.
WRITERS: Dict[str, Case] = {
    "awaiting": new_wait,
    "awaiting, one less": one_less,
    "rolling": roll_back,
    "dependencies": installed,
    "resets": counted,
    "a backup": backed_up,
    "the guard and its program": guarded,
    "the sampler and its units": sampled,
    "the version of the state": marked,
    "what was told": noticed,
    "the limits of a running worker": held,
    "a file of an operation": written,
    "the ledger, compacted": compacted,
}


def tree(folder: Path) -> Dict[str, bytes]:
    """Everything but what is in use while the lock is held."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != "lock"
    }


def saved(folder: Path, elsewhere: pytest.TempPathFactory) -> Callable[[], None]:
    """Saves the folder as it is now; returns what restores it."""
    copy = elsewhere.mktemp("saved") / folder.name
    shutil.copytree(folder, copy, symlinks=True)

    def reset() -> None:
        shutil.rmtree(folder)
        shutil.copytree(copy, folder, symlinks=True)

    return reset


def prepared(host: Host, places: Path) -> None:
    """A transaction on record, whose files the writers write, and a release that waits."""
    world = World(places)
    install = {"op": "install-unit", "unit": UNIT, "path": str(places / "systemd" / UNIT)}
    folder = begin(host.state, [*world.operations(), install], IDENT, release={})
    ledger.record(host.state, IDENT, {"meta": {"unit": UNIT}, "operations": []})
    Journal(folder).write("ended", result="committed")
    for ident in (OTHER, IDENT):
        ledger.await_verdict(host.state, UNIT, ident, 900.0)


@pytest.mark.parametrize("what", WRITERS)
def test_an_interrupted_writer_leaves_nothing_after_the_next_sweep(
    root: None,
    host: Host,
    places: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    host.answers.update(ANSWERS)
    prepared(host, places)
    reset = saved(places, tmp_path_factory)
    monkeypatch.setattr(ledger, "LEDGER_LIMIT_BYTES", 10)
    # Of a writer whose number another process has now, e.g. after a reboot.
    alive = os.getppid()
    left = 0
    for cut in cuts(places):
        reset()
        cut(WRITERS[what], host, places)
        for path in map(Path, sweeping.find(host.state)):
            left += 1
            path.rename(path.parent / f"{path.name[: path.name.rindex('-')]}-{alive}")
        sweeping.sweep(host.state)
        names = [path.name for path in places.rglob("*")]
        assert [name for name in names if files.BESIDE in name] == []
        assert sweeping.find(host.state) == []
    # After the creation of the file, after it was written.
    assert left >= 2
    before = tree(places)
    sweeping.sweep(host.state)
    assert tree(places) == before


# Each module that writes files → by which of these it is covered, or why its files need no sweep.
COVERED = {
    "code/environments.py": "dependencies",
    "code/sources.py": "a folder like that of `dependencies`",
    "operations/install_agent.py": "a file of an operation",
    "operations/install_sudoers.py": "a file of an operation",
    "state/aside.py": "a file of an operation",
    "state/journal.py": "a backup",
    "state/ledger.py": "the ledger, compacted",
    "state/notices.py": "what was told",
    "state/sampler_timer.py": "the sampler and its units",
    "state/sampling.py": "the sampler and its units",
    "state/textfile.py": "written each minute, swept by its writer and its removal",
    "state/version.py": "the version of the state",
    "store/resets.py": "resets",
    "system/limits.py": "the limits of a running worker",
    "transaction/control.py": "the plan: in the folder of a transaction",
    "transaction/guard.py": "the guard and its program",
    "transaction/program.py": "the guard and its program",
}


def test_every_writer_of_files_is_covered() -> None:
    package = Path(sweeping.__file__).parents[1]
    texts = {str(path.relative_to(package)): path.read_text() for path in package.rglob("*.py")}
    assert sorted(COVERED) == sorted(name for name in texts if "files.write(" in texts[name])


def test_an_interrupted_begin_leaves_nothing_and_is_never_a_transaction(
    root: None, host: Host, places: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host.answers.update(ANSWERS)
    world = World(places)
    reset = saved(places, tmp_path_factory)
    seen = set()
    for cut in cuts(places):
        reset()
        cut(control._begin, world.operations(), META, host)
        known = [each["state"] for each in remembered(host.state)]
        seen.add(tuple(known))
        # As the next run, or the guard.
        with lock.take(host, META):
            work.tend(host, print)
        guard.disarm(host)
        assert [each["state"] for each in remembered(host.state)] in ([], ["undone"])
        assert not guard.is_needed(host)
        assert world.is_as_before()
        for ident in os.listdir(transactions_folder(host.state)):
            assert os.path.exists(os.path.join(transactions_folder(host.state), ident, "plan.json"))
        names = [path.name for path in places.rglob("*")]
        assert [name for name in names if files.BESIDE in name] == []
    assert seen == {(), ("open",)}


def test_an_interrupted_swap_file_goes(root: None, host: Host, tmp_path: Path) -> None:
    path = tmp_path / "swapfile"
    words = {"path": str(path), "sizeBytes": 65536, "filesystem": "tmpfs", "fill": "write"}
    folder = begin(host.state, [{"op": "make-swap", **words}], IDENT)
    Journal(folder).write("ended", result="undone")
    new = Path(make_swap._new(str(path)))
    new.write_bytes(b"\0" * 4096)
    theirs = tmp_path / "other.celeriac-new"
    theirs.touch()
    assert sweeping.sweep(host.state) == [str(new)]
    assert theirs.exists()


def of_somebody(path: Path) -> None:
    path.touch()
    os.chown(path, 1000, 1000)


# Not ours: another name, another owner, another kind, a place where we never write.
FOREIGN: Dict[str, Callable[[Path], None]] = {
    ".changed.celeriac-notes": lambda path: path.touch(),
    ".changed.celeriac-0": lambda path: path.touch(),
    ".changed.celeriac-12.bak": lambda path: path.touch(),
    "changed.celeriac-12": lambda path: path.touch(),
    ".other.celeriac-12": lambda path: path.touch(),
    ".changed.celeriac-13": lambda path: path.symlink_to("/etc/hostname"),
    ".changed.celeriac-14": lambda path: path.mkdir(),
    ".changed.celeriac-15": lambda path: of_somebody(path),
    ".changed.swp": lambda path: path.touch(),
    "changed~": lambda path: path.touch(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_ours_stays(root: None, host: Host, places: Path, name: str) -> None:
    prepared(host, places)
    theirs = places / "etc" / name
    FOREIGN[name](theirs)
    sweeping.sweep(host.state)
    files.write(str(places / "etc" / "changed"), b"new", 0o644, 0, 0)
    assert os.path.lexists(theirs)


@pytest.mark.parametrize(
    "name",
    [
        f".{UNIT}.json.celeriac-812",
        f"{UNIT}.json~",
        f"{UNIT}.json.bak",
        f".{UNIT}.json",
        f"copy of {UNIT}.json",
        f".#{UNIT}.json",
        f"{UNIT}.JSON",
        "old.service.json",
    ],
)
def test_only_files_that_celeriac_names_are_releases_that_wait(host: Host, name: str) -> None:
    ledger.await_verdict(host.state, UNIT, IDENT, 900.0)
    path = Path(host.state, "awaiting", UNIT + ".json")
    os.rename(path, path.parent / name)
    assert ledger.all_awaiting(host.state) == []
    assert not guard.is_needed(host)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"unit": "worker.service"}'])
def test_a_file_without_its_content_is_not_a_release_that_waits(host: Host, content: bytes) -> None:
    ledger.await_verdict(host.state, UNIT, IDENT, 900.0)
    Path(host.state, "awaiting", UNIT + ".json").write_bytes(content)
    assert ledger.all_awaiting(host.state) == []


def test_a_confirmed_release_is_not_put_back_when_its_file_returns(
    host: Host, places: Path
) -> None:
    world = World(places)
    about = {"confirmWithinSeconds": 900}
    folder = begin(host.state, world.operations(), IDENT, release=about)
    host.answers.update(ANSWERS)
    assert runner.carry_out(folder, host, print)["result"] == "committed"
    path = Path(host.state, "awaiting", UNIT + ".json")
    waiting = path.read_bytes().replace(b'"bootDeadline": ', b'"bootDeadline": -')
    assert control.confirm(UNIT, [IDENT], META, host) == {"confirmed": True}
    # The power failed before the removal was on the disk; now it is long overdue.
    path.write_bytes(waiting)
    assert ledger.awaiting(host.state, UNIT) is None
    work._guard(host)
    assert world.look() == world.after
    assert [each["verdict"] for each in ledger.of_unit(host.state, UNIT)] == ["none", "confirmed"]
    assert not path.exists()
    # And it is no part of what the next release takes back with it.
    path.write_bytes(waiting)
    ledger.await_verdict(host.state, UNIT, OTHER, 900.0)
    again = ledger.awaiting(host.state, UNIT)
    assert again is not None
    assert again["transactions"] == [OTHER]


def test_an_interrupted_confirmation_holds_or_never_was(host: Host, places: Path) -> None:
    host.answers.update(ANSWERS)
    seen = set()
    for cut in cuts(places):
        for name in ("awaiting", "transactions"):
            files.remove_tree(os.path.join(host.state, name))
        files.remove_tree(str(places / "etc"))
        files.remove(os.path.join(host.state, ledger.LEDGER))
        os.makedirs(transactions_folder(host.state))
        world = World(places)
        about = {"confirmWithinSeconds": 0}
        folder = begin(host.state, world.operations(), IDENT, release=about)
        assert runner.carry_out(folder, host, print)["result"] == "committed"
        cut(control.confirm, UNIT, [IDENT], META, host)
        confirmed = "confirmed" in [each["verdict"] for each in ledger.of_unit(host.state, UNIT)]
        work._guard(host)
        assert (world.look() == world.after) == confirmed
        assert ledger.all_awaiting(host.state) == []
        seen.add(confirmed)
    assert seen == {False, True}


def test_the_next_run_removes_what_was_left_and_says_so(host: Host, places: Path) -> None:
    half = Path(transactions_folder(host.state), IDENT)
    half.mkdir()
    (half / ".plan.json.celeriac-12").touch()
    told: List[Dict[str, Any]] = []
    assert control.recover(META, host, told.append) == {"deeds": []}
    assert not half.exists()
    assert any(str(half) in each["message"] for each in told)
    assert not lock_file.is_held(host.state)


def test_a_run_waits_with_the_sweep_while_another_one_is_at_work(host: Host, places: Path) -> None:
    """The other one may be about to rename that very file."""
    world = World(places)
    Journal(begin(host.state, [write(world.new, "x")], IDENT)).write("ended", result="committed")
    beside = world.changed.parent / f".changed.celeriac-{os.getpid()}"
    Journal(begin(host.state, [write(world.changed, "x")], OTHER)).write(
        "ended", result="committed"
    )
    beside.touch()
    with lock.take(host, META), pytest.raises(Exception) as refused:
        control.recover(META, host, print)
    assert "anna (run 8)" in str(refused.value)
    assert beside.exists()
