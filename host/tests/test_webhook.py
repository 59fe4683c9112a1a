"""The webhook: who sends, what, where to, and that its URL appears nowhere."""

from __future__ import annotations

import binascii
import http.server
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from celeriac_host.sampler import deliver
from celeriac_host.state import ledger, lock_file, webhook
from celeriac_host.system.errors import OperationError
from celeriac_host.transaction import guard, work
from hosts import Host

EVENT = {"unit": "celery-worker.service", "what": "restarted by systemd once", "at": 1795889577.5}
SECRET = "s3cr3t-t0ken"

Received = List[Tuple[str, str, Dict[str, Any]]]


class Server(http.server.ThreadingHTTPServer):
    status = 200
    location = ""
    delay = 0.0
    received: Received


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers["Content-Type"], json.loads(body)))
        time.sleep(self.server.delay)
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.received.append((self.path, "", {}))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.received = []
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def setting(root_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = root_folder / "webhook"
    monkeypatch.setattr(webhook, "SETTING", str(place))
    return place


def put(place: Path, text: str, mode: int = 0o600) -> None:
    place.write_text(text)
    place.chmod(mode)


def to(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/hooks/{SECRET}"


def test_one_post_of_json(server: Server, setting: Path) -> None:
    put(setting, to(server) + "\n")
    assert deliver.deliver(EVENT) is None
    ((path, kind, body),) = server.received
    name = os.uname().nodename
    assert (path, kind) == (f"/hooks/{SECRET}", "application/json")
    assert body == {
        "text": f"Celeriac on {name}: celery-worker.service restarted by systemd once",
        "host": name,
        "unit": "celery-worker.service",
        "what": "restarted by systemd once",
        "when": "2026-11-28T18:12:57Z",
    }


def test_a_redirect_is_not_followed(server: Server, setting: Path) -> None:
    put(setting, to(server))
    server.status, server.location = 302, to(server) + "/elsewhere"
    assert deliver.deliver(EVENT) == "it answered with status 302"
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_is_a_problem(server: Server, setting: Path, status: int) -> None:
    put(setting, to(server))
    server.status = status
    assert deliver.deliver(EVENT) == f"it answered with status {status}"


def test_time_is_limited(server: Server, setting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "TIMEOUT_SECONDS", 0.3)
    put(setting, to(server))
    server.delay = 2.0
    assert deliver.deliver(EVENT) == "no answer within 0.3 s"


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:1/{SECRET}",
        f"https://127.0.0.1:1/{SECRET}",
        f"https://{SECRET}.invalid/x",
        f"https://127.0.0.1:1/{SECRET} x",
        f"http://example.com/{SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"http://127.0.0.1.example.com/{SECRET}",
        f"http://127.0.0.1@example.com/{SECRET}",
        f"https://127.0.0.1:x/{SECRET}",
        f"https://127.0.0.1:1/\x01{SECRET}",
        f"file:///{SECRET}",
        f"https:///{SECRET}",
        "",
        f"{SECRET}\n{SECRET}",
        "https://127.0.0.1:1/" + SECRET * 1000,
    ],
)
def test_the_url_appears_in_no_problem(setting: Path, url: str) -> None:
    put(setting, url)
    problem = deliver.deliver(EVENT)
    assert problem
    assert SECRET not in problem


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o660])
def test_a_secret_that_others_can_read_is_not_used(
    server: Server, setting: Path, mode: int
) -> None:
    put(setting, to(server), mode)
    assert "with mode 0600" in str(deliver.deliver(EVENT))
    assert server.received == []


def test_a_file_that_another_could_put_there_is_not_used(
    server: Server, setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(setting, to(server))
    os.chown(setting, 1, 1)
    assert "with mode 0600" in str(deliver.deliver(EVENT))
    os.chown(setting, 0, 0)
    os.chmod(setting.parent, 0o777)
    assert "can be changed by users other than root" in str(deliver.deliver(EVENT))
    os.chmod(setting.parent, 0o755)
    setting.unlink()
    os.mkfifo(setting, 0o600)
    assert "not a regular file" in str(deliver.deliver(EVENT))
    assert server.received == []


# --- who asks for it ---------------------------------------------------------------------------


def sent(host: Host) -> List[Dict[str, Any]]:
    runs = [words for words in host.asked if words[0] == "systemd-run"]
    return [json.loads(binascii.a2b_base64(words[-1])) for words in runs]


def test_the_url_is_in_no_argument(host: Host, setting: Path) -> None:
    put(setting, f"https://example.com/{SECRET}")
    host.answers[("systemd-run",)] = (0, "")
    webhook.tell(host, {**EVENT, "what": "$HOME %n " + "x" * 5000})
    (argv,) = (words for words in host.asked if words[0] == "systemd-run")
    assert SECRET not in " ".join(argv)
    assert "--no-block" in argv and argv[-2] == "tell"
    assert "$" not in argv[-1]
    assert len(sent(host)[0]["what"]) == webhook.TEXT_LIMIT


def test_without_a_file_nothing_is_sent(host: Host, setting: Path) -> None:
    webhook.tell(host, EVENT)
    assert sent(host) == []


def test_whatever_fails_fails_nothing(host: Host, setting: Path) -> None:
    put(setting, "x")
    host.answers[("systemd-run",)] = (1, "")
    webhook.tell(host, EVENT)

    def broken(*_: Any, **__: Any) -> Any:
        raise OperationError("no systemd-run")

    host.run = broken  # type: ignore[method-assign]
    webhook.tell(host, EVENT)


def test_the_guard_tells_of_a_rollback_once(
    host: Host, setting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(setting, "x")
    host.answers[("systemd-run",)] = (0, "")
    unit = "celery-worker.service"
    waiting = [{"unit": unit, "transactions": ["b", "a"], "withinSeconds": 900.0}]
    monkeypatch.setattr(ledger, "all_awaiting", lambda state: waiting)
    monkeypatch.setattr(ledger, "is_due", lambda each: True)
    monkeypatch.setattr(guard, "disarm", lambda host: True)
    why = "not confirmed within 15 min"
    deeds = [
        {"transaction": ident, "result": result, "why": why}
        for ident, result in (("b", "undone"), ("a", "undo-failed"))
    ]
    answers = iter([[], deeds])
    held: List[bool] = []
    monkeypatch.setattr(work, "tend", lambda host, emit: next(answers))
    for ident in ("a", "b"):
        folder = Path(host.state) / "transactions" / ident
        folder.mkdir()
        (folder / "plan.json").write_text(json.dumps({"meta": {"unit": unit}}))
    usual = webhook.tell

    def tell(host: Host, event: Dict[str, Any]) -> None:
        held.append(lock_file.is_held(host.state))
        usual(host, event)

    monkeypatch.setattr(webhook, "tell", tell)
    work._guard(host)
    assert [(each["unit"], each["what"]) for each in sent(host)] == [
        (unit, f"could not be rolled back completely: {why}")
    ]
    # Nobody waits for the lock meanwhile.
    assert held == [False]
