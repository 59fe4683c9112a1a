"""Sends one HTTP request from the host."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any

BODY_LIMIT_BYTES = 2048


def fetch(
    url: str,
    timeout: float,
    method: str = "GET",
    form: dict[str, str] | None = None,
    limit_bytes: int = BODY_LIMIT_BYTES,
    data: dict[str, Any] | None = None,
    redirects: bool = True,
) -> dict[str, Any]:
    """Returns an HttpAnswer, also for 4xx and 5xx. `form`, or `data` as JSON, is the body."""
    begun = time.monotonic()
    status, body, error = None, b"", None
    cut = _Cut(timeout)
    try:
        _check(url)
        headers = {"User-Agent": "celeriac"}
        content = urllib.parse.urlencode(form).encode() if form is not None else None
        if data is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(data).encode("ascii")
        request = urllib.request.Request(url, content, headers, method=method)
        try:
            response = _opener(cut, _SameHost if redirects else _Nowhere).open(
                request, timeout=timeout
            )
        except urllib.error.HTTPError as answer:
            response = answer
        if cut.is_done:
            # Its headers seem to end there.
            response.close()
            raise socket.timeout
        with response:
            status = response.status if hasattr(response, "status") else response.code
            body = _bounded(response, begun + timeout, limit_bytes)
    except (OSError, ValueError, urllib.error.URLError) as problem:
        error = _reason(problem, timeout)
    except Exception as problem:
        # Errors of http.client: the response is not HTTP.
        error = f"invalid HTTP response ({type(problem).__name__})"
    finally:
        cut.end()
    if status is None and cut.is_done:
        error = f"no answer within {timeout:g} s"
    return {
        "url": shown(url),
        "status": status,
        "body": body.decode("utf-8", "replace"),
        "error": error,
        "seconds": round(time.monotonic() - begun, 3),
    }


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the same host only; returns any other redirect as the answer."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        if urllib.parse.urlsplit(newurl).hostname != urllib.parse.urlsplit(req.full_url).hostname:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Returns every redirect as the answer."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        return None


class _Cut:
    """Cuts the connections of one request when its time is up.

    The time-out of a socket is for each read: a server that sends its headers byte by byte would
    keep us for hours.
    """

    def __init__(self, seconds: float) -> None:
        self.is_done = False
        self.handles: list[socket.socket] = []
        self.timer = threading.Timer(seconds, self._cut)
        self.timer.daemon = True
        self.timer.start()

    def watch(self, connection: socket.socket) -> socket.socket:
        # TLS takes the descriptor over.
        self.handles.append(connection.dup())
        if self.is_done:
            self._cut()
        return connection

    def end(self) -> None:
        self.timer.cancel()
        for each in self.handles:
            each.close()

    def _cut(self) -> None:
        self.is_done = True
        for each in list(self.handles):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _opener(
    cut: _Cut, redirects: type[urllib.request.HTTPRedirectHandler]
) -> urllib.request.OpenerDirector:
    def watched(connection: Any) -> Any:
        create = connection._create_connection
        connection._create_connection = lambda *args, **more: cut.watch(create(*args, **more))
        return connection

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(
                lambda host, **more: watched(http.client.HTTPConnection(host, **more)),
                req,
            )

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(
                lambda host, **more: watched(http.client.HTTPSConnection(host, **more)),
                req,
            )

    return urllib.request.build_opener(urllib.request.ProxyHandler({}), redirects, Plain, Secure)


def _check(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("invalid URL: expected http:// or https://")


def _bounded(response: Any, deadline: float, limit_bytes: int) -> bytes:
    body = b""
    while len(body) < limit_bytes and time.monotonic() < deadline:
        piece = response.read1(limit_bytes - len(body))
        if not piece:
            break
        body += piece
    return body


def _reason(problem: Exception, timeout: float) -> str:
    cause = getattr(problem, "reason", problem)
    if isinstance(cause, (socket.timeout, TimeoutError)):
        return f"no answer within {timeout:g} s"
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror).lower()
    # http.client repeats parts of an invalid URL.
    if isinstance(cause, http.client.InvalidURL):
        return "invalid URL"
    return str(cause) or type(cause).__name__


def shown(url: str) -> str:
    """The URL without its query, which may hold a token."""
    return url.partition("?")[0] + ("?…" if "?" in url else "")
