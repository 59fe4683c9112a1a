"""One tick of the sampler, with a systemd from a table, and real files, cgroups and processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest
from celeriac_host.operations import start_sampler, stop_sampler
from celeriac_host.sampler import failures, journal, reading, work
from celeriac_host.state import (
    guard_timer,
    ledger,
    lock_file,
    sampler_timer,
    samples,
    sampling,
    textfile,
    webhook,
)
from celeriac_host.state.journal import Journal
from celeriac_host.system import mounts, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Ended
from hosts import Host
from test_ledger import plan_of

UNIT = "celery-worker.service"
INVOCATION = "0123456789abcdef0123456789abcdef"
PATHS = ["/", "/proc", "/nowhere"]


@pytest.fixture
def here(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with a unit that is sampled; its cgroup and the folders of systemd are below /tmp."""
    monkeypatch.setattr(guard_timer, "FOLDER", str(tmp_path / "systemd"))
    (tmp_path / "systemd").mkdir()
    monkeypatch.setattr(units, "CGROUP_ROOT", str(tmp_path / "cgroup"))
    group = tmp_path / "cgroup" / "worker"
    (group / "inner").mkdir(parents=True)
    texts = {
        "cgroup.procs": f"{os.getpid()}\n",
        "inner/cgroup.procs": f"{os.getppid()}\n999999999\n",
        "memory.current": "300000\n",
        "memory.stat": "anon 200000\nfile 90000\n",
        "memory.peak": "400000\n",
        "memory.swap.current": "0\n",
        "memory.high": "500000\n",
        "memory.max": "max\n",
        "memory.events": "low 0\nhigh 3\nmax 0\noom 1\noom_kill 1\n",
        "memory.pressure": "some avg10=0.00 total=12\nfull avg10=0.00 total=3\n",
        "io.pressure": "some avg10=0.00 total=5\nfull avg10=0.00 total=0\n",
    }
    for name, text in texts.items():
        (group / name).write_text(text)
    host.answers[("systemctl", "--no-pager", "--no-ask-password")] = (0, "")
    host.answers[("journalctl", "-q", "-n", "0", "--show-cursor")] = (0, "-- cursor: s=1;i=1\n")
    show(host)
    monkeypatch.setattr(journal, "follow", lambda *args, **more: Ended(0, ""))
    monkeypatch.setattr(webhook, "SETTING", str(tmp_path / "webhook"))
    monkeypatch.setattr(textfile, "SETTING", str(tmp_path / "textfile"))
    sampler_timer.start(host, UNIT, PATHS)
    return host


def show(host: Host, **more: str) -> None:
    seen = {
        "ActiveState": "active",
        "SubState": "running",
        "Result": "success",
        "InvocationID": INVOCATION,
        "NRestarts": "0",
        "MainPID": str(os.getpid()),
        "ControlGroup": "/worker",
        "StatusText": status(active="active=2", queues="queues=1 waiting:celery=3"),
        **more,
    }
    text = "".join(f"{name}={value}\n" for name, value in seen.items())
    host.answers[("systemctl", "show")] = (0, text)


def status(active: str = "active=2", queues: str = "", age: float = 0) -> str:
    words = f"at={time.monotonic() - age:.0f} {active} processed=120 {queues}".strip()
    return f"Consuming from celery [{words}]"


def lines(host: Host) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = samples.page(host.state, UNIT, None)["samples"]
    return found


# --- a sample ----------------------------------------------------------------------------------


def test_a_sample_has_what_the_host_knows(here: Host) -> None:
    work.tick(here)
    work.tick(here)
    first, second = lines(here)
    assert first["journal"] is None
    assert second["journal"] == {
        "errors": 0,
        "tracebacks": 0,
        "rateLimited": 0,
        "dropped": 0,
        "unread": False,
    }
    assert second["changing"] is False
    assert second["v"] == 1 and abs(second["at"] - time.time()) < 600
    assert second["boot"] == Path(reading.BOOT_ID).read_text().strip()
    assert second["uptime"] > 0
    assert second["unit"] == {
        "active": "active",
        "sub": "running",
        "invocation": INVOCATION,
        "restarts": 0,
        "result": "success",
    }
    memory = second["memory"]
    assert memory["main"] > 0 and memory["children"] > 0
    del memory["main"], memory["children"]
    assert memory == {
        "current": 300000,
        "anon": 200000,
        "peak": 400000,
        "swap": 0,
        "high": 500000,
        "max": None,
    }
    assert second["events"] == {"high": 3, "max": 0, "oom": 1, "oomKill": 1}
    assert second["pressure"] == {
        "memory": {"some": 12, "full": 3},
        "io": {"some": 5, "full": 0},
    }
    assert second["worker"] == {"queues": {"celery": 3}, "active": 2, "processed": 120}
    assert second["host"]["available"] > 0
    assert second["disk"][0]["path"] == "/" and second["disk"][0]["size"] > 0
    assert "/nowhere" not in [each["path"] for each in second["disk"]]
    assert len(json.dumps(second)) < 1000


def test_what_is_not_known_is_null(here: Host, tmp_path: Path) -> None:
    show(here, ControlGroup="", MainPID="0", StatusText="", ActiveState="inactive")
    work.tick(here)
    here.answers[("systemctl", "show")] = (1, "")
    here.run = failing(here)  # type: ignore[method-assign]
    work.tick(here)
    stopped, unknown = lines(here)
    assert stopped["unit"]["active"] == "inactive"
    for name in ("memory", "events", "pressure", "worker"):
        assert stopped[name] is None
        assert unknown[name] is None
    assert unknown["unit"] is None
    assert unknown["host"]["available"] > 0


def failing(host: Host) -> Any:
    usual = host.run

    def run(argv: Sequence[str], *args: Any, **more: Any) -> Any:
        if tuple(argv[:2]) == ("systemctl", "show"):
            raise OperationError("systemd does not answer")
        return usual(argv, *args, **more)

    return run


def test_too_many_processes_are_not_summed(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_PROCESSES", 1)
    work.tick(here)
    (taken,) = lines(here)
    assert (taken["memory"]["main"], taken["memory"]["children"]) == (None, None)
    assert taken["memory"]["current"] == 300000


def in_v1(tmp_path: Path) -> None:
    """As systemd mounts cgroup v1: its own tree, and one for each controller."""
    systemd = tmp_path / "cgroup" / "systemd" / "worker"
    systemd.parent.mkdir()
    (tmp_path / "cgroup" / "worker").rename(systemd)
    for each in systemd.iterdir():
        if each.name.startswith(("memory.", "io.")):
            each.unlink()


@pytest.mark.parametrize("limit", [700000, 9223372036854771712])
def test_memory_by_cgroup_v1(here: Host, tmp_path: Path, limit: int) -> None:
    in_v1(tmp_path)
    group = tmp_path / "cgroup" / "memory" / "worker"
    group.mkdir(parents=True)
    for name, value in {
        "usage_in_bytes": 300000,
        "max_usage_in_bytes": 400000,
        "memsw.usage_in_bytes": 310000,
        "limit_in_bytes": limit,
    }.items():
        (group / f"memory.{name}").write_text(f"{value}\n")
    (group / "memory.stat").write_text("rss 1\ntotal_rss 250000\n")
    work.tick(here)
    memory = lines(here)[0]["memory"]
    assert memory.pop("main") > 0 and memory.pop("children") > 0
    most = limit if limit == 700000 else None
    assert memory == {
        "current": 300000,
        "anon": 250000,
        "peak": 400000,
        "swap": 10000,
        "high": None,
        "max": most,
    }


def test_memory_that_nobody_counts_is_summed(here: Host, tmp_path: Path) -> None:
    in_v1(tmp_path)
    work.tick(here)
    memory = lines(here)[0]["memory"]
    assert memory["current"] == memory["main"] + memory["children"] > 0
    assert [memory[name] for name in ("anon", "peak", "swap", "high", "max")] == [None] * 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Consuming from celery",
        "[at=]",
        status(active="active=x"),
        status(active="active=-1"),
        status(active="active=9999999999"),
        status() + "x",
        status() + "\x1b[2J",
        status(age=1000),
        # Hours later, too: the tests may take long.
        status(age=-1_000_000),
        status()[:-1],
        " [at=" + "9" * 400 + " active=1]",
        "x" * (1024 * 1024) + status(),
        " [at=1" * 1300,
    ],
)
def test_a_status_that_is_no_report(text: str) -> None:
    assert reading.worker(text, time.monotonic()) is None


def test_a_hostile_report_gives_numbers_of_queues_only() -> None:
    queues = " ".join(
        [
            "waiting:a%20b%3D=1",
            "waiting:%ff%00%1b=2",
            "waiting:=3",
            "waiting:x=-1",
            "waiting:y=1e9",
            "waiting:z=" + "9" * 16,
            "waiting:../etc=4",
            *(f"waiting:q{number}=5" for number in range(100)),
            f"queues={reading.MOST_QUEUES}",
        ]
    )
    found = reading.worker(status(queues=queues), time.monotonic())
    assert found is not None
    assert len(found["queues"]) == reading.MOST_QUEUES
    assert found["queues"]["a b="] == 1
    assert found["queues"]["\ufffd\x00\x1b"] == 2
    assert set(found["queues"].values()) <= {1, 2, 5}
    json.dumps(found).encode("ascii")


@pytest.mark.parametrize("queues", ["", "waiting:a=1", "queues=2 waiting:a=1", "queues=x"])
def test_a_part_of_the_queues_is_not_known(queues: str) -> None:
    found = reading.worker(status(queues=queues), time.monotonic())
    assert found == {"queues": None, "active": 2, "processed": 120}
    none = reading.worker(status(queues="queues=0"), time.monotonic())
    assert none is not None and none["queues"] == {}


# --- ticks -------------------------------------------------------------------------------------


def test_a_sample_says_that_a_run_changes_the_host(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = os.open(lock_file.path(here.state), os.O_RDWR | os.O_CREAT, 0o600)
    assert lock_file.taken(handle, fcntl.LOCK_EX)
    work.tick(here)
    with monkeypatch.context() as patched:
        usual = reading.unit_states

        def states(*args: Any) -> Any:
            found = usual(*args)
            # The run ends after systemd was asked.
            os.close(handle)
            return found

        patched.setattr(reading, "unit_states", states)
        work.tick(here)
    work.tick(here)
    assert [each["changing"] for each in lines(here)] == [True, True, False]


def test_a_sample_names_the_release_that_runs(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(ident: str, unit: str = UNIT) -> None:
        ledger.record(here.state, ident, plan_of(unit))
        work.tick(here)

    work.tick(here)
    record("t1", "other.service")
    record("t1")
    record("t2")
    with monkeypatch.context() as patched:
        # What has not changed is not read again.
        patched.setattr(ledger, "current", lambda state, unit: 99)
        work.tick(here)
    ledger.judge(here.state, UNIT, ["t2"], "rolled-back", "anna", "")
    work.tick(here)
    assert [each["release"] for each in lines(here)] == [None, None, 1, 2, 2, 1]


def test_a_ledger_that_cannot_be_read_leaves_the_release_unknown(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(state: str, unit: str) -> None:
        raise OSError(errno.EIO, "")

    ledger.record(here.state, "t1", plan_of(UNIT))
    with monkeypatch.context() as patched:
        patched.setattr(ledger, "current", broken)
        work.tick(here)
    work.tick(here)
    assert [each["release"] for each in lines(here)] == [None, 1]


def test_two_samplers_do_not_run_at_once(here: Host) -> None:
    handle = os.open(os.path.join(here.state, work.LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    work.tick(here)
    assert lines(here) == []
    os.close(handle)
    work.tick(here)
    assert len(lines(here)) == 1


def test_a_unit_that_fails_does_not_stop_the_others(
    here: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sampling.want(here.state, "a.service", [])
    usual = reading.sample

    def sample(host: Host, unit: str, *more: Any) -> Any:
        if unit == "a.service":
            raise RuntimeError("broken")
        return usual(host, unit, *more)

    monkeypatch.setattr(reading, "sample", sample)
    here.answers[("systemctl", "show")] = (0, "ActiveState=active\n\nActiveState=failed\n")
    work.tick(here)
    assert [each["unit"]["active"] for each in lines(here)] == ["failed"]
    assert "<4>celeriac: no sample of a.service: " in capsys.readouterr().err


def test_units_that_had_no_turn_are_first_next_time(
    here: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sampler_timer.start(here, "other.service", PATHS)
    monkeypatch.setattr(work, "TICK_SECONDS", -1.0)
    work.tick(here)
    assert "the others took" in capsys.readouterr().err
    taken: List[str] = []

    def sample(host: Host, unit: str, *args: Any) -> Any:
        taken.append(unit)
        raise OSError(errno.EIO, "slow")

    sampling.see(here.state, UNIT, {"at": time.time()})
    monkeypatch.setattr(work, "TICK_SECONDS", 30.0)
    monkeypatch.setattr(reading, "sample", sample)
    work.tick(here)
    assert taken == ["other.service", UNIT]


def test_a_file_system_that_may_never_answer_is_not_asked(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = mounts.all_mounts(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /proc rw - nfs4 server:/a rw\n"
    )
    monkeypatch.setattr(mounts, "mounted", lambda: seen)
    assert [each["path"] for each in reading._disks(PATHS)] == ["/"]


def test_a_damaged_memory_of_the_last_tick_costs_nothing_more(here: Host) -> None:
    work.tick(here)
    place = Path(here.state) / "sampled" / (UNIT + ".seen")
    for text in ("", "[1]", '{"cursor": 5, "ticks": "x", "totals": 3, "last": [], "told": 1}'):
        place.write_text(text)
        work.tick(here)
    assert [each["journal"] for each in lines(here)] == [None] * 4


def test_a_full_disk_costs_samples_and_nothing_else(
    here: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(samples, "append", full)
        patched.setattr(sampling, "see", full)
        work.tick(here)
    assert "No space left" in capsys.readouterr().err
    work.tick(here)
    assert len(lines(here)) == 1


def test_no_room_for_the_lock_is_said_and_fails_no_unit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(work, "tick", full)
    work.main(["sample"])
    assert capsys.readouterr().err == "<4>celeriac: no samples: No space left on device\n"


def test_it_ends_when_nobody_judges(here: Host, capsys: pytest.CaptureFixture[str]) -> None:
    work.tick(here)
    seen = sampling.seen(here.state, UNIT)
    sampling.see(here.state, UNIT, {**seen, "ticks": work.LONGEST_TICKS - 1})
    work.tick(here)
    assert not sampling.is_wanted(here.state, UNIT)
    assert not sampler_timer.is_armed()
    assert "nobody judged" in capsys.readouterr().err
    assert len(lines(here)) == 2


# --- arming ------------------------------------------------------------------------------------


def test_the_timer_goes_with_the_last_unit(here: Host) -> None:
    sampler_timer.start(here, "b.service", [])
    assert sampler_timer.stop(here, UNIT)
    assert sampler_timer.is_armed()
    assert sampler_timer.stop(here, "b.service")
    assert not sampler_timer.is_armed()
    assert not sampler_timer.stop(here, "b.service")
    assert any(
        words[3:] == ["stop", "--no-block", "--", "celeriac-sampler.timer"] for words in here.asked
    )


LIMITS = {"failureLimit": 2, "consecutive": 0, "rateLimitMax": 4, "errorRateMax": None}


def operation(*paths: str, hours: float = 24, **more: Any) -> Dict[str, Any]:
    wanted = hours * 3600
    about = {"unit": UNIT, "paths": list(paths), "soakSeconds": wanted}
    return {"op": "start-sampler", **about, **more}


def recorded(seconds: Any, limits: Any = None, sampling: bool = True) -> Dict[str, Any]:
    return {"sampling": sampling, "soakSeconds": seconds, "soakLimits": limits}


def test_an_undo_returns_to_the_release_before(here: Host, journal_folder: str) -> None:
    sampler_timer.stop(here, UNIT)
    journals = [Journal(journal_folder).step(index) for index in (0, 1)]
    first = {**LIMITS, "failureLimit": 0}
    start_sampler.do(operation("/", limits=first), here, journals[0])
    start_sampler.do(operation("/", "/var", hours=168, limits=LIMITS), here, journals[1])
    assert (sampling.read(here.state, UNIT) or {})["paths"] == ["/", "/var"]
    assert sampling.fact(here.state, UNIT) == recorded(168 * 3600, LIMITS)
    assert start_sampler.undo(operation(), here, journals[1]) is not None
    assert (sampling.read(here.state, UNIT) or {})["paths"] == ["/"]
    assert sampling.fact(here.state, UNIT) == recorded(24 * 3600, first)
    assert sampler_timer.is_armed()
    for _ in range(2):
        assert start_sampler.undo(operation(), here, journals[0]) is not None
        assert not sampling.is_wanted(here.state, UNIT)
        assert not sampler_timer.is_armed()


def test_an_undo_of_what_did_not_begin(here: Host, journal_folder: str) -> None:
    step = Journal(journal_folder).step(0)
    assert start_sampler.undo(operation(), here, step) is None
    assert sampling.is_wanted(here.state, UNIT)


def test_the_length_of_a_soak_that_is_not_recorded_is_not_known(here: Host) -> None:
    path = os.path.join(here.state, "sampled", UNIT + ".json")
    for record in ({}, {"soakSeconds": "24"}, {"soakSeconds": -1}, {"soakSeconds": True}):
        with open(path, "w", encoding="ascii") as file:
            json.dump({"unit": UNIT, "paths": ["/"], **record}, file)
        assert sampling.fact(here.state, UNIT) == recorded(None)
    sampling.forget(here.state, UNIT)
    assert sampling.fact(here.state, UNIT) == recorded(None, sampling=False)


@pytest.mark.parametrize(
    "change",
    [
        {"failureLimit": None},
        {"failureLimit": -1},
        {"consecutive": 1.5},
        {"consecutive": True},
        {"rateLimitMax": "4"},
        {"errorRateMax": -1},
    ],
)
def test_a_limit_that_cannot_be_right_is_missing_and_the_others_stay(
    here: Host, change: Dict[str, Any]
) -> None:
    others = {name: value for name, value in LIMITS.items() if name not in change}
    for damaged in ({**LIMITS, **change}, others):
        sampling.want(here.state, UNIT, ["/"], 3600, damaged)
        assert sampling.fact(here.state, UNIT) == recorded(3600, others)


@pytest.mark.parametrize("damaged", [[], "x", 5, True, {}])
def test_limits_of_which_none_can_be_read_were_recorded_all_the_same(
    here: Host, damaged: Any, journal_folder: str
) -> None:
    sampling.want(here.state, UNIT, ["/"], 3600, damaged)
    assert sampling.fact(here.state, UNIT) == recorded(3600, {})
    # So they are after an undo.
    step = Journal(journal_folder).step(0)
    start_sampler.do(operation("/", limits=LIMITS), here, step)
    start_sampler.undo(operation("/"), here, step)
    assert sampling.fact(here.state, UNIT) == recorded(3600, {})


def test_an_older_version_finds_in_the_record_what_it_reads(here: Host) -> None:
    sampling.want(here.state, UNIT, ["/"], 3600, LIMITS)
    record = sampling.read(here.state, UNIT) or {}
    assert [record["unit"], record["paths"], record["soakSeconds"]] == [UNIT, ["/"], 3600]
    # What one leaves, which does not know the limits.
    del record["soakLimits"]
    with open(os.path.join(here.state, "sampled", UNIT + ".json"), "w", encoding="ascii") as file:
        json.dump(record, file)
    assert sampling.fact(here.state, UNIT) == recorded(3600)


def test_an_undo_of_what_an_earlier_version_kept(here: Host, journal_folder: str) -> None:
    step = Journal(journal_folder).step(0)
    step.keep("sampled", {"paths": ["/"]})
    for undone in (start_sampler, stop_sampler):
        assert undone.undo(operation(), here, step) is not None
        assert sampling.fact(here.state, UNIT) == recorded(None)


def test_a_new_release_begins_anew(here: Host, journal_folder: str) -> None:
    work.tick(here)
    work.tick(here)
    step = Journal(journal_folder).step(0)
    start_sampler.do(operation("/"), here, step)
    before = sampling.seen(here.state, UNIT)
    assert (before["ticks"], bool(before["cursor"])) == (2, True)
    work.tick(here)
    assert sampling.seen(here.state, UNIT)["ticks"] == 1
    work.tick(here)
    # So does the one before, if it comes back: its soak begins anew.
    start_sampler.undo(operation("/"), here, step)
    work.tick(here)
    assert sampling.seen(here.state, UNIT)["ticks"] == 1


def test_a_release_that_is_not_soaked_ends_them_and_its_undo_goes_on(
    here: Host, journal_folder: str
) -> None:
    args, step = {"op": "stop-sampler", "unit": UNIT}, Journal(journal_folder).step(0)
    before = sampling.read(here.state, UNIT)
    assert stop_sampler.undo(args, here, step) is None
    assert not stop_sampler.check(args, here)
    stop_sampler.do(args, here, step)
    assert stop_sampler.check(args, here)
    assert not sampler_timer.is_armed()
    for _ in range(2):
        assert stop_sampler.undo(args, here, step) is not None
        again = sampling.read(here.state, UNIT)
        assert before and again and {**again, "begun": before["begun"]} == before
        assert sampler_timer.is_armed()


@pytest.fixture
def journal_folder(journal: Journal) -> str:
    return journal.folder


# --- the journal -------------------------------------------------------------------------------


def entry(message: Any, **more: Any) -> bytes:
    return json.dumps({"MESSAGE": message, "__CURSOR": f"s=1;i={message}", **more}).encode()


def count(host: Host, monkeypatch: pytest.MonkeyPatch, *entries: bytes) -> Any:
    asked: List[Sequence[str]] = []

    def follow(host: Host, argv: Sequence[str], take: Any, *_: Any, **__: Any) -> Ended:
        asked.append(argv)
        for each in entries:
            take(each)
        return Ended(0, "")

    monkeypatch.setattr(journal, "follow", follow)
    found = journal.count(host, UNIT, "s=1;i=1")
    assert "--after-cursor=s=1;i=1" in asked[0]
    return found


def test_lines_are_counted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, cursor = count(
        host,
        monkeypatch,
        entry("[2026-01-18 11:02:03,123: ERROR/MainProcess] boom", _PID="1"),
        # The traceback of another process comes in between: two errors.
        entry("Traceback (most recent call last):", _PID="2"),
        entry("[2026-01-18 11:02:03,123: INFO/MainProcess] ERROR is a word", _PID="1"),
        entry('  File "/srv/app/tasks.py", line 3, in run', _PID="2"),
        entry("ValueError: 7", _PID="2"),
        entry(list(b"HTTP 429 \xff")),
        entry("429 Too Many Requests"),
        entry("order 429 took 429 ms, 4290 rows, status 200"),
        entry("Suppressed 12 messages from celery-worker.service", MESSAGE_ID=journal.DROPPED_ID),
        entry("Suppressed 99 messages from other.service", MESSAGE_ID=journal.DROPPED_ID),
        entry("Suppressed 99 messages from celery-worker.service"),
        b"no json",
        b"[" * 5000,
        entry("the last"),
    )
    assert counts == {
        "errors": 2,
        "tracebacks": 1,
        "rateLimited": 2,
        "dropped": 12,
        "unread": False,
    }
    assert cursor == "s=1;i=the last"


def test_lines_that_are_not_parsed_count_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [
        "[2026-01-18 11:02:03,123: ERROR/MainProcess] boom",
        "[2026-01-18 11:02:03,123: INFO/MainProcess] fine",
        "Traceback (most recent call last):",
        '  File "/srv/app/tasks.py", line 3, in run',
        "ValueError: 7",
        "plain",
        "status=429",
    ]
    chosen = random.Random(7)
    for _ in range(50):
        some = [entry(chosen.choice(texts), _PID=chosen.choice("12")) for _ in range(40)]
        found = count(host, monkeypatch, *some)
        with monkeypatch.context() as every:
            every.setattr(journal, "MAY_COUNT", (b"",))
            assert count(host, monkeypatch, *some) == found


def test_a_line_that_is_cut_off_moves_the_cursor(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = [
        b'{"__CURSOR":"s=1;i=8","MESSAGE":"\\"__CURSOR\\":\\"s=1;i=0\\" and',
        b'{"MESSAGE":"a line that says \\"__CURSOR\\":',
    ]
    assert count(host, monkeypatch, entry("7"), *cut)[1] == "s=1;i=8"


def test_no_new_line_keeps_the_cursor(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert count(host, monkeypatch)[1] == "s=1;i=1"


def test_a_flood_is_a_lower_bound(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.answers[("journalctl", "-q", "-n", "0", "--show-cursor")] = (0, "-- cursor: end\n")

    def follow(host: Host, argv: Sequence[str], take: Any, *_: Any, most: Any) -> Ended:
        assert most.lines < 10_000 and most.total_bytes < 10 * 1024 * 1024
        take(entry("Traceback (most recent call last):"))
        raise OperationError("it printed more")

    monkeypatch.setattr(journal, "follow", follow)
    counts, cursor = journal.count(host, UNIT, "s=1;i=1")
    assert counts == {
        "errors": 1,
        "tracebacks": 1,
        "rateLimited": 0,
        "dropped": 0,
        "unread": True,
    }
    assert cursor == "end"


def test_a_journal_that_cannot_be_read_is_unknown(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers[("journalctl", "-q", "-n", "0", "--show-cursor")] = (0, "-- cursor: end\n")
    for ended in (Ended(1, "Failed to seek"), Ended(None, "")):
        monkeypatch.setattr(journal, "follow", lambda *_, ended=ended, **__: ended)
        assert journal.count(host, UNIT, "s=1;i=1") == (None, "end")


# --- failures ----------------------------------------------------------------------------------


def taken(**unit: Any) -> Dict[str, Any]:
    oom = unit.pop("oomKill", 0)
    at = unit.pop("uptime", 1000.0)
    return {
        "boot": "b",
        "uptime": at,
        "unit": {
            "active": "active",
            "sub": "running",
            "invocation": INVOCATION,
            "restarts": 0,
            "result": "success",
            **unit,
        },
        "events": {"high": 0, "max": 0, "oom": 0, "oomKill": oom},
    }


def find(
    before: Dict[str, Any], now: Dict[str, Any], changing: bool = False, told: Any = None
) -> Any:
    last = {"unit": before["unit"], "oomKill": before["events"]["oomKill"]}
    return failures.find(now, {"last": last, "told": told}, changing)


def test_a_failure_is_told_once(here: Host) -> None:
    events, told = find(taken(), taken(oomKill=2))
    assert events == ["2 processes killed: out of memory"]
    assert find(taken(oomKill=2), taken(oomKill=3, uptime=1060.0), told=told)[0] == []
    assert find(taken(), taken(oomKill=1, uptime=2000.0), told=told)[0] != []


def test_what_is_a_failure() -> None:
    assert find(taken(), taken(restarts=1))[0] == ["restarted by systemd once"]
    assert find(taken(), taken(active="failed", result="oom-kill"))[0] == [
        "not running any more: failed (oom-kill)"
    ]
    assert find(taken(), taken(active="activating"))[0] == []
    assert find(taken(active="failed"), taken(active="failed"))[0] == []
    # A new start counts anew.
    assert find(taken(oomKill=0), taken(oomKill=1, invocation="f" * 32))[0] == []
    assert failures.find(taken(), {}, False) == ([], {})


def test_what_a_run_stops_has_not_failed() -> None:
    assert find(taken(), taken(active="inactive", restarts=1), changing=True)[0] == []
    assert find(taken(), taken(oomKill=1), changing=True)[0] != []


def test_a_failure_is_told_even_if_systemd_was_silent_in_between(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: List[Any] = []
    monkeypatch.setattr(webhook, "tell", lambda host, event: said.append(event["what"]))
    work.tick(here)
    with monkeypatch.context() as patched:
        patched.setattr(here, "run", failing(here))
        work.tick(here)
    show(here, NRestarts="2")
    work.tick(here)
    work.tick(here)
    assert said == ["restarted by systemd 2 times"]
