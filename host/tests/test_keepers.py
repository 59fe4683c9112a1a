"""Programs of another user: under limits, and with nothing left of them, or of the agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence

import pytest
from celeriac_host.store import sqlite_child
from celeriac_host.system import box, keeper, keepers, processes, services
from celeriac_host.system.app_user import AppUser
from celeriac_host.system.errors import OperationError, RunnerGone
from celeriac_host.system.identities import Identity
from celeriac_host.system.system import Completed, System
from conftest import wait_for
from hosts import Host

# Nobody else's, nor of another run at the same time: limits of processes count all of a user.
UID = 1_000_000 + os.getpid()
APP = Identity("app", UID, UID, (UID + 1, UID + 2), "/nonexistent", "/bin/sh")
# Prints its pid, in a session of its own, without a living parent.
DAEMON = "(setsid sh -c 'echo $$; exec >/dev/null 2>&1; exec sleep 1000' &); sleep 0.3"

# Says so and ends.
HELLO = """
said='{"hello": 1, "bounds": {"memory": 1, "tasks": 1}}'
printf '\\0\\0\\0\\061%s' "$said" >&0
head -c 1 >/dev/null
"""

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def host(state: str) -> Host:
    """One whose keepers are children of ours."""
    return Host(state)


class Served(System):
    """A host with a systemd whose services `serve` starts."""

    def __init__(self, state: str, serve: Callable[[List[str]], List[str]]) -> None:
        super().__init__(state)
        self.notes: List[str] = []
        self.note = self.notes.append
        self.serve = serve
        self.served = 0

    def has_services(self) -> bool:
        return True

    def _command(self, service: services.Service, argv: List[str], *_: Any) -> List[str]:
        self.served += 1
        return self.serve(argv)


@pytest.fixture
def make_served(state: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    every: List[Served] = []

    def make(serve: Callable[[List[str]], List[str]] = lambda argv: argv) -> Served:
        served = Served(state, serve)
        every.append(served)
        monkeypatch.setattr(services, "command", served._command)
        monkeypatch.setattr(services, "stop", lambda service: None)
        return served

    yield make
    # Otherwise Python ends them at some time, in another test.
    for served in every:
        for each in served.keepers.known:
            each.destroy()


def run(host: System, script: str, *words: str, **more: Any) -> Completed:
    return host.run(["/bin/sh", "-c", script, *words], user=APP, **more)


def python(host: System, script: str, **more: Any) -> Completed:
    # Not ours, which the app may not be able to reach.
    argv = ["python3", "-I", "-S", "-c", textwrap.dedent(script)]
    return host.run(argv, user=APP, **more)


def is_there(pid: int) -> bool:
    # One that has ended may wait for a parent that never asks for it.
    found = processes.read(pid) if os.path.isdir(f"/proc/{pid}") else None
    return found is not None and found.state not in "ZX"


def of_app() -> List[int]:
    found = []
    for each in processes.each():
        with suppress(OSError), open(f"/proc/{each.pid}/status") as file:
            if f"\nUid:\t{APP.uid}\t" in file.read() and each.state not in "ZX":
                found.append(each.pid)
    return found


def test_a_program_is_only_its_user(host: Host) -> None:
    # As a shell starts what it ends with `&`.
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        status = run(host, "umask; cat /proc/self/status").out.splitlines()
    finally:
        signal.signal(signal.SIGQUIT, before)
    found = dict(line.split(":\t", 1) for line in status[1:])
    assert status[0] == "0022"
    assert found["Uid"].split() == found["Gid"].split() == [str(UID)] * 4
    assert found["Groups"].split() == [str(UID + 1), str(UID + 2)]
    assert found["NoNewPrivs"] == "1"
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == int(found["CapInh"], 16) == 0
    # Python ignores SIGPIPE, which is nothing for its children.
    assert int(found["SigIgn"], 16) == int(found["SigBlk"], 16) == 0


def test_a_program_inherits_no_open_file(host: Host, tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as lock:
        os.set_inheritable(lock.fileno(), True)
        seen = run(host, "ls -l /proc/self/fd", input=b"")
        # ls itself opens the folder.
        assert [line.split()[-3] for line in seen.out.splitlines()[1:]] == ["0", "1", "2", "3"]
        assert "lock" not in seen.out and "socket" not in seen.out


def test_a_program_has_the_environment_that_it_was_given(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    lines = run(host, "env", env={"A": "ü\n b", "SHELL": None}).out
    assert "A=ü\n b\n" in lines and "HOME=/nonexistent\n" in lines
    assert "SECRET" not in lines and "SHELL" not in lines


def test_one_keeper_serves_one_program_after_the_other(host: Host) -> None:
    told = {run(host, "echo $PPID").out for _ in range(3)}
    assert len(told) == 1 and len(host.keepers.known) == 1


def test_a_second_program_at_the_same_time_has_a_keeper_of_its_own(host: Host) -> None:
    argv = ["/bin/cat"]
    first = host.keepers.start(argv, APP, {}, "/", subprocess.PIPE, None, 60, False)
    assert run(host, "echo second").out == "second\n"
    assert first.stdin is not None and first.stdout is not None
    first.stdin.write(b"first\n")
    first.stdin.close()
    assert first.stdout.read() == b"first\n"
    assert first.wait(60.0) == 0
    first.finish()
    assert len(host.keepers.known) == 2


def test_what_leaves_its_session_is_ended_and_told(host: Host) -> None:
    pid = int(run(host, DAEMON).out)
    assert not is_there(pid)
    (note,) = [each for each in host.notes if "left running" in each]
    assert note == "/bin/sh: ended a process that it had left running"


def test_what_holds_the_output_open_does_not_keep_us_waiting(host: Host) -> None:
    done = run(host, "(setsid sleep 1000 &); echo done; sleep 0.2", timeout=60)
    assert done.out == "done\n"
    assert not of_app()


def test_a_fork_bomb_is_ended_with_all_its_processes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It uses all processors as long as it is told to end.
    monkeypatch.setattr(keepers, "GRACE_SECONDS", 0.2)
    bomb = """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except OSError:
                pass
    """
    limited = services.Restrictions((), {"NPROC": ("60", "60")}, 0o022, False)
    with pytest.raises(OperationError, match="did not finish within 1 s"):
        python(host, bomb, timeout=1, asked=limited)
    assert not of_app()
    assert run(host, "echo alive").out == "alive\n"


def test_a_program_that_is_too_large_fails_by_itself(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box, "memory_limit", lambda: {"DATA": (64 << 20, 64 << 20)})
    done = python(host, "bytearray(100 << 20)", check=False)
    assert done.code == 1 and "MemoryError" in done.err
    assert python(host, "bytearray(10 << 20)").code == 0


def test_limits_that_the_kernel_refuses_are_as_high_as_they_can_be(host: Host) -> None:
    limited = services.Restrictions((), {"NOFILE": ("infinity", "infinity")}, 0o022, False)
    assert int(run(host, "ulimit -n", asked=limited).out) > 0


def test_a_program_that_does_not_end_is_ended(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepers, "GRACE_SECONDS", 0.2)
    with pytest.raises(OperationError, match=r"did not finish within 0\.5 s"):
        run(host, "trap '' TERM; while :; do sleep 1; done", timeout=0.5)
    assert not of_app()


def test_a_program_may_end_by_itself_when_it_is_told_to(host: Host, open_folder: Path) -> None:
    os.chmod(open_folder, 0o777)
    ended = open_folder / "ended"
    with pytest.raises(OperationError):
        run(host, f"trap 'echo yes >{ended}; exit' TERM; while :; do sleep 0.05; done", timeout=0.5)
    assert ended.read_text() == "yes\n"


def test_a_program_ends_when_the_runner_is_gone(host: Host) -> None:
    host.runner_gone = True
    with pytest.raises(RunnerGone):
        run(host, "sleep 1000")
    assert not of_app()


def test_exit_codes_and_signals(host: Host) -> None:
    assert run(host, "exit 7", check=False).code == 7
    assert run(host, "kill -SEGV $$", check=False).code == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("argv", "cwd", "told"),
    [
        (["no-such-program"], "/", "no-such-program"),
        (["/etc/passwd"], "/", "Permission denied"),
        (["true"], "/no/such/folder", "/no/such/folder"),
        (["true"], "/root", "/root"),
    ],
)
def test_what_cannot_be_started_is_named(
    host: Host, argv: Sequence[str], cwd: str, told: str, tmp_path: Path
) -> None:
    if cwd == "/root":
        cwd = str(tmp_path / "closed")
        os.mkdir(cwd, 0o700)
        told = cwd
    with pytest.raises(OperationError) as failed:
        host.run(argv, user=APP, cwd=cwd)
    assert told in failed.value.message
    assert run(host, "echo next").out == "next\n"


def test_much_goes_in_and_comes_out(host: Host) -> None:
    much = os.urandom(1 << 20).hex().encode("ascii")
    done = host.run(["cat"], user=APP, input=much, limit_bytes=4 << 20)
    assert done.out == much.decode("ascii")


def test_a_keeper_that_dies_takes_its_program_with_it(make_served: Callable[..., Served]) -> None:
    host = make_served()
    kept = host.keepers.start(["sleep", "1000"], APP, {}, "/", None, None, 60, True)
    os.kill(kept.keeper.pid, signal.SIGKILL)
    kept.finish()
    assert kept.returncode == -signal.SIGKILL and "its keeper ended" in kept.why
    assert run(host, "echo next").out == "next\n" and not host.notes
    for pid in of_app():
        # There is no control group here that systemd would end.
        os.kill(pid, signal.SIGKILL)


def test_an_idle_keeper_that_has_died_is_replaced(make_served: Callable[..., Served]) -> None:
    host = make_served()
    first = run(host, "echo $PPID").out
    os.kill(int(first), signal.SIGKILL)
    assert run(host, "echo $PPID").out != first
    assert host.served == 2 and not host.notes


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["sleep", "1000"], "a keeper did not start within 0.3 s"),
        (["sh", "-c", "echo Failed to connect to bus >&2; exit 1"], "Failed to connect to bus"),
        (["/no/such/systemd-run"], "No such file or directory"),
        (["sh", "-c", HELLO], "its keeper ended"),
    ],
)
def test_without_a_service_the_program_runs_and_people_are_told_once(
    make_served: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
    command: List[str],
    told: str,
) -> None:
    monkeypatch.setattr(keepers, "HELLO_SECONDS", 0.3)
    monkeypatch.setattr(keepers, "GRACE_SECONDS", 0.2)
    host = make_served(lambda argv: command)
    monkeypatch.setattr(keepers.Keeper, "hear", _patient(keepers.Keeper.hear))
    for word in ("first", "second"):
        assert run(host, f"echo {word}").out == f"{word}\n"
    (note,) = host.notes
    assert told in note
    assert host.served == 1


def _patient(hear: Any) -> Any:
    """Only what is in place of a service has so little time."""

    def heard(keeper: keepers.Keeper, seconds: float) -> Any:
        return hear(keeper, seconds if keeper.in_service else 60.0)

    return heard


def kill_agent_of(script: str, state: Path, has_begun: Callable[[], bool]) -> None:
    """Kills an agent that runs a script as the app, once that has begun."""
    agent = f"""
        from celeriac_host.system.identities import Identity
        from hosts import Host
        Host({str(state)!r}).run(["sh", "-c", {script!r}], user=Identity{tuple(APP)!r})
    """
    paths = os.pathsep.join([os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))])
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(agent)], env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        wait_for(has_begun)
    finally:
        process.kill()
        process.wait()


def test_nothing_survives_an_agent_that_is_killed(open_folder: Path) -> None:
    os.chmod(open_folder, 0o777)
    told = open_folder / "pids"
    script = f"(setsid sleep 1000 & echo $! >>{told}); echo $$ >>{told}; exec sleep 1000"
    kill_agent_of(script, open_folder, lambda: told.exists() and len(told.read_text().split()) == 2)
    pids = [int(each) for each in told.read_text().split()]
    wait_for(lambda: not any(is_there(pid) for pid in pids))


def test_a_program_may_clear_up_when_its_agent_is_killed(open_folder: Path) -> None:
    os.chmod(open_folder, 0o777)
    begun, cleared = open_folder / "begun", open_folder / "cleared"
    # Its output leads nowhere once the agent is gone.
    clear = f"exec 2>/dev/null; trap 'touch {cleared}; exit' TERM"
    script = f"{clear}; touch {begun}; while :; do sleep 0.1; done"
    kill_agent_of(script, open_folder, begun.exists)
    wait_for(cleared.exists)


def test_a_number_that_has_changed_hands_gets_no_signal() -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        start = keeper._origin(str(other.pid))[1]
        try:
            keeper._send(other.pid, start + 1, signal.SIGKILL)
            assert other.poll() is None
            keeper._send(other.pid, start, signal.SIGKILL)
            assert other.wait() == -signal.SIGKILL
        finally:
            other.kill()


def test_children_of_a_number_that_has_changed_hands_are_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    me, born = os.getpid(), 10
    origins = {str(me): (1, 5), "70": (me, born), "71": (70, 12), "80": (me, 11), "81": (80, 13)}
    looks: List[str] = []

    def origin(pid: str) -> "tuple[int, int]":
        looks.append(pid)
        # Root's process has the number 70 by the second look.
        return (1, 99) if pid == "70" and looks.count(pid) > 1 else origins[pid]

    monkeypatch.setattr(keeper, "_origin", origin)
    monkeypatch.setattr(os, "listdir", lambda path: list(origins))
    assert keeper._descendants() == {(70, born), (80, 11), (81, 13)}


def test_a_program_keeps_its_end_where_what_it_left_cannot_be_ended(
    make_served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keepers, "CLEARING_ALONE_SECONDS", 0.0)
    monkeypatch.setattr(keepers, "CLEARING_SECONDS", 0.0)
    done = run(make_served(), "setsid sleep 5 & exit 3", check=False)
    assert done.code == 3


def test_want_of_memory_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    hear = keepers.Keeper.hear

    def heard(keeper: keepers.Keeper, seconds: float) -> Any:
        said = hear(keeper, seconds)
        return {**said, "ooms": 1} if said and "code" in said else said

    monkeypatch.setattr(keepers.Keeper, "hear", heard)
    monkeypatch.setattr(
        services, "NONE", services.NONE._replace(properties=[("MemoryMax", str(900 << 20))])
    )
    with pytest.raises(OperationError, match="it needed more memory than 900 MiB"):
        run(host, "kill -KILL $$")
    host.notes.clear()
    # A process of a build, which reports the failure in its own words.
    assert run(host, "exit 1", check=False).code == 1
    assert host.notes == [
        "/bin/sh: the kernel ended a process that needed more memory than 900 MiB"
    ]


UNIT = {
    "LoadState": "loaded",
    "Slice": "shop.slice",
    "MemoryMax": "1000",
    "TasksMax": "1300",
    "IPAddressDeny": "::/0 0.0.0.0/0",
    "RestrictAddressFamilies": "AF_INET AF_UNIX",
    "PrivateNetwork": "yes",
    "RestrictNamespaces": "yes",
    "ProtectSystem": "strict",
}


def test_what_limits_programs_on_the_files_of_an_app() -> None:
    found = dict(box.box(UNIT).properties)
    assert found["Slice"] == "shop.slice" and found["TasksMax"] == "1300"
    assert found["IPAddressDeny"] == "::/0 0.0.0.0/0" and found["RestrictNamespaces"] == "yes"
    assert found["PrivateNetwork"] == "yes"
    # They write where the worker may not, and builds need more memory than it.
    assert "ProtectSystem" not in found
    assert int(found["MemoryMax"]) > 1000
    free = dict(box.without_network(box.box(UNIT)).properties)
    assert not {"IPAddressDeny", "RestrictAddressFamilies", "PrivateNetwork"} & set(free)
    assert free["RestrictNamespaces"] == "yes"


@pytest.mark.parametrize(
    ("tasks", "allowed"), [("1", "1024"), ("99999", "4096"), ("infinity", "4096")]
)
def test_the_limit_of_tasks_is_neither_too_low_nor_none(tasks: str, allowed: str) -> None:
    assert dict(box.box({**UNIT, "TasksMax": tasks}).properties)["TasksMax"] == allowed


def test_a_unit_that_is_not_there_has_no_say() -> None:
    found = box.box({**UNIT, "LoadState": "not-found"})
    assert "Slice" not in dict(found.properties)
    assert box.box({}) == found


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch, make_served: Callable[..., Served]) -> List[Any]:
    """After how many seconds systemd ends each service that was started."""
    make_served()
    found: List[Any] = []

    def command(service: services.Service, argv: List[str], *more: Any) -> List[str]:
        found.append(more[-1])
        return argv

    monkeypatch.setattr(services, "command", command)
    return found


def test_a_keeper_that_is_held_is_nobody_elses(make_served: Callable[..., Served]) -> None:
    host = make_served()
    first = run(host, "echo $PPID").out
    with host.keepers.held(True) as pid:
        assert pid is not None and is_there(pid)
        assert run(host, "echo $PPID").out == first != f"{pid}\n"
    assert not is_there(pid)
    assert run(host, "echo $PPID").out == first
    assert len(host.keepers.known) == 1 and not host.notes


def test_systemd_does_not_end_who_waits_for_the_runner(
    longest: List[Any], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Served(state, lambda argv: argv)
    told, tell = os.pipe()
    monkeypatch.setattr(box, "join", lambda pid: os.write(tell, b"%d" % pid))
    whom = AppUser(APP, "the app")
    work = sqlite_child.Work("/", lambda channel: None, files=[tell], own=False)
    with sqlite_child.working(host, whom, work) as child:
        assert child.receive() is None
        joined = int(os.read(told, 20))
        assert is_there(joined)
    os.close(told)
    os.close(tell)
    assert longest == [None] and not is_there(joined)
    run(host, "true")
    assert longest[1] > 60


def test_a_service_without_a_longest_time() -> None:
    found = [
        services.command(services.Service("x"), ["true"], None, "/", services.NONE, timeout)
        for timeout in (60, None)
    ]
    assert ["RuntimeMaxSec=90s" in words for words in found] == [True, False]
    assert "RuntimeMaxSec" not in " ".join(found[1])


def test_nothing_is_held_without_a_service(make_served: Callable[..., Served]) -> None:
    host = make_served(lambda argv: ["false"])
    for in_service in (False, True, True):
        with host.keepers.held(in_service) as pid:
            assert pid is None
    assert host.served == len(host.notes) == 1 and not host.keepers.known


def beside(argv: List[str]) -> List[str]:
    """As systemd does: what waits for the service is not what keeps it alive."""
    # A shell takes the input of what it does not wait for from /dev/null.
    return ["sh", "-c", 'exec 3<&0; "$@" <&3 3<&- & wait', "sh", *argv]


def lose_the_bus(keeper: keepers.Keeper) -> None:
    keeper.process.kill()
    keeper.process.wait()


def test_a_service_lives_on_when_nobody_waits_for_it(
    make_served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_served(beside)
    stopped: List[Any] = []
    monkeypatch.setattr(services, "stop", stopped.append)
    kept = host.keepers.start(["cat"], APP, {}, "/", subprocess.PIPE, None, 60, True)
    keeper = kept.keeper
    lose_the_bus(keeper)
    with pytest.raises(subprocess.TimeoutExpired):
        kept.wait(0.6)
    assert kept.stdin is not None
    kept.stdin.close()
    assert kept.wait(60.0) == 0
    kept.finish()
    assert run(host, "echo $PPID").out == f"{keeper.pid}\n"
    assert host.served == 1 and not stopped
    for _ in range(2):
        keeper.destroy()
        assert stopped == [keeper.service]
    wait_for(lambda: not is_there(keeper.pid))


def test_a_service_that_nobody_waits_for_is_ended_with_its_program(
    make_served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_served(beside)
    stopped: List[Any] = []
    monkeypatch.setattr(services, "stop", stopped.append)
    monkeypatch.setattr(keepers, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(keepers, "MARGIN_SECONDS", 0.1)
    kept = host.keepers.start(["sleep", "1000"], APP, {}, "/", None, None, 60, True)
    lose_the_bus(kept.keeper)
    os.kill(kept.keeper.pid, signal.SIGSTOP)
    try:
        kept.finish()
    finally:
        os.kill(kept.keeper.pid, signal.SIGCONT)
    assert kept.returncode == -signal.SIGKILL and "did not end it in time" in kept.why
    assert stopped == [kept.keeper.service]
    wait_for(lambda: not is_there(kept.keeper.pid) and not of_app())


def test_an_idle_service_that_has_ended_is_not_used(make_served: Callable[..., Served]) -> None:
    host = make_served(beside)
    run(host, "true")
    (keeper,) = host.keepers.known
    assert keeper.serves(keeper.limits, True, 60)
    os.kill(keeper.pid, signal.SIGKILL)
    wait_for(lambda: not keeper.serves(keeper.limits, True, 60))


# In place of a keeper: says that it runs so many programs, and ends when it is asked once more,
# after it has read that or before.
PRETENDER = """
import json, select, socket, struct, sys
control = socket.socket(fileno=0)
stream = control.makefile("rb")
stream.read(int(stream.readline()))

def say(value):
    text = json.dumps(value).encode("ascii")
    control.sendall(struct.pack("!I", len(text)) + text)

def hear():
    stream.read(struct.unpack("!I", stream.read(4))[0])

say({"hello": 1, "bounds": {"memory": True, "tasks": True}})
for _ in range(int(sys.argv[1])):
    hear()
    say({"started": 1})
    say({"code": 0, "left": 0, "ooms": 0})
select.select([control], [], [])
if sys.argv[2] == "reads":
    hear()
"""


def pretending(programs: int, how: str) -> Callable[[List[str]], List[str]]:
    return lambda argv: [sys.executable, "-I", "-S", "-c", PRETENDER, str(programs), how]


@pytest.mark.parametrize("programs", [0, 1])
def test_a_program_that_may_have_been_started_is_not_started_again(
    make_served: Callable[..., Served], programs: int
) -> None:
    host = make_served(pretending(programs, "reads"))
    for _ in range(programs):
        run(host, "true")
    with pytest.raises(OperationError) as failed:
        run(host, "echo twice")
    told = "could not see whether /bin/sh as app was started: its keeper ended"
    assert failed.value.message == told
    assert host.served == 1
    # A service that does not serve even one is not tried again.
    assert len(host.notes) == 1 - programs
    assert run(host, "true").code == 0


@pytest.mark.parametrize("programs", [0, 1])
def test_a_program_that_its_keeper_has_not_read_is_started_by_another(
    make_served: Callable[..., Served], programs: int
) -> None:
    host = make_served(pretending(programs, "leaves"))
    for _ in range(programs + 1):
        assert run(host, "true").code == 0
    assert host.served == 1 + programs
    assert len(host.notes) == 1 - programs


def test_a_new_keeper_without_a_service_that_ends_is_not_replaced(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heard(keeper: keepers.Keeper, seconds: float) -> Any:
        raise keepers.Lost("its keeper ended")

    say = keepers.Keeper.say

    def said(keeper: keepers.Keeper, *more: Any) -> None:
        monkeypatch.setattr(keepers.Keeper, "hear", heard)
        say(keeper, *more)

    monkeypatch.setattr(keepers.Keeper, "say", said)
    with pytest.raises(OperationError, match="could not see whether sleep as app was started"):
        host.run(["sleep", "1000"], user=APP)
    assert not host.keepers.known
    wait_for(lambda: not of_app())
