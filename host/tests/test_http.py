"""A request from the host ends in time, whatever the server does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Callable, Iterator

import pytest
from celeriac_host.system.http import fetch

Serve = Callable[[socket.socket], None]


@pytest.fixture
def server() -> Iterator[Callable[[Serve], str]]:
    """Starts a server that handles each connection by the function; returns its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def start(serve: Serve) -> str:
        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def answer(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nfine")


def drip(connection: socket.socket) -> None:
    """Each byte in time, and never the last one."""
    connection.sendall(b"HTTP/1.0 200 OK\r\n")
    pause = threading.Event()
    while not pause.wait(0.05):
        connection.sendall(b"X-A: b\r\n"[:1])


def flood(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def test_an_answer(server: Callable[[Serve], str]) -> None:
    found = fetch(server(answer), 10)
    assert (found["status"], found["body"], found["error"]) == (200, "fine", None)


def test_headers_without_an_end(server: Callable[[Serve], str]) -> None:
    found = fetch(server(drip), 1)
    assert (found["status"], found["error"]) == (None, "no answer within 1 s")


def test_a_body_without_an_end(server: Callable[[Serve], str]) -> None:
    found = fetch(server(flood), 10, limit_bytes=1000)
    assert found["status"] == 200 and len(found["body"]) == 1000


@pytest.mark.parametrize("url", ["file:///etc/shadow", "ftp://127.0.0.1/", "http:///x"])
def test_other_urls(url: str) -> None:
    assert "expected http://" in fetch(url, 1)["error"]
