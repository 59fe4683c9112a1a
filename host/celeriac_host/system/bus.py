"""Asks systemd over its own socket: messages instead of a systemctl for each question.

The socket is root's alone, and the answers are values (the D-Bus specification), not text. Whatever
goes wrong is Unavailable: then systemctl is asked, which answers, or says why it cannot.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from functools import lru_cache
from typing import Any, NamedTuple, Sequence

SOCKET = "/run/systemd/private"
MANAGER = "/org/freedesktop/systemd1"
PREFIX = "org.freedesktop.systemd1."
TIMEOUT_SECONDS = 10.0
# Of a message; the specification allows 128 MiB.
MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
# Deeper values are refused by the specification, too.
DEPTH_LIMIT = 32
CALL, ANSWER, FAULT = 1, 2, 3
PATH, INTERFACE, MEMBER, REPLY_TO, SIGNATURE = 1, 2, 3, 5, 8
# Type → size, and how struct calls it.
NUMBERS = {
    "y": (1, "B"),
    "b": (4, "I"),
    "n": (2, "h"),
    "q": (2, "H"),
    "i": (4, "i"),
    "u": (4, "I"),
    "x": (8, "q"),
    "t": (8, "Q"),
    "d": (8, "d"),
    "h": (4, "I"),
}
ALIGNMENT = {"s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "{": 8, "v": 1}


class Unavailable(Exception):
    """systemd has not answered, or not as expected."""


class Call(NamedTuple):
    """A method of an object; its arguments are texts, or lists of texts (`as`)."""

    path: str
    interface: str
    member: str
    args: Sequence[str | Sequence[str]] = ()


def property_of(path: str, interface: str, name: str) -> Call:
    """Reads a property, whose value is the first of the answer; `interface` without the prefix."""
    return Call(path, "org.freedesktop.DBus.Properties", "Get", (PREFIX + interface, name))


def is_there() -> bool:
    return os.geteuid() == 0 and os.path.exists(SOCKET)


class Bus:
    """A connection, for one thread."""

    def __init__(self, address: str) -> None:
        """Raises Unavailable."""
        self._unread = bytearray()
        self._serial = 0
        self._until = time.monotonic() + TIMEOUT_SECONDS
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._end.settimeout(TIMEOUT_SECONDS)
            self._end.connect(address)
            user = str(os.geteuid()).encode("ascii").hex()
            self._end.sendall(b"\0AUTH EXTERNAL %s\r\nBEGIN\r\n" % user.encode("ascii"))
            while b"\r\n" not in self._unread:
                self._receive()
        except (OSError, Unavailable) as error:
            self.close()
            raise Unavailable(str(error)) from None
        line, _, rest = bytes(self._unread).partition(b"\r\n")
        self._unread = bytearray(rest)
        if not line.startswith(b"OK "):
            self.close()
            raise Unavailable("it refused the login")

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._end.close()

    def ask(self, calls: Sequence[Call]) -> list[list[Any] | None]:
        """The values of each answer; None: it was refused, e.g. for a unit that is gone.

        Raises Unavailable.
        """
        self._until = time.monotonic() + TIMEOUT_SECONDS
        places = {}
        lines = bytearray()
        for place, call in enumerate(calls):
            self._serial += 1
            places[self._serial] = place
            lines += _message(call, self._serial)
        found: list[list[Any] | None] = [None] * len(calls)
        try:
            self._end.sendall(lines)
            while places:
                kind, serial, values = self._message()
                if kind in (ANSWER, FAULT) and serial in places:
                    found[places.pop(serial)] = values if kind == ANSWER else None
        except (OSError, Unavailable, ValueError, KeyError, IndexError, struct.error) as error:
            self.close()
            raise Unavailable(str(error)) from None
        return found

    def _message(self) -> tuple[int, int, list[Any]]:
        """The kind of the next one, to what it is the answer, and its values."""
        self._need(16)
        if self._unread[:1] != b"l":
            raise Unavailable("not in our byte order")
        kind, body_size, _, fields_size = struct.unpack_from("<xBxxIII", self._unread)
        start = (16 + fields_size + 7) // 8 * 8
        if start + body_size > MESSAGE_LIMIT_BYTES:
            raise Unavailable("the message is too long")
        self._need(start + body_size)
        whole = bytes(self._unread[: start + body_size])
        del self._unread[: start + body_size]
        head = dict(_Reader(whole[:start], 12).value("a(yv)"))
        reader = _Reader(whole[start:])
        values = [reader.value(each) for each in _types(head.get(SIGNATURE, ""))]
        return kind, head.get(REPLY_TO, 0), values

    def _need(self, size: int) -> None:
        while len(self._unread) < size:
            self._receive()

    def _receive(self) -> None:
        self._end.settimeout(max(self._until - time.monotonic(), 0.01))
        piece = self._end.recv(65536)
        if not piece:
            raise Unavailable("it closed the connection")
        self._unread += piece


class Shared:
    """A connection for several threads, which take turns; opened when it is first needed.

    systemd does more for a new connection than for most questions. Once it has not answered, it is
    not asked again.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._turn = threading.Lock()
        self._bus: Bus | None = None
        self._is_over = False

    def ask(self, calls: Sequence[Call]) -> list[list[Any] | None]:
        """As `Bus.ask`. Raises Unavailable."""
        with self._turn:
            if self._is_over:
                raise Unavailable("it has not answered before")
            try:
                if self._bus is None:
                    self._bus = Bus(self._address)
                return self._bus.ask(calls)
            except Unavailable:
                self._is_over = True
                raise

    def close(self) -> None:
        with self._turn:
            self._is_over = True
            if self._bus is not None:
                self._bus.close()


def _message(call: Call, serial: int) -> bytes:
    body = bytearray()
    signature = ""
    for each in call.args:
        if isinstance(each, str):
            signature += "s"
            _put_text(body, each)
        else:
            signature += "as"
            items = bytearray()
            _pad(body, 4)
            for item in each:
                _put_text(items, item)
            body += struct.pack("<I", len(items)) + items
    fields = bytearray()
    for code, kind, text in (
        (PATH, "o", call.path),
        (INTERFACE, "s", call.interface),
        (MEMBER, "s", call.member),
        (SIGNATURE, "g", signature),
    ):
        if text:
            _pad(fields, 8)
            fields += struct.pack("<BB", code, 1) + kind.encode("ascii") + b"\0"
            if kind == "g":
                fields += struct.pack("<B", len(text)) + text.encode("ascii") + b"\0"
            else:
                _put_text(fields, text)
    head = struct.pack("<cBBBIII", b"l", CALL, 0, 1, len(body), serial, len(fields))
    return head + fields + bytes(-(len(head) + len(fields)) % 8) + body


def _pad(into: bytearray, size: int) -> None:
    into += bytes(-len(into) % size)


def _put_text(into: bytearray, text: str) -> None:
    content = text.encode("utf-8")
    _pad(into, 4)
    into += struct.pack("<I", len(content)) + content + b"\0"


@lru_cache(maxsize=100)
def _types(signature: str) -> Sequence[str]:
    """The complete types of a signature: `sa{sv}` → `s`, `a{sv}`."""
    found = []
    at = 0
    while at < len(signature):
        end = _end_of(signature, at)
        found.append(signature[at:end])
        at = end
    return found


def _end_of(signature: str, at: int) -> int:
    while signature[at] == "a":
        at += 1
    if signature[at] not in "({":
        return at + 1
    depth = 0
    while True:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[at], 0)
        at += 1
        if depth == 0:
            return at


class _Reader:
    """Values of a message, whose parts are aligned from its beginning."""

    def __init__(self, content: bytes, at: int = 0) -> None:
        self.content = content
        self.at = at

    def value(self, kind: str, depth: int = 0) -> Any:
        """Of one complete type. Raises Unavailable, and as `ask` catches."""
        if depth > DEPTH_LIMIT:
            raise Unavailable("a value is nested too deeply")
        first = kind[0]
        if first in NUMBERS:
            size, form = NUMBERS[first]
            found = self.number(size, form)
            return bool(found) if first == "b" else found
        if first in "so":
            return self.text(self.number(4, "I"))
        if first == "g":
            return self.text(self.number(1, "B"))
        if first == "v":
            return self.value(self.value("g", depth + 1), depth + 1)
        if first == "a":
            return self.array(kind[1:], depth + 1)
        self.align(8)
        return tuple(self.value(each, depth + 1) for each in _types(kind[1:-1]))

    def array(self, kind: str, depth: int) -> list[Any]:
        size = self.number(4, "I")
        self.align(NUMBERS[kind[0]][0] if kind[0] in NUMBERS else ALIGNMENT[kind[0]])
        end = self.at + size
        if end > len(self.content):
            raise Unavailable("cut off")
        found = []
        while self.at < end:
            begun = self.at
            found.append(self.value(kind, depth))
            if self.at == begun:
                raise Unavailable("an empty array type")
        return found

    def number(self, size: int, form: str) -> Any:
        self.align(size)
        found = struct.unpack_from("<" + form, self.content, self.at)[0]
        self.at += size
        return found

    def text(self, size: int) -> str:
        piece = self.content[self.at : self.at + size]
        if len(piece) < size:
            raise Unavailable("cut off")
        self.at += size + 1
        return piece.decode("utf-8", "replace")

    def align(self, size: int) -> None:
        self.at += -self.at % size
