"""What a probe made is removed by the app, by the ids of its own answer."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from celeriac_host.app import http_probe, listener, probe, probe_rows
from celeriac_host.system import units
from hosts import Host


class App:
    """Answers each request as told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: List[Tuple[str, str, str]] = []
        self.answers: Dict[str, Tuple[int, str]] = {}
        app = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                app.asked.append((self.command, self.path, body))
                status, text = app.answers.get(self.path, (200, "{}"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def request(app: App, **changes: Any) -> Dict[str, Any]:
    return {
        "kind": "http",
        "method": "POST",
        "url": app.base + "/batch",
        "form": {"links": "a"},
        "pollUrl": "/batch/{batch_id}/status",
        "field": "status",
        "done": ["completed"],
        "failed": ["failed"],
        "timeoutSeconds": 20,
        "clean": {"method": "DELETE", "url": "/batch/{batch_id}", "form": {}},
        **changes,
    }


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_batch_is_removed_once_it_has_ended(app: App, status: str, tmp_path: Path) -> None:
    app.answers["/batch"] = (200, '{"batch_id": "b 1"}')
    app.answers["/batch/b%201/status"] = (200, '{"status": "%s", "batch_id": "another"}' % status)
    report = http_probe.run(request(app), Host(str(tmp_path)))
    assert report["jobs"][0]["left"] is None
    assert report["ok"] == (status == "completed")
    # By the id of the first answer.
    assert app.asked[-1] == ("DELETE", "/batch/b%201", "")


def test_it_may_be_marked_instead(app: App, tmp_path: Path) -> None:
    app.answers["/batch"] = (200, '{"batch_id": 7, "status": "completed"}')
    clean = {"method": "POST", "url": "/batch/{batch_id}/mark", "form": {"mark": "test"}}
    report = http_probe.run(request(app, pollUrl=None, clean=clean), Host(str(tmp_path)))
    assert report["jobs"][0]["left"] is None
    assert app.asked[-1] == ("POST", "/batch/7/mark", "mark=test")


def test_a_job_that_may_still_run_keeps_its_rows(app: App, tmp_path: Path) -> None:
    call = http_probe._Call(request(app), Host(str(tmp_path)), 0)
    call.first = {"batch_id": 7}
    assert call.clean("timed-out") == "the job may still run"
    assert app.asked == []
    assert call.clean("failed") is None


def test_nothing_is_removed_without_an_id(app: App, tmp_path: Path) -> None:
    for answer in ("{}", '{"batch_id": ""}', '{"batch_id": ".."}', '{"batch_id": null}', "[]"):
        app.answers["/batch"] = (200, answer)
        report = http_probe.run(request(app, pollUrl=None), Host(str(tmp_path)))
        assert report["jobs"][0]["left"] == "the response has no field 'batch_id'"
    app.answers["/batch"] = (500, "")
    report = http_probe.run(request(app), Host(str(tmp_path)))
    assert report["jobs"][0]["left"] == "the request was not answered"
    assert {method for method, _, _ in app.asked} == {"POST"}


def test_a_refusal_is_told_and_without_a_wish_nothing_is_asked(app: App, tmp_path: Path) -> None:
    app.answers["/batch"] = (200, '{"batch_id": 7, "status": "completed"}')
    app.answers["/batch/7"] = (404, "")
    report = http_probe.run(request(app, pollUrl=None), Host(str(tmp_path)))
    assert report["jobs"][0]["left"] == "answered HTTP 404"
    wish = request(app, pollUrl=None)
    del wish["clean"]
    assert "left" not in http_probe.run(wish, Host(str(tmp_path)))["jobs"][0]
    gone = {"method": "DELETE", "url": "http://127.0.0.1:9/{id}", "form": {}}
    assert probe_rows.clean(gone, {"id": 1}, "") == "connection refused"


def test_calls_of_a_task_are_removed_by_their_ids(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [
        {"id": "t1", "where": "x", "state": "done", "detail": "", "seconds": 1},
        {"id": "t2", "where": "x", "state": "timed-out", "detail": "", "seconds": 1},
    ]
    report = {"ok": False, "jobs": rows, "problem": None}
    monkeypatch.setattr(listener, "ask", lambda *_: report)
    monkeypatch.setattr(units, "show", lambda *_: {"ActiveState": "active"})
    clean = {"method": "DELETE", "url": app.base + "/jobs/{task_id}", "form": {}}
    wish = {"kind": "task", "unit": "x", "timeoutSeconds": 1, "clean": clean}
    found = probe.run(wish, Host(str(tmp_path)))
    assert [job["left"] for job in found["jobs"]] == [None, "the job may still run"]
    assert app.asked == [("DELETE", "/jobs/t1", "")]
