"""Commands of the app before a start, and services beside its worker."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any, Dict

import pytest
from celeriac_host.app import companions as served
from celeriac_host.facts import command, companions
from celeriac_host.operations import guard_companion, run_command
from celeriac_host.state.journal import TODO, Journal
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from hosts import Host

ME = pwd.getpwuid(os.geteuid()).pw_name
UNIT = "app.service"


def host_in(host: Host, folder: Path) -> Host:
    shown = f"LoadState=loaded\nUser={ME}\nWorkingDirectory={folder}\nEnvironment=COLOUR=red\n"
    host.answers.update(
        {
            ("systemctl", "show"): (0, shown),
            ("systemctl", "show-environment"): (0, "PATH=/usr/bin:/bin\n"),
        }
    )
    return host


def asking(*argv: str, **more: Any) -> Dict[str, Any]:
    base = {"unit": UNIT, "interpreter": [sys.executable], "timeoutSeconds": 30}
    return {**base, "argv": list(argv), **more}


def test_a_command_runs_as_the_unit_would_and_its_lines_are_reported(
    host: Host, journal: Journal, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(
        "import os, sys\n"
        "print(os.getcwd(), os.environ['COLOUR'], repr(sys.stdin.read()))\n"
        "print('postgres://me:secret@db/app', file=sys.stderr)\n"
    )
    message = run_command.do(asking("python", "job.py"), host_in(host, tmp_path), journal.step(0))
    assert message.startswith("`python job.py` succeeded in ")
    assert host.notes == [f"{tmp_path} red ''", "postgres://me:**@db/app"]
    undone = run_command.undo(asking("python", "job.py"), host, journal.step(0))
    assert undone == "what `python job.py` did is not undone"
    # The report must not say that the host is as it was before.
    assert journal.step(0).get(TODO) == "check what `python job.py` did: it is not undone"
    assert run_command.undo(asking("python", "job.py"), host, journal.step(1)) is None


def test_a_command_runs_in_the_folder_that_becomes_current(
    host: Host, journal: Journal, tmp_path: Path
) -> None:
    for name in ("current", "next"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "say.py").write_text(f"print({name!r})\n")
    change = {"from": str(tmp_path / "current"), "to": str(tmp_path / "next")}
    args = asking("python", "say.py", instead=change)
    run_command.do(args, host_in(host, tmp_path / "current"), journal.step(0))
    assert host.notes == ["next"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('no such table'); raise SystemExit(3)", r"failed \(exit code 3\): no such table"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("import time; print('asking', flush=True); time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_a_command_that_fails_says_how(
    host: Host, journal: Journal, tmp_path: Path, code: str, said: str
) -> None:
    args = asking("python", "-c", code, timeoutSeconds=1)
    with pytest.raises(OperationError, match=said):
        run_command.do(args, host_in(host, tmp_path), journal.step(0))


def test_a_check_of_the_user_is_told_by_its_answer(host: Host, tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text(
        "import os, sys\n"
        "print('url', 'postgres://me:secret@db/app', os.environ['COLOUR'])\n"
        "print('to stderr', repr(sys.stdin.read()), file=sys.stderr)\n"
        "raise SystemExit(3)\n"
    )
    found = command.look(asking("python", "check.py"), host_in(host, tmp_path))
    assert found["code"] == 3
    assert found["output"] == "url postgres://me:**@db/app red\nto stderr ''"
    assert found["problem"] is None
    assert host.notes == []


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import time; print('asking', flush=True); time.sleep(60)", None),
    ],
)
def test_a_check_that_does_not_end_by_itself(
    host: Host, tmp_path: Path, code: str, ended: int | None
) -> None:
    args = asking("python", "-c", code, timeoutSeconds=1)
    assert command.look(args, host_in(host, tmp_path))["code"] == ended


def test_of_a_check_that_prints_much_the_end_is_told(host: Host, tmp_path: Path) -> None:
    code = "print('first'); print('\u00e4' * 100_000); print('x\\n' * 20_000 + 'last')"
    found = command.look(asking("python", "-c", code), host_in(host, tmp_path))
    assert found["output"].endswith("x\nlast")
    assert "first" not in found["output"]
    assert len(found["output"].encode()) <= 8192


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("/system.slice/shop-web.service", "shop-web.service"),
        ("/system.slice/system-shop.slice/shop@1.service/payload", "shop@1.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", None),
        ("/user.slice/user-0.slice/session-4.scope", None),
        ("/", None),
    ],
)
def test_the_service_of_a_cgroup(group: str, name: str | None) -> None:
    assert companions.service_of(group) == name


def test_the_code_of_an_app_is_its_checkout_and_never_a_folder_of_many_apps(
    tmp_path: Path,
) -> None:
    inside = tmp_path / "shop" / "backend"
    inside.mkdir(parents=True)
    assert companions.roots([str(inside)]) == [str(inside)]
    (tmp_path / "shop" / ".git").mkdir()
    assert companions.roots([str(inside)]) == [str(tmp_path / "shop")]
    assert companions.roots(["/", "/srv"]) == []


def test_processes_that_a_unit_left_behind_are_told_when_it_serves_again(
    host: Host, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers[("systemctl", "show")] = (0, "InvocationID=b\n")
    step = journal.step(0)
    step.keep("was", {"ActiveState": "active", "InvocationID": "a", "MainPID": "0"})
    me = processes.read(os.getpid())
    assert me is not None
    for name, answer in (
        ("seen", {"ActiveState": "inactive", "InvocationID": "a"}),
        ("same_run", False),
        ("left_by", [me]),
        ("start", None),
        ("watch", None),
    ):
        monkeypatch.setattr(served, name, lambda *_, said=answer: said)
    monkeypatch.setattr(served, "EMPTY_SECONDS", 0)
    asked = {"unit": UNIT, "how": "restart", "timeoutSeconds": 1, "minHealthySeconds": 0}
    told = guard_companion.undo(asked, host, step)
    assert told == f"{UNIT} serves again, with the code that is in place now"
    left = (
        f"end process {me.pid} on the host: {UNIT} left it behind when it stopped, and runs again"
    )
    assert step.get(TODO) == left
