"""A worker's consumers are cancelled before its unit is stopped, whatever the app does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest
from celeriac_host.app import consumers, stopping
from celeriac_host.operations import guard_unit, start_unit
from celeriac_host.state.journal import Journal
from celeriac_host.system import child, processes, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import Completed
from hosts import Host

UNIT = "worker.service"
RUN = "0123456789abcdef0123456789abcdef"
SOURCES = Path(__file__).parent.parent / "celeriac_host"

# The app's interpreter runs this instead of our program: it works as expected.
GOOD = """
import json, os, sys
request = json.loads(sys.stdin.readline())
with open(sys.argv[1], "a") as log:
    log.write(request["kind"] + " " + ",".join(request.get("queues", [])) + "\\n")
if request["kind"] == "cancel":
    print(json.dumps({"found": {"node": "w@h", "queues": %r}}), flush=True)
    sys.stdin.readline()
    with open(sys.argv[2]) as journal:
        assert '"kept"' in journal.read()
    print(json.dumps({"report": {}}))
else:
    print(json.dumps({"report": %r}))
"""


class Unit(Host):
    """A host with one running unit; `problem` is systemd's error at its stop."""

    def __init__(
        self,
        state: str,
        active: str = "active",
        problem: str = "",
        user: str = "",
        main: int = os.getpid(),
    ) -> None:
        super().__init__(state)
        self.problem = problem
        shown = {
            "LoadState": "loaded",
            "ActiveState": active,
            "MainPID": str(main) if active == "active" else "0",
            "User": user,
            "InvocationID": RUN,
        }
        self.answers[("systemctl", "show")] = (0, "\n".join(f"{k}={v}" for k, v in shown.items()))
        self.answers[("systemctl", "show-environment")] = (0, "")
        self.told: List[str] = []
        self.waited: List[float] = []

    def run(self, argv: Sequence[str], *args: Any, **more: Any) -> Completed:
        verb = argv[3] if argv[:1] == ["systemctl"] and len(argv) > 3 else ""
        if verb not in ("stop", "restart"):
            return super().run(argv, *args, **more)
        self.told.append(verb)
        self.waited.append(more["timeout"])
        if self.problem:
            raise OperationError(self.problem, ran=argv)
        return Completed(argv, 0, "", "", False)


class App:
    """The app of the unit; its interpreter runs this text instead of the given program."""

    def __init__(self, folder: Path, journal: Journal, text: str) -> None:
        self.log = folder / "asked"
        program = folder / "program.py"
        program.write_text(text)
        interpreter = [sys.executable, "-I", str(program), str(self.log), journal.path]
        self.args: Dict[str, Any] = {
            "unit": UNIT,
            "interpreter": interpreter,
            "app": "app",
            "pythonPath": [],
        }

    def asked(self) -> List[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def kept(journal: Journal) -> List[Any]:
    return [each["value"] for each in journal.entries() if each["event"] == "kept"]


@pytest.fixture(autouse=True)
def short(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the timeouts that apply on a host."""
    monkeypatch.setattr(consumers, "IMPORT_SECONDS", 1.0)
    monkeypatch.setattr(consumers, "CANCEL_SECONDS", 0.5)
    monkeypatch.setattr(child, "END_GRACE_SECONDS", 0.2)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long timeouts, for programs that end by themselves on slow machines."""
    monkeypatch.setattr(consumers, "IMPORT_SECONDS", 60.0)


def test_cancelled_then_stopped(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    host, app = Unit(state), App(tmp_path, journal, GOOD % (["a", "b"], {}))
    stopped = stopping.stop(app.args, host, journal.step(0), 60)
    assert (stopped.remark, host.told, app.asked()) == ("", ["stop"], ["cancel "])
    worker = {"node": "w@h", "queues": ["a", "b"], "byRun": False, "invocation": RUN}
    assert kept(journal) == [worker]
    # The consumers of the same run are not cancelled again.
    assert stopping.restart(app.args, host, journal.step(1), 60).remark == ""
    assert (host.told, app.asked()) == (["stop", "restart"], ["cancel "])


def test_nothing_is_cancelled_if_nothing_runs(state: str, journal: Journal, tmp_path: Path) -> None:
    host, app = Unit(state, active="inactive"), App(tmp_path, journal, GOOD % ([], {}))
    assert stopping.stop(app.args, host, journal.step(0), 60).remark == ""
    assert (host.told, app.asked(), kept(journal)) == (["stop"], [], [])


SAY = "import json, os, signal, time\nsay = lambda **what: print(json.dumps(what), flush=True)\n"
HOSTILE = {
    "never ends": "signal.signal(15, signal.SIG_IGN); time.sleep(3600)",
    "closes its pipes and never ends": "[os.close(n) for n in range(3)]; time.sleep(3600)",
    "fills stdout": "while True: os.write(1, b'x' * 65536)",
    "fills stderr": "while True: os.write(2, b'x' * 65536)",
    "talks for ever": "while True: say(stage='s')",
    "asks for ever": "while True: say(found={'node': 'w@h', 'queues': ['q']})",
    "nests deeply": "print('[' * 1000000, flush=True); print('{' * 1000000)",
    "ends at once": "",
    "fails": "raise SystemExit('no')",
    "names no worker": "say(found=5)",
    "names no queues": "say(found={'node': 'w@h', 'queues': 'q'})",
    "names too many queues": "say(found={'node': 'w@h', 'queues': ['q'] * 100000})",
    "names a long queue": "say(found={'node': 'w@h', 'queues': ['q' * 100000]})",
    "reports nonsense": "say(report=[1, 2])",
    "reports a page": "say(report={'problem': 'x\\n::error::' * 100000})",
    "speaks in tongues": "os.write(1, bytes(range(256)) * 100)",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_stopped_whatever_the_app_does(
    how: str, state: str, journal: Journal, tmp_path: Path
) -> None:
    host, app = Unit(state), App(tmp_path, journal, SAY + HOSTILE[how])
    stopped = stopping.stop(app.args, host, journal.step(0), 60)
    assert host.told == ["stop"]
    said = re.fullmatch(
        r"; could not cancel its consumers first \((.+)\):"
        r" a task that was sent at that moment may be lost",
        stopped.remark,
    )
    assert said and len(said.group(1)) < 400
    assert any("could not cancel its consumers" in note for note in host.notes)
    assert len(kept(journal)) == (1 if how == "asks for ever" else 0)


def test_stopped_when_the_plan_names_no_app(state: str, journal: Journal) -> None:
    host = Unit(state)
    stopped = stopping.stop({"unit": UNIT}, host, journal.step(0), 60)
    assert "the plan does not say which app the worker runs" in stopped.remark
    assert host.told == ["stop"]


def test_stopped_when_the_interpreter_is_gone(state: str, journal: Journal) -> None:
    host = Unit(state)
    args = {"unit": UNIT, "interpreter": ["/no/python"], "app": "app", "pythonPath": []}
    assert "could not start /no/python" in stopping.stop(args, host, journal.step(0), 60).remark
    assert host.told == ["stop"]


@pytest.mark.parametrize(("user", "told"), [("", "the worker's"), ("nobody", "the unit's")])
def test_the_program_gets_the_environment_of_the_worker(
    patient: None, user: str, told: str, state: str, journal: Journal, open_folder: Path
) -> None:
    log = open_folder / "log"
    log.touch()
    log.chmod(0o666)
    program = open_folder / "program.sh"
    program.write_text(f"""echo "$BROKER$NOTIFY_SOCKET" >{log}; echo '{{"report": {{}}}}'""")
    environment = {"INVOCATION_ID": RUN, "BROKER": "the worker's", "NOTIFY_SOCKET": "!"}
    with subprocess.Popen(["/bin/sleep", "3600"], env=environment) as worker:
        host = Unit(state, user=user, main=worker.pid)
        host.answers[("systemctl", "show-environment")] = (0, "BROKER=the unit's\n")
        args = {"unit": UNIT, "interpreter": ["/bin/sh", str(program)], "app": "app"}
        stopped = stopping.stop({**args, "pythonPath": []}, host, journal.step(0), 60)
        worker.kill()
    # The environment of another user's process is not used.
    assert (stopped.remark, log.read_text()) == ("", f"{told}\n")


def test_the_program_runs_where_the_worker_does_before_the_first_release(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    log, earlier = tmp_path / "log", tmp_path / "earlier"
    earlier.mkdir()
    program = tmp_path / "program.sh"
    program.write_text(f"""pwd >{log}; echo '{{"report": {{}}}}'""")
    environment = {"INVOCATION_ID": RUN, "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(["/bin/sleep", "3600"], env=environment, cwd=earlier) as worker:
        host = Unit(state, main=worker.pid)
        code, shown = host.answers[("systemctl", "show")]
        shown += "\nWorkingDirectory=/srv/shop/current/backend"
        host.answers[("systemctl", "show")] = (code, shown)
        args = {"unit": UNIT, "interpreter": ["/bin/sh", str(program)], "app": "app"}
        stopped = stopping.stop({**args, "pythonPath": []}, host, journal.step(0), 60)
        worker.kill()
    assert stopped.remark == ""
    assert log.read_text() == f"{earlier}\n"


def test_after_a_failed_stop_the_worker_consumes_again(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    host = Unit(state, problem="systemctl failed: refused")
    app = App(tmp_path, journal, GOOD % (["a", "b"], {"lasting": True}))
    with pytest.raises(OperationError) as failed:
        stopping.stop(app.args, host, journal.step(0), 60)
    assert failed.value.message == "systemctl failed: refused; it consumes a, b again"
    assert app.asked() == ["cancel ", "give-back a,b"]
    # The next stop has to cancel them again.
    assert host.cancelled == {}


def test_an_idle_worker_is_reported(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    host = Unit(state, problem="systemctl failed: refused")
    app = App(tmp_path, journal, GOOD % (["a"], {"problem": "w@h does not answer"}))
    with pytest.raises(OperationError) as failed:
        stopping.stop(app.args, host, journal.step(0), 60)
    assert failed.value.message == (
        "systemctl failed: refused; it still runs, but no longer consumes a (w@h does not answer):"
        f" run `systemctl restart {UNIT}`"
    )


def test_queues_of_a_first_attempt_are_consumed_again_after_a_second(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    first = App(tmp_path, journal, GOOD % (["a", "b"], {}))
    stopping.stop(first.args, Unit(state), journal.step(0), 60)
    # Interrupted there and repeated by another process: the worker consumes nothing now.
    host = Unit(state, problem="systemctl failed: refused")
    second = App(tmp_path, journal, GOOD % ([], {"lasting": True}))
    with pytest.raises(OperationError, match=r"; it consumes a, b again$"):
        stopping.stop(second.args, host, journal.step(0), 60)
    assert second.asked()[-1] == "give-back a,b"


def test_the_undo_without_a_stop_makes_the_worker_consume_again(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    app = App(tmp_path, journal, GOOD % ([], {"lasting": False}))
    host = Unit(state)
    assert stopping.take_back(app.args, host, journal.step(0)) is None
    worker = {"node": "w@h", "queues": ["a"], "byRun": False, "invocation": RUN}
    journal.step(0).keep("worker", worker)
    said = stopping.take_back(app.args, host, journal.step(0))
    assert said == f"{UNIT} consumes a again (main {os.getpid()})"
    assert journal.step(0).get("todo").startswith(f"run `systemctl restart {UNIT}` when it is idle")
    journal.step(0).keep("worker", {**worker, "invocation": "another"})
    assert stopping.take_back(app.args, host, journal.step(0)) is None
    assert (app.asked(), host.told) == (["give-back a"], [])


def plan_of(journal: Journal, *verbs: str) -> None:
    operations = [{"op": verb, "unit": UNIT} for verb in verbs]
    Path(journal.folder, "plan.json").write_text(json.dumps({"operations": operations}))


def test_an_idle_worker_that_would_lose_its_queues_is_left_for_a_restart(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    app = App(tmp_path, journal, GOOD % ([], {"lasting": False, "given": False}))
    host = Unit(state)
    worker = {"node": "w@h", "queues": ["a"], "byRun": False, "invocation": RUN}
    journal.step(1).keep("worker", worker)
    plan_of(journal, "guard-unit", "drain-worker")
    said = stopping.take_back(app.args, host, journal.step(1), idle=True)
    assert said == f"{UNIT} is idle and will be restarted to consume a again"
    assert journal.step(1).get("todo") is None

    # The undo of guard-unit, which comes last: maybe in another process.
    was = {"ActiveState": "active", "NeedDaemonReload": "no", "InvocationID": RUN, "children": 0}
    journal.step(0).keep("was", was)
    host.answers[("systemctl", "show")] = (
        0,
        host.answers[("systemctl", "show")][1] + "\nNeedDaemonReload=no\nSubState=running",
    )
    host.answers[("systemctl", "reset-failed")] = (0, "")
    host.answers[("journalctl",)] = (0, "")
    said = guard_unit.undo(app.args, host, journal.step(0))
    assert said is not None and said.startswith(f"{UNIT} serves again")
    assert host.told == ["restart"]


def test_an_idle_worker_whose_code_does_not_import_any_more_is_not_restarted(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    unsound = GOOD.replace(
        "else:", 'elif request["orRestart"]:\n    print(\'{"report": {"problem": "no"}}\')\nelse:'
    )
    app = App(tmp_path, journal, unsound % ([], {"lasting": False}))
    host = Unit(state)
    worker = {"node": "w@h", "queues": ["a"], "byRun": False, "invocation": RUN}
    journal.step(1).keep("worker", worker)
    plan_of(journal, "guard-unit", "drain-worker")
    said = stopping.take_back(app.args, host, journal.step(1), idle=True)
    assert said == f"{UNIT} consumes a again (main {os.getpid()})"
    assert (app.asked(), host.told) == (["give-back a", "give-back a"], [])
    assert journal.step(1).get("todo") is not None


@pytest.mark.parametrize(
    ("idle", "verbs"), [(False, ["guard-unit"]), (True, ["drain-worker"]), (False, [])]
)
def test_a_worker_with_tasks_or_without_a_guard_is_never_left_idle(
    patient: None, state: str, journal: Journal, tmp_path: Path, idle: bool, verbs: List[str]
) -> None:
    app = App(tmp_path, journal, GOOD % ([], {"lasting": False}))
    host = Unit(state)
    worker = {"node": "w@h", "queues": ["a"], "byRun": False, "invocation": RUN}
    journal.step(1).keep("worker", worker)
    plan_of(journal, *verbs)
    said = stopping.take_back(app.args, host, journal.step(1), idle=idle)
    assert said == f"{UNIT} consumes a again (main {os.getpid()})"
    assert journal.step(1).get("todo") is not None
    assert host.told == []


def test_a_worker_that_cannot_consume_again_is_stopped(
    patient: None, state: str, journal: Journal, tmp_path: Path
) -> None:
    app = App(tmp_path, journal, GOOD % ([], {"problem": "w@h does not answer"}))
    host = Unit(state)
    worker = {"node": "w@h", "queues": ["a"], "byRun": False, "invocation": RUN}
    journal.step(0).keep("worker", worker)
    said = stopping.take_back(app.args, host, journal.step(0))
    assert said is not None and "stopped to be started again" in said
    assert (app.asked(), host.told) == (["give-back a"], ["stop"])


@pytest.mark.parametrize(("more", "waited"), [({"undoTimeoutSeconds": 150}, 150), ({}, 7200)])
def test_an_undo_waits_as_long_as_the_plan_says(
    patient: None,
    state: str,
    journal: Journal,
    tmp_path: Path,
    more: Dict[str, Any],
    waited: float,
) -> None:
    """The plan contains the timeout; an older plan does not."""
    app = App(tmp_path, journal, GOOD % ([], {"problem": "w@h does not answer"}))
    host = Unit(state)
    args = {**app.args, **more}
    worker = {"node": "w@h", "queues": ["a"], "byRun": False, "invocation": RUN}
    journal.step(0).keep("worker", worker)
    stopping.take_back(args, host, journal.step(0))
    journal.step(1).keep("was", "inactive")
    start_unit.undo(args, host, journal.step(1))
    resting = {"ActiveState": "inactive", "NeedDaemonReload": "no", "children": 0}
    journal.step(2).keep("was", resting)
    host.answers[("systemctl", "show")] = (
        0,
        host.answers[("systemctl", "show")][1] + "\nNeedDaemonReload=no",
    )
    guard_unit.undo(args, host, journal.step(2))
    assert (host.told, host.waited) == (["stop"] * 3, [waited] * 3)


GROUP = "/system.slice/none.service"


@pytest.mark.parametrize("active", ["inactive", "failed"])
def test_a_unit_rests_when_nothing_is_left_in_its_cgroup(active: str, state: str) -> None:
    moment = stopping.rests_at(UNIT, GROUP, Unit(state, active=active))
    assert moment is not None and moment <= time.time()


@pytest.mark.parametrize("active", ["active", "activating", "deactivating", "reloading"])
def test_a_unit_that_is_not_at_rest_has_no_such_moment(active: str, state: str) -> None:
    assert stopping.rests_at(UNIT, GROUP, Unit(state, active=active)) is None


def test_a_unit_with_a_process_left_has_no_such_moment(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = processes.read(os.getpid())
    assert here is not None
    monkeypatch.setattr(units, "cgroup_processes", lambda group: [here] if group == GROUP else [])
    assert stopping.rests_at(UNIT, GROUP, Unit(state, active="inactive")) is None


@pytest.mark.parametrize(
    ("seen", "group"),
    [
        ({"ControlGroup": "/app.slice/w.service"}, "/app.slice/w.service"),
        ({"ControlGroup": "", "Slice": "app.slice"}, f"/app.slice/{UNIT}"),
        ({}, f"/system.slice/{UNIT}"),
    ],
)
def test_the_cgroup_of_a_unit_that_has_stopped(seen: Dict[str, str], group: str) -> None:
    assert stopping.group_of(UNIT, seen) == group


def test_no_other_module_stops_or_restarts_a_unit() -> None:
    verbs = re.compile(r"""["'](stop|restart|try-restart|reload-or-restart|kill|isolate)["']""")
    found = {
        str(path.relative_to(SOURCES)): lines
        for path in SOURCES.rglob("*.py")
        if (lines := [line for line in path.read_text().splitlines() if verbs.search(line)])
    }
    # The guard's own timer, and the sampler's; and a module that only passes the verb.
    (timer,) = found.pop("transaction/guard.py")
    assert 'f"{guard_timer.NAME}.timer"' in timer
    (timer,) = found.pop("state/sampler_timer.py")
    assert 'f"{NAME}.timer"' in timer
    assert not [line for line in found.pop("operations/guard_unit.py") if "systemctl" in line]
    # Other units of the app, which are no workers: they consume nothing.
    del found["app/companions.py"]
    # The judge only knows which words a plan may have.
    assert found.pop("policy/worker_operations.py") == ['RENEWAL = choice("restart", "reload")']
    # A service that this program has started for itself.
    (own,) = found.pop("system/services.py")
    assert "service.name" in own
    assert list(found) == ["app/stopping.py"]
