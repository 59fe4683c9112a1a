"""Commands run within limits, and leave no process behind."""

from __future__ import annotations

import os
import pwd
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError, RunnerGone, describe
from celeriac_host.system.identities import group_name, identity, user_name
from celeriac_host.system.system import STDERR_LIMIT_BYTES, System, Tick
from conftest import wait_for

PYTHON = [sys.executable, "-I", "-c"]


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(str(tmp_path))


def test_output_and_exit_code_are_returned(system: System) -> None:
    script = "echo out; echo; echo err >&2; exit 3"
    done = system.run(["sh", "-c", script], check=False)
    assert (done.code, done.out, done.err, done.truncated) == (3, "out\n\n", "err\n", False)
    assert done.lines() == ["err"]
    assert system.run(["sh", "-c", "echo a; echo; echo b"]).lines(1) == ["b"]


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("echo first; echo last >&2; exit 4", 4, "last"),
        ("echo words; exit 4", 4, "words"),
        ("exit 4", 4, "exit code 4"),
        ("kill -KILL $$", None, "signal 9"),
    ],
)
def test_a_failure_names_the_command_and_the_reason(
    system: System, script: str, code: int | None, told: str
) -> None:
    with pytest.raises(OperationError) as failed:
        system.run(["sh", "-c", script])
    assert told in failed.value.message
    assert failed.value.exit_code == code
    assert failed.value.ran == ["sh", "-c", script]


def test_the_caller_decides_which_exit_codes_are_accepted(system: System) -> None:
    assert system.run(["sh", "-c", "exit 3"], check=(0, 3)).code == 3
    with pytest.raises(OperationError):
        system.run(["sh", "-c", "exit 2"], check=(0, 3))


def test_a_missing_program_is_an_error(system: System) -> None:
    with pytest.raises(OperationError) as failed:
        system.run(["no-such-program"])
    assert "no-such-program" in failed.value.message
    assert system.run(["no-such-program"], check=False).code == 127
    with pytest.raises(OperationError) as failed:
        system.run(["true"], cwd="/no/such/folder", check=False)
    assert "/no/such/folder" in failed.value.message


def test_the_environment_is_not_that_of_the_session(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LANG", "de_DE")
    out = system.run(["env"], env={"A": "1", "SHELL": None}).out
    names = {line.partition("=")[0] for line in out.splitlines()}
    ours = {"PATH", "LC_ALL", "HOME", "USER", "LOGNAME", "A"}
    assert ours <= names
    assert not names & {"SECRET", "LANG", "SHELL"}


def test_arguments_are_never_shell_text(system: System) -> None:
    assert system.run(["echo", "$(id) ; `id` *"]).out == "$(id) ; `id` *\n"


def test_a_large_input_and_a_large_output_pass_at_once(system: System) -> None:
    content = os.urandom(2 * 1024 * 1024).hex().encode()
    done = system.run(["cat"], input=content, limit_bytes=len(content))
    assert done.out.encode() == content
    assert not done.truncated


def test_unread_input_is_not_a_failure(system: System) -> None:
    assert system.run(["true"], input=b"x" * 1_000_000).code == 0


def test_the_beginning_of_stdout_and_the_end_of_stderr_are_kept(system: System) -> None:
    program = "import sys; print('a' * 5000); sys.stderr.write('b' * 100_000 + 'end')"
    done = system.run([*PYTHON, program], limit_bytes=1000)
    assert (done.out, done.truncated) == ("a" * 1000, True)
    assert len(done.err) == STDERR_LIMIT_BYTES
    assert done.err.endswith("bend")


def test_bytes_that_are_not_utf8_are_shown(system: System) -> None:
    assert system.run(["printf", "gr\\374n"]).out == "gr\ufffdn"


def alive(path: Path) -> list[int]:
    """The processes in that file, which may not be written yet on a slow machine."""
    pids = [int(word) for word in path.read_text().split()] if path.exists() else []
    found = [processes.read(pid) for pid in pids]
    return [each.pid for each in found if each is not None and each.state not in "ZX"]


STUBBORN = "trap '' TERM HUP; sleep 600 & echo $$ $! > {0}.part; mv {0}.part {0}; wait; wait"


def test_a_timeout_ends_the_whole_process_group(system: System, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(OperationError) as failed:
        system.run(
            ["sh", "-c", f"echo begun >&2; sleep 600 & echo $$ $! > {pids}; wait"], timeout=1
        )
    assert "1 s" in failed.value.message
    assert failed.value.evidence == (["begun"] if pids.exists() else [])
    wait_for(lambda: alive(pids) == [])


def test_a_disconnect_ends_even_a_stubborn_command(system: System, tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def go() -> None:
        system.runner_gone = pids.exists()

    with pytest.raises(RunnerGone):
        system.run(["sh", "-c", STUBBORN.format(pids)], timeout=600, tick=Tick(0.05, go))
    wait_for(lambda: alive(pids) == [])


def test_a_shielded_command_continues_without_the_runner(system: System) -> None:
    system.runner_gone = True
    with pytest.raises(RunnerGone):
        system.run(["true"])
    with system.shielded():
        with system.shielded():
            assert system.run(["echo", "on"]).out == "on\n"
        system.sleep(0)
    with pytest.raises(RunnerGone):
        system.sleep(600)


def test_a_sleep_is_interrupted(system: System) -> None:
    def go() -> None:
        time.sleep(0.1)
        system.runner_gone = True

    thread = threading.Thread(target=go)
    thread.start()
    with pytest.raises(RunnerGone):
        system.sleep(600)
    thread.join()


def test_background_processes_are_not_waited_for(system: System, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # It holds the pipes open.
    done = system.run(["sh", "-c", f"sleep 600 & echo $! > {pids}; echo done"], timeout=500)
    assert done.out == "done\n"
    for pid in alive(pids):
        os.kill(pid, signal.SIGKILL)


def test_our_signals_do_not_reach_a_command(system: System) -> None:
    program = "import os; print(os.getsid(0) == os.getpid())"
    assert system.run([*PYTHON, program]).out == "True\n"


def test_as_another_user_with_that_users_groups_and_home(system: System, root: None) -> None:
    nobody = identity("nobody")
    script = 'echo "$(id -u) $(id -ru) $(id -G) $HOME"'
    out = system.run(["sh", "-c", script], user="nobody", cwd="/").out
    groups = " ".join(map(str, nobody.groups))
    assert out == f"{nobody.uid} {nobody.uid} {groups} {nobody.home}\n"
    with pytest.raises(OperationError):
        system.run(["touch", "/etc/celeriac-test"], user="nobody", cwd="/")


def test_another_user_only_enters_folders_that_it_may_enter(
    system: System, root: None, tmp_path: Path
) -> None:
    closed, inner = tmp_path / "closed", tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (inner / "secret").write_text("s")
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    assert system.run(["pwd"], user="nobody", cwd=str(inner)).out == f"{inner}\n"
    closed.chmod(0o700)
    # Once in it, the user could read all that is open to everybody below the closed folder.
    for folder in (inner, closed):
        with pytest.raises(OperationError) as failed:
            system.run(["cat", "secret"], user="nobody", cwd=str(folder), check=False)
        assert failed.value.message == (
            f"could not start cat: [Errno 13] Permission denied: '{folder}'"
        )
    with pytest.raises(OperationError) as failed:
        system.run(["true"], user="nobody", cwd="/no/such/folder", check=False)
    assert failed.value.message == "/no/such/folder not found"
    # Nor is it left where the agent happens to be.
    assert system.run(["pwd"], user="nobody").out == "/\n"


def test_users_and_groups_by_name_and_by_number() -> None:
    nobody = pwd.getpwnam("nobody")
    assert identity("nobody") == identity(str(nobody.pw_uid))
    assert identity("nobody", "0").gid == 0
    assert 0 in identity("nobody", "", ["root"]).groups
    assert user_name(nobody.pw_uid) == "nobody"
    assert (user_name(4_000_000), group_name(4_000_000)) == ("4000000", "4000000")
    for wrong in (("nobody-of-that-name",), ("4000000",), ("nobody", "no-such-group")):
        with pytest.raises(OperationError):
            identity(*wrong)


def test_errors_are_described_in_one_line() -> None:
    assert describe(OperationError("the unit is masked")) == "the unit is masked"
    with pytest.raises(OSError) as failed:
        os.stat("/no/such/file")
    said = describe(failed.value)
    assert said.startswith("No such file or directory: /no/such/file (")
    assert "test_system.py" in said
    assert describe(KeyError("x")) == "KeyError: 'x'"
