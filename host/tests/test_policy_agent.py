"""The installed agent as sudo starts it: what it says, logs and refuses."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from celeriac_host.policy import budget, requests, told
from celeriac_host.policy.judge import Judge
from celeriac_host.policy.refusal import Refused
from celeriac_host.system import installed, own_program
from celeriac_host.system.errors import Fault
from policies import UNIT, Hardened
from test_agent import SOURCES


class Journal:
    """The socket of the journal, with what was written to it."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def lines(self) -> List[str]:
        found: List[str] = []
        while True:
            try:
                entry = self.socket.recv(65536).decode()
            except BlockingIOError:
                return found
            fields = dict(line.split("=", 1) for line in entry.splitlines())
            assert fields["SYSLOG_IDENTIFIER"] == "celeriac"
            found.append(fields["MESSAGE"])


@pytest.fixture
def journal(hardened: Hardened, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    path = str(hardened.root / "journal")
    monkeypatch.setattr(told, "SOCKET", path)
    found = Journal(path)
    yield found
    found.socket.close()


@pytest.fixture
def policy(hardened: Hardened) -> Path:
    path = hardened.root / "policy.json"
    path.write_text(json.dumps({**hardened.policy, "readers": ["planner"]}))
    os.chmod(path, 0o644)
    return path


def judge_of(hardened: Hardened, policy: Path, asker: str = "celeriac") -> Judge:
    return Judge(hardened.host, {}, asker, 1, str(policy))


def ask(message: Any, at: Judge) -> Any:
    return at.judge(at.parse(json.dumps(message).encode()))


def fault(message: Any, at: Judge) -> str:
    with pytest.raises(Fault) as caught:
        ask(message, at)
    return caught.value.message


LOOK = {"id": 1, "ask": "look", "protocol": 1, "query": {"code": {"unit": UNIT}}}
ENABLE = {"op": "enable-unit", "title": "a", "why": "b", "unit": UNIT}
APPLY = {
    "id": 2,
    "ask": "apply",
    "protocol": 1,
    "operations": [ENABLE],
    "meta": {"action": "deploy-worker", "holder": "run 5", "sha": "", "lockTimeoutSeconds": 1},
}


def test_each_request_is_on_record_before_it_is_judged(
    hardened: Hardened, policy: Path, journal: Journal
) -> None:
    at = judge_of(hardened, policy)
    assert ask(LOOK, at) == LOOK
    assert journal.lines() == [f"celeriac, session {os.getpid()}, asks: look code"]
    assert fault({**LOOK, "query": {"files": {"paths": ["/etc/shadow"]}}}, at) == (
        f"refused by {policy}: files: /etc/shadow is not a file that Celeriac writes"
    )
    asked, refused = journal.lines()
    assert asked.endswith("asks: look files")
    assert "is refused: files: /etc/shadow" in refused


def test_a_record_has_no_secret_and_an_end(
    hardened: Hardened, policy: Path, journal: Journal
) -> None:
    operation = {"op": "x\ny", "database": "postgresql://a:hunter2@x/y", "text": "hunter2"}
    plan = [operation, {**ENABLE, "path": "p" * 10_000}] * 1000
    assert fault({**APPLY, "operations": plan}, judge_of(hardened, policy))
    for line in journal.lines():
        assert "hunter2" not in line
        assert len(line) <= told.LIMIT
        assert "\n" not in line


def test_what_cannot_be_recorded_is_not_done(
    hardened: Hardened, policy: Path, journal: Journal
) -> None:
    journal.socket.close()
    at = judge_of(hardened, policy)
    assert fault(LOOK, at).startswith(f"refused by {policy}: log: the journal does not answer")


def test_a_request_without_this_protocol_is_refused(
    hardened: Hardened, policy: Path, journal: Journal
) -> None:
    at = judge_of(hardened, policy)
    for protocol in (2, 1.0, "1", True, None):
        with pytest.raises(Fault) as caught:
            ask({**LOOK, "protocol": protocol}, at)
        assert "protocol: the request has protocol" in caught.value.message
        assert "the owner of the server installs the agent" in caught.value.next
    assert "protocol" in fault({key: LOOK[key] for key in ("id", "ask", "query")}, at)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b'{"id": 1, "id": 2}',
        b'{"id": NaN}',
        b'{"id": "x"}',
        b'{"id": {"a": 1}}',
        b'{"id": ' + b"1" * 100_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
)
def test_what_is_no_message_is_refused(hardened: Hardened, policy: Path, line: bytes) -> None:
    with pytest.raises(Fault, match=r"refused by .*: shape: the (?:message|id)"):
        judge_of(hardened, policy).parse(line)


def test_who_may_sign_is_what_to_do_about_a_commit(
    hardened: Hardened, policy: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsigned(message: Any, scene: Any) -> None:
        raise Refused("signers", "commit 1234567 is not signed")

    at = judge_of(hardened, policy)
    monkeypatch.setattr(requests, "judge", unsigned)
    with pytest.raises(Fault) as caught:
        ask(APPLY, at)
    assert "git commit -S" in caught.value.next


def test_a_policy_that_cannot_be_used_refuses_everything(
    hardened: Hardened, policy: Path, journal: Journal
) -> None:
    at = judge_of(hardened, policy)
    os.chmod(policy, 0o666)
    assert at.access() == "none"
    assert (
        fault(LOOK, at)
        == f"refused: users other than root may write to {policy}; chmod go-w {policy}"
    )
    os.chmod(policy, 0o644)
    policy.write_text("{}")
    assert "is not valid: version: expected 1" in fault(LOOK, at)
    policy.unlink()
    assert "cannot be read" in fault(LOOK, at)


def test_a_reader_changes_nothing(hardened: Hardened, policy: Path, journal: Journal) -> None:
    for asker, access in (("celeriac", "change"), ("planner", "read"), ("", "read")):
        at = judge_of(hardened, policy, asker)
        assert at.access() == access
        ask(LOOK, at)
        if access == "read":
            assert "access: apply changes the host, and access is read" in fault(APPLY, at)


def test_a_session_has_bounds(
    hardened: Hardened, policy: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"requests": 3, "bytes": 1, "changesPerHour": 1}
    policy.write_text(json.dumps({**hardened.policy, "limits": limits}))
    monkeypatch.setattr(budget, "FOLDER", str(hardened.root / "run"))
    at = judge_of(hardened, policy)
    ask(APPLY, at)
    assert "limits: at most 1 changes per hour are allowed" in fault(APPLY, at)
    ask(LOOK, at)
    assert "limits: a session has at most 3 requests" in fault(LOOK, at)
    more = judge_of(hardened, policy)
    more.received_bytes = 65 * 1024 * 1024
    assert "too many bytes" in fault(LOOK, more)


def test_changes_are_counted_for_an_hour(
    hardened: Hardened, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(hardened.root / "run")
    monkeypatch.setattr(budget, "FOLDER", folder)
    now = 100_000.0
    monkeypatch.setattr("time.clock_gettime", lambda clock: now)
    budget.spend(2, "celeriac")
    budget.spend(2, "celeriac")
    with pytest.raises(Refused):
        budget.spend(2, "celeriac")
    now += 3601
    budget.spend(2, "celeriac")
    # Those of another user are its own.
    budget.spend(1, "../planner")
    assert sorted(os.listdir(folder)) == ["changes-___planner.json", "changes-celeriac.json"]
    Path(folder, "changes-celeriac.json").write_text("not JSON")
    budget.spend(1, "celeriac")


def test_so_many_sessions_at_a_time(hardened: Hardened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "FOLDER", str(hardened.root / "run"))
    taken = [budget.take_place("planner") for _ in range(budget.MOST_SESSIONS)]
    with pytest.raises(Refused, match="16 sessions at a time"):
        budget.take_place("planner")
    # Another user's are its own.
    taken.append(budget.take_place("celeriac"))
    os.close(taken.pop(0))
    taken.append(budget.take_place("planner"))
    for handle in taken:
        os.close(handle)


def test_what_a_rule_cannot_read_is_refused(
    hardened: Hardened, policy: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(message: Any, scene: Any) -> None:
        raise KeyError("a mistake in a rule")

    monkeypatch.setattr(requests, "judge", broken)
    assert "it cannot be judged" in fault(APPLY, judge_of(hardened, policy))
    assert "is refused" in journal.lines()[-1]


# --- as a program ---------------------------------------------------------------------------------


@pytest.fixture
def program(hardened: Hardened) -> str:
    path = hardened.root / "agent"
    own_program.put(lambda: SOURCES)
    path.write_text(installed.text("/usr/bin/python3"))
    os.chmod(path, 0o755)
    return str(path)


def run(program: str, words: List[str], environment: Dict[str, str], *asked: Any) -> List[Any]:
    """Its hello, and an answer to each message."""
    pipe = subprocess.PIPE
    with subprocess.Popen([program, *words], stdin=pipe, stdout=pipe, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        found = [json.loads(process.stdout.readline())]
        for message in asked:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            found.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        assert process.wait() == 0
    return found


def test_the_program_says_what_it_is(program: str) -> None:
    digest = hashlib.sha256()
    for path in sorted(SOURCES):
        digest.update(path.encode() + b"\0" + SOURCES[path].encode() + b"\0")
    (hello,) = run(program, [], {})
    assert hello["hello"] == "celeriac"
    assert (hello["protocol"], hello["hardened"]) == (1, True)
    assert hello["version"] == digest.hexdigest()[:12]
    # This machine has no policy.
    assert hello["access"] == "none"


def test_neither_arguments_nor_the_environment_matter(program: str, hardened: Hardened) -> None:
    (hardened.root / "celeriac_host").mkdir()
    (hardened.root / "celeriac_host" / "__init__.py").write_text("raise SystemExit('evil')")
    environment = {
        "SSH_ORIGINAL_COMMAND": "/bin/sh",
        "PYTHONPATH": str(hardened.root),
        "PYTHONINSPECT": "1",
        "SOURCES": "{}",
        "PATH": "/nonexistent",
    }
    look = {**LOOK, "query": {"host": {}}}
    hello, answer = run(program, ["carry-out", "x", "0"], environment, look)
    assert hello["hardened"] is True
    assert "policy.json" in answer["fault"]["message"]


def test_it_is_for_root_alone(program: str) -> None:
    done = subprocess.run(
        [program], preexec_fn=lambda: os.setuid(1), capture_output=True, env={}, cwd="/"
    )
    assert done.returncode != 0
    assert b"this program is for root" in done.stderr
