"""Sends an HTTP request from the host, then polls until the job is done."""

from __future__ import annotations

import json
import time
import urllib.parse
from typing import Any

from celeriac_host.app.probe_rows import FIELD, STILL_RUNS, as_text, clean, field, filled
from celeriac_host.system.http import fetch, shown
from celeriac_host.system.system import System

BODY_LIMIT_BYTES = 256 * 1024
REQUEST_SECONDS = 15.0
POLL_SECONDS = 1.0
TELL_SECONDS = 3.0
DETAIL_LIMIT = 300


def run(request: dict[str, Any], host: System) -> dict[str, Any]:
    """A JobReport with the one job. Raises RunnerGone."""
    begun = time.monotonic()
    call = _Call(request, host, begun + request["timeoutSeconds"])
    state, detail = call.carry_out()
    ok = state == "done"
    row = {
        "id": call.id,
        "where": f"{request['method']} {shown(request['url'])}",
        "state": state,
        "detail": detail,
        "seconds": round(time.monotonic() - begun, 3),
    }
    if request.get("clean") is not None:
        row["left"] = call.clean(state)
    return {
        "ok": ok,
        "jobs": [row],
        "problem": None if ok else f"{row['where']}: {detail}",
    }


class _Call:
    def __init__(self, request: dict[str, Any], host: System, deadline: float) -> None:
        self.request = request
        self.host = host
        self.begun = time.monotonic()
        self.deadline = deadline
        self.id = "http"
        self.first: Any = None
        self.last: Any = None

    def carry_out(self) -> tuple[str, str]:
        """State and detail of the job."""
        answer = self.ask(self.request["method"], self.request["url"], self.request["form"])
        if answer["error"] is not None:
            return self.failure(answer["error"])
        if not 200 <= answer["status"] < 300:
            return self.failure(_refusal(answer))
        self.first = self.last = _parsed(answer["body"])
        template = self.request["pollUrl"]
        if template is None:
            return self.judge() or ("done", f"HTTP {answer['status']}")
        if self.last is None:
            return self.failure(f"the response is not JSON: {answer['body'][:100]!r}")
        try:
            url = urllib.parse.urljoin(self.request["url"], self.fill(template))
        except KeyError as error:
            return self.failure(f"the response has no field {error.args[0]!r}: {_said(answer)}")
        return self.poll(url)

    def poll(self, url: str) -> tuple[str, str]:
        word = "no request sent"
        tell_at = time.monotonic() + TELL_SECONDS
        while time.monotonic() < self.deadline:
            answer = self.ask("GET", url, {})
            word = answer["error"] or ""
            if answer["error"] is None:
                body = _parsed(answer["body"])
                if 200 <= answer["status"] < 300 and body is not None:
                    self.last = body
                    judged = self.judge()
                    if judged is not None:
                        return judged
                    word = self.summary()
                # 404: not there yet; 429 and 5xx may pass. Other errors will not.
                elif 400 <= answer["status"] < 500 and answer["status"] not in (404, 429):
                    return self.failure(f"{shown(url)} {_refusal(answer)}")
                else:
                    word = _refusal(answer)
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + TELL_SECONDS
                self.tell(word[:DETAIL_LIMIT])
            self.host.sleep(max(0.0, min(POLL_SECONDS, self.deadline - time.monotonic())))
        limit = f"{self.request['timeoutSeconds']:g} s"
        return "timed-out", f"not done within {limit}; last: {word}"[:DETAIL_LIMIT]

    def tell(self, detail: str) -> None:
        """Whether it is queued or running, only the app knows; `detail` is what it says."""
        where = f"{self.request['method']} {shown(self.request['url'])}"
        probe = {"where": where, "place": "unknown", "detail": detail}
        waited = round(time.monotonic() - self.begun, 3)
        self.host.probes({"seconds": waited, "probes": [probe]})

    def clean(self, state: str) -> str | None:
        """Removes or marks what it made; None: done."""
        if state == "timed-out":
            return STILL_RUNS
        if self.first is None:
            return "the request was not answered"
        return clean(self.request["clean"], self.first, self.request["url"])

    def ask(self, method: str, url: str, form: dict[str, str]) -> dict[str, Any]:
        self.host.heed()
        if method == "GET" and form:
            url += ("&" if urllib.parse.urlsplit(url).query else "?") + urllib.parse.urlencode(form)
        left = max(min(REQUEST_SECONDS, self.deadline - time.monotonic()), 0.5)
        body = form if method == "POST" else None
        return fetch(url, left, method, body, BODY_LIMIT_BYTES)

    def judge(self) -> tuple[str, str] | None:
        """State and detail; None while the field says neither done nor failed."""
        value = as_text(field(self.last, self.request["field"]))
        if value is not None and value in self.request["failed"]:
            return self.failure(self.summary())
        if value is not None and value in self.request["done"]:
            return "done", self.summary()
        return None

    def summary(self) -> str:
        found = scalars(self.last)
        name = self.request["field"]
        if name and name not in found:
            return f"the response has no field {name!r}: {json.dumps(self.last)[:100]}"
        first = [name] if name in found else []
        order = first + [each for each in found if each not in first and each != "error"]
        return ", ".join(f"{each} {as_text(found[each])}" for each in order)[:DETAIL_LIMIT]

    def failure(self, detail: str) -> tuple[str, str]:
        return "failed", detail[:DETAIL_LIMIT]

    def fill(self, template: str) -> str:
        """`{name}` → that field of the first answer. Raises KeyError."""

        for name in FIELD.findall(template):
            self.id = as_text(field(self.last, name)) or self.id
        return filled(template, self.last)


def scalars(body: Any) -> dict[str, str | float | None]:
    """The scalar values of a response, two levels deep, by their dotted paths."""
    found: dict[str, str | float | None] = {}
    for name, value in body.items() if isinstance(body, dict) else ():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for below, each in inner:
            if not isinstance(each, (dict, list)):
                path = f"{name}.{below}" if below else str(name)
                found[path] = int(each) if isinstance(each, bool) else each
    return found


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(answer: dict[str, Any]) -> str:
    return " ".join(str(answer["body"]).split())[:100]


def _refusal(answer: dict[str, Any]) -> str:
    said = _said(answer)
    return f"answered HTTP {answer['status']}" + (f": {said}" if said else "")
