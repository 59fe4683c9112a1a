"""What an app's own process tells about its broker and its beat, and which beats run here."""

from __future__ import annotations

import datetime
import os
import socket
import sqlite3
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
from celeriac_host.app import listener
from celeriac_host.app.programs import queues
from celeriac_host.app.programs.app_side import Problem
from celeriac_host.facts import beats, broker
from celeriac_host.system import processes
from celeriac_host.system.processes import Process
from hosts import Host

HERE = f"celery@{socket.gethostname()}"
REQUEST: Dict[str, Any] = {
    "queues": ["celery", "links"],
    "mainPid": 812,
    "children": [],
    "argv": [],
    "beat": None,
}


class NotFound(Exception):
    def __init__(self, code: Any = 404) -> None:
        super().__init__("NOT_FOUND")
        self.reply_code = code


class Refused(Exception):
    pass


class Side:
    """An app with a Redis, and a worker that consumes `active`."""

    def __init__(self, active: List[str] | None = None, **lengths: Any) -> None:
        self.lengths = lengths
        self.active = active
        self.index: List[Any] = []
        self.conf: Dict[str, Any] = {}
        self.queues = SimpleNamespace(aliases={}, consume_from={})

    def connection(self) -> Any:
        def declare(queue: str, passive: bool) -> Any:
            assert passive
            found = self.lengths.get(queue, NotFound())
            if isinstance(found, Exception):
                raise found
            return SimpleNamespace(message_count=found)

        channel = SimpleNamespace(queue_declare=declare, close=lambda: None)
        redis = SimpleNamespace(client=SimpleNamespace(connection_pool=None))
        redis.unacked_index_key = "unacked_index"
        return SimpleNamespace(
            channel=lambda: channel,
            channel_errors=(NotFound,),
            close=lambda: None,
            default_channel=redis,
            transport=SimpleNamespace(driver_type="redis"),
        )

    def broadcast(self, command: str, **more: Any) -> List[Dict[str, Any]]:
        if self.active is None:
            return []
        answers = {
            "stats": {"pid": 812},
            "active_queues": [{"name": name} for name in self.active],
        }
        if more.get("callback"):
            more["callback"]({HERE: answers[command]})
        return [{HERE: answers[command]}]

    def run(self, monkeypatch: pytest.MonkeyPatch, **request: Any) -> Dict[str, Any]:
        index = self.index
        client = SimpleNamespace(
            zrange=lambda key, *_, withscores: index[:1], zcard=lambda key: len(index)
        )
        redis = SimpleNamespace(Redis=lambda connection_pool: client)
        monkeypatch.setattr(queues, "import_module", lambda name: redis)
        monkeypatch.setattr(queues, "connect", lambda app: self.connection())
        monkeypatch.setattr(queues, "delivery", lambda app: {"seconds": 3600.0})
        app = SimpleNamespace(control=self, amqp=self, conf=SimpleNamespace(**self.conf))
        line = SimpleNamespace(tell=lambda *_: None)
        return queues.told(app, {**REQUEST, **request}, line)  # type: ignore[arg-type]


def test_lengths_unacked_and_the_queues_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(["celery"], celery=7)
    side.index = [(b"t", 1.0), (b"u", 2.0)]
    monkeypatch.setattr("celeriac_host.app.programs.queues.time.time", lambda: 61.0)
    found = side.run(monkeypatch)
    assert found["lengths"] == {"celery": 7, "links": 0}
    assert (found["unacked"], found["oldestUnackedSeconds"]) == (2, 60.0)
    assert (found["active"], found["silence"]) == (["celery"], None)
    assert found["redeliverySeconds"] == 3600.0


def test_queues_that_each_process_names_by_itself_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As kombu.common.Broadcast names them; with a name of their own, they are as all others.
    here, there = (f"bcast.{uuid.uuid4()}" for _ in range(2))
    side = Side(["celery", "real", there, f"mine.{uuid.uuid4()}"], celery=7)
    side.queues.aliases = {
        "everyone": SimpleNamespace(name=here),
        "alias": SimpleNamespace(name="real"),
    }
    found = side.run(monkeypatch, queues=["celery", "everyone", "alias"])
    assert found["lengths"] == {"celery": 7, "real": 0}
    assert found["active"] == ["celery", "real"]
    side.queues.consume_from = {"celery": None, here: None}
    assert side.run(monkeypatch, queues=None)["lengths"] == {"celery": 7}


def test_a_worker_that_does_not_answer_is_not_one_without_queues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Side(None).run(monkeypatch)
    assert found["active"] is None
    assert "does not answer Celery's remote control" in found["silence"]
    assert (found["unacked"], found["oldestUnackedSeconds"]) == (0, None)
    assert Side().run(monkeypatch, mainPid=0)["silence"] == "the worker is not running"


def test_a_missing_queue_is_empty_with_each_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(["celery"], celery=NotFound(404), links=NotFound("404"))
    assert side.run(monkeypatch)["lengths"] == {"celery": 0, "links": 0}


def test_a_broker_that_refuses_to_count_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match="the broker refused to count celery: NotFound"):
        Side(celery=NotFound(403)).run(monkeypatch)


def test_a_broker_that_is_gone_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Side(celery=Refused("connection reset")).run(monkeypatch)
    assert lost["unreachable"] == "the broker failed: Refused: connection reset"

    def gone(app: Any) -> Any:
        raise Problem("cannot reach the broker redis://:sesame@127.0.0.1: refused")

    side = Side()
    monkeypatch.setattr(queues, "connect", gone)
    app = SimpleNamespace(conf={})
    line = SimpleNamespace(tell=lambda *_: None)
    found = queues.told(app, REQUEST, line)  # type: ignore[arg-type]
    assert found == {
        "unreachable": "cannot reach the broker redis://:**@127.0.0.1: refused",
        "beat": None,
    }
    assert side.lengths == {}


# --- beat's schedule ------------------------------------------------------------------------------


def schedule(folder: Path, beat: Dict[str, Any] | None = None, **conf: Any) -> Dict[str, Any]:
    settings = {
        "beat_scheduler": "celery.beat:PersistentScheduler",
        "beat_schedule_filename": "celerybeat-schedule",
        "beat_schedule": {},
        **conf,
    }
    asked = {"directory": str(folder), "schedule": None, "scheduler": None, **(beat or {})}
    return queues.schedule(SimpleNamespace(conf=SimpleNamespace(**settings)), asked)


@pytest.mark.parametrize("suffix", ["", ".db", ".dat"])
def test_the_newest_file_of_the_schedule_counts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"celerybeat-schedule{suffix}"
    path.write_bytes(b"")
    os.utime(path, (5000, 5000))
    every = {
        "a": {"schedule": 90.0},
        "b": {"schedule": datetime.timedelta(seconds=30)},
        "c": {"schedule": SimpleNamespace(run_every=datetime.timedelta(hours=1))},
        "d": {"schedule": SimpleNamespace(hour={3})},
    }
    found = schedule(tmp_path, beat_schedule=every)
    assert (found["advanced"], found["everySeconds"], found["problem"]) == (5000, 30.0, None)


def test_a_schedule_in_sqlite_advances_in_its_log(tmp_path: Path) -> None:
    path = tmp_path / "celerybeat-schedule"
    store = sqlite3.connect(path)
    store.execute("PRAGMA journal_mode = wal")
    store.execute("CREATE TABLE Dict (key BLOB, value BLOB)")
    store.commit()
    os.utime(path, (5000, 5000))
    try:
        store.execute("INSERT INTO Dict VALUES (x'00', x'00')")
        store.commit()
        assert path.stat().st_mtime == 5000
        assert schedule(tmp_path)["advanced"] > 5000
    finally:
        store.close()


def test_an_option_of_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"")
    found = schedule(tmp_path, {"schedule": "mine"})
    assert found["where"] == str(tmp_path / "mine")
    assert found["advanced"] is not None and found["everySeconds"] is None


def test_what_cannot_be_known_says_why(tmp_path: Path) -> None:
    assert schedule(tmp_path)["problem"].startswith("there is no schedule at ")
    other = schedule(tmp_path, {"scheduler": "redbeat.RedBeatScheduler"})
    assert other["problem"] == (
        "its scheduler is redbeat.RedBeatScheduler, which keeps no known file"
    )
    django = schedule(tmp_path, {"scheduler": "django"})
    assert "ModuleNotFoundError" in django["problem"]


# --- the facts ------------------------------------------------------------------------------------

SHOWN = "ActiveState=active\nMainPID=0\nInvocationID=abc\n"
ASKED = {
    "unit": "w.service",
    "interpreter": ["/usr/bin/python3"],
    "app": "shop",
    "pythonPath": [],
    "queues": None,
    "beat": None,
}


def look(host: Host, monkeypatch: pytest.MonkeyPatch, said: Dict[str, Any]) -> Dict[str, Any]:
    host.answers[("systemctl", "show")] = (0, SHOWN)
    monkeypatch.setattr(listener, "ask", lambda *_, **__: said)
    return broker.look(ASKED, host)


def test_the_fact_is_told_unreachable_or_unknown(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Dict[str, Any] = dict.fromkeys(broker.FIELDS)
    assert look(host, monkeypatch, {**whole, "beat": None})["kind"] == "told"
    gone = look(host, monkeypatch, {"unreachable": "refused", "beat": None})
    assert gone == {"kind": "unreachable", "problem": "refused", "beat": None}
    broken = look(host, monkeypatch, {"problem": "the app does not import", "evidence": []})
    assert broken == {"kind": "unknown", "problem": "the app does not import"}
    assert look(host, monkeypatch, {"beat": None})["kind"] == "unknown"


def test_beats_are_found_with_their_units(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def process(pid: int, parent: int, line: str, state: str = "S") -> Process:
        return processes.read(os.getpid())._replace(  # type: ignore[union-attr]
            pid=pid, parent=parent, argv=line.split(), state=state, user="app"
        )

    beat = "/usr/bin/celery -A shop beat"
    worker = "/usr/bin/celery -A shop worker -B"
    sought = "^/usr/bin/celery\0.*(?:beat|-B)\0"
    running = [
        process(10, 1, beat),
        process(20, 1, worker),
        process(21, 20, worker),
        process(30, 1, beat, "Z"),
    ]
    monkeypatch.setattr(processes, "each", lambda: iter(running))
    groups = {10: "/system.slice/shop-beat.service", 20: "/user.slice/user-0.slice/a.scope"}
    monkeypatch.setattr(processes, "control_group", groups.get)
    monkeypatch.setattr(processes, "working_directory", lambda pid: "/srv/app")
    host.answers[("systemctl", "show")] = (
        0,
        "Id=ssh.service\nExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D ; "
        "ignore_errors=no ; }\n\n"
        "ExecStart={ path=/usr/bin/env ; argv[]=/usr/bin/env TZ=UTC /usr/bin/celery -A shop beat ; "
        "ignore_errors=no ; }\nId=shop-beat.service\nActiveState=failed\nUnitFileState=enabled\n"
        "User=app\nWorkingDirectory=!/srv/app\n",
    )
    found = beats.look({"command": sought}, host)
    assert [(each["pid"], each["unit"]) for each in found["processes"]] == [
        (10, "shop-beat.service"),
        (20, None),
    ]
    assert found["units"] == [
        {
            "unit": "shop-beat.service",
            "activeState": "failed",
            "unitFileState": "enabled",
            "user": "app",
            "workingDirectory": "/srv/app",
            "argv": ["/usr/bin/env", "TZ=UTC", *beat.split()],
        }
    ]
