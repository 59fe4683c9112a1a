"""Questions to systemd over its socket, and what happens where it does not answer."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from celeriac_host.facts import host as host_fact
from celeriac_host.facts import limits
from celeriac_host.system import bus, unit_context, units
from celeriac_host.system.system import System
from hosts import Answers, Host

NOT_SET = (1 << 64) - 1


class Writer:
    """The other side's marshalling, written from the specification on its own."""

    def __init__(self, begun: bytes = b"") -> None:
        self.found = bytearray(begun)

    def pad(self, size: int) -> "Writer":
        self.found += bytes(-len(self.found) % size)
        return self

    def put(self, signature: str, value: Any) -> "Writer":
        if signature in "so":
            self.pad(4).found += struct.pack("<I", len(value.encode()))
            self.found += value.encode() + b"\0"
        elif signature == "g":
            self.found += bytes([len(value)]) + value.encode() + b"\0"
        elif signature in "ut":
            size, form = (4, "<I") if signature == "u" else (8, "<Q")
            self.pad(size).found += struct.pack(form, value)
        elif signature == "v":
            self.put("g", value[0]).put(value[0], value[1])
        elif signature[0] == "a":
            at = len(self.pad(4).found)
            self.found += b"\0\0\0\0"
            self.pad(8 if signature[1] in "(t" else 4)
            start = len(self.found)
            for each in value:
                self.put(signature[1:], each)
            self.found[at : at + 4] = struct.pack("<I", len(self.found) - start)
        else:
            self.pad(8)
            for kind, each in zip(signature[1:-1], value):
                self.put(kind, each)
        return self


def answer(serial: int, signature: str, value: Any, kind: int = 2) -> bytes:
    body = bytes(Writer().put(signature, value).found)
    head = bytearray(b"l" + bytes([kind, 0, 1]) + struct.pack("<II", len(body), 7))
    fields = [(5, ("u", serial)), (8, ("g", signature))]
    at = len(head)
    head += b"\0\0\0\0"
    writer = Writer(bytes(head))
    for code, value in fields:
        writer.pad(8).found.append(code)
        writer.put("v", value)
    size = len(writer.found) - at - 4
    writer.found[at : at + 4] = struct.pack("<I", size)
    return bytes(writer.pad(8).found) + body


Reply = Callable[[int, bytes], bytes]


class Systemd:
    """Answers each call by `reply`: its serial, and the whole message."""

    def __init__(self, folder: Path, reply: Reply, greeting: bytes = b"OK 1234\r\n") -> None:
        self.address = str(folder / "private")
        self.reply, self.greeting = reply, greeting
        self.asked: List[bytes] = []
        self.connections = 0
        self.end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.end.bind(self.address)
        self.end.listen(5)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        # Closing it would not wake who waits in accept.
        self.end.shutdown(socket.SHUT_RDWR)
        self.thread.join(20)
        self.end.close()
        assert not self.thread.is_alive()

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.end.accept()
            except OSError:
                return
            self.connections += 1
            with peer:
                self.talk(peer)

    def talk(self, peer: socket.socket) -> None:
        unread = bytearray()

        def need(size: int) -> bool:
            while len(unread) < size:
                piece = peer.recv(65536)
                if not piece:
                    return False
                unread.extend(piece)
            return True

        while b"BEGIN\r\n" not in unread:
            if not need(len(unread) + 1):
                return
        del unread[: unread.index(b"BEGIN\r\n") + 7]
        peer.sendall(self.greeting)
        while need(16):
            body, serial, fields = struct.unpack_from("<III", unread, 4)
            size = (16 + fields + 7) // 8 * 8 + body
            if not need(size):
                return
            message = bytes(unread[:size])
            del unread[:size]
            self.asked.append(message)
            said = self.reply(serial, message)
            if not said:
                return
            peer.sendall(said)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Systemd]]:
    """Starts one, which every `System` of the test finds."""
    made: List[Systemd] = []

    def start(reply: Reply, **more: Any) -> Systemd:
        made.append(Systemd(tmp_path, reply, **more))
        monkeypatch.setattr(bus, "SOCKET", made[0].address)
        monkeypatch.setattr(bus, "is_there", lambda: True)
        return made[0]

    yield start
    for each in made:
        each.stop()


def texts(serial: int, message: bytes) -> bytes:
    return answer(serial, "v", ("as", ["A=b c", "PATH=/bin"]))


def test_values_of_several_answers_in_one_flight(systemd: Callable[..., Systemd]) -> None:
    def reply(serial: int, message: bytes) -> bytes:
        return answer(serial, "v", ("t", 1 << 40) if serial % 2 else ("s", "naïve"))

    systemd(reply)
    call = bus.property_of("/unit", "Service", "MemoryMax")
    with bus.Bus(bus.SOCKET) as opened:
        assert opened.ask([call, call, call]) == [[1 << 40], ["naïve"], [1 << 40]]
        assert opened.ask([call]) == [["naïve"]]


def test_the_rows_of_a_list(systemd: Callable[..., Systemd]) -> None:
    rows = [("a.service", 3, "/a"), ("ü.slice", 4, "/b")]
    asked = systemd(lambda serial, message: answer(serial, "a(suo)", rows)).asked
    with bus.Bus(bus.SOCKET) as opened:
        call = bus.Call("/x", "i.f", "List", ([], ["*.service"]))
        assert opened.ask([call]) == [[rows]]
    assert b"asas" in asked[0]
    assert asked[0].endswith(struct.pack("<I", 9) + b"*.service\0")


def test_a_refusal_is_none_and_the_others_count(systemd: Callable[..., Systemd]) -> None:
    def reply(serial: int, message: bytes) -> bytes:
        return answer(serial, "s", "no such unit", kind=3 if serial == 1 else 2)

    systemd(reply)
    call = bus.property_of("/unit", "Service", "MemoryMax")
    with bus.Bus(bus.SOCKET) as opened:
        assert opened.ask([call, call]) == [None, ["no such unit"]]


@pytest.mark.parametrize("kind", ["a()", "a{}", "as", "ay"])
def test_an_array_that_does_not_end(kind: str) -> None:
    longer = struct.pack("<I", 64) + bytes(40)
    with pytest.raises(bus.Unavailable):
        bus._Reader(longer).value(kind)
    if kind in ("a()", "a{}"):
        # Its elements take no bytes.
        with pytest.raises(bus.Unavailable, match="an empty array type"):
            bus._Reader(struct.pack("<I", 8) + bytes(40)).value(kind)


NONSENSE: List[Tuple[str, Reply]] = [
    ("it ends", lambda serial, message: b""),
    ("it is cut short", lambda serial, message: answer(serial, "v", ("s", "x"))[:-6]),
    (
        "a text longer than its message",
        lambda serial, message: answer(serial, "s", "xyz").replace(
            struct.pack("<I", 3) + b"xyz", struct.pack("<I", 300) + b"xyz"
        ),
    ),
    ("another byte order", lambda serial, message: b"B" + answer(serial, "s", "x")[1:]),
    ("an endless message", lambda serial, message: b"l\2\0\1" + b"\xff" * 12),
]


@pytest.mark.parametrize(
    "reply", [each for _, each in NONSENSE], ids=[each for each, _ in NONSENSE]
)
def test_what_cannot_be_read(
    systemd: Callable[..., Systemd], reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "TIMEOUT_SECONDS", 0.5)
    systemd(reply)
    with bus.Bus(bus.SOCKET) as opened, pytest.raises(bus.Unavailable):
        opened.ask([bus.property_of("/unit", "Service", "MemoryMax")])


def test_a_variant_in_a_variant_has_an_end() -> None:
    with pytest.raises(bus.Unavailable, match="too deep"):
        bus._Reader(b"\1v\0" * 40).value("v")


def test_it_refuses_us(systemd: Callable[..., Systemd]) -> None:
    systemd(texts, greeting=b"REJECTED EXTERNAL\r\n")
    with pytest.raises(bus.Unavailable, match="refused"):
        bus.Bus(bus.SOCKET)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(bus.Unavailable):
        bus.Bus(str(tmp_path / "private"))


def test_only_root_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bus, "SOCKET", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not bus.is_there()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert bus.is_there()
    monkeypatch.setattr(bus, "SOCKET", str(tmp_path / "none"))
    assert not bus.is_there()


class Bused(Host):
    """Its systemd answers over the socket, and systemctl from the table."""

    def systemd(self, calls: Any) -> Any:
        return System.systemd(self, calls)


VERSION: Answers = {
    ("systemctl", "--version"): (0, "systemd 247 (247)\n"),
    ("systemd-detect-virt",): (0, "docker\n"),
}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (("252.39-1~deb12u2", "systemd-nspawn"), (252, "systemd-nspawn")),
        (("v255.4-1ubuntu8", "kvm"), (255, None)),
        (("250", ""), (250, None)),
        # Of a systemd that knows more than we do: its own program says whether that is a container.
        (("260", "hyperlight"), (260, "docker")),
        (("", ""), (247, "docker")),
    ],
)
def test_version_and_container(
    systemd: Callable[..., Systemd], state: str, said: Tuple[str, str], found: Any
) -> None:
    def reply(serial: int, message: bytes) -> bytes:
        return answer(serial, "v", ("s", said[0 if b"\0Version\0" in message else 1]))

    systemd(reply)
    fact = host_fact.look({}, Bused(state, VERSION))
    assert (fact["systemd"], fact["container"]) == found


UNITS = [
    ("worker.service", "loaded", "active", "/worker"),
    ("redis.service", "loaded", "active", "/redis"),
    ("old.service", "loaded", "inactive", "/old"),
    ("free.service", "loaded", "active", "/free"),
    ("named.service", "not-found", "inactive", "/named"),
    ("left.service", "not-found", "active", "/left"),
    ("gone.service", "loaded", "active", "/gone"),
    ("shop.slice", "loaded", "active", "/shop"),
]
MAX = {
    "/worker": 838860800,
    "/redis": 268435456,
    "/old": 1048576,
    "/free": NOT_SET,
    "/left": 2097152,
    "/shop": 1 << 30,
}


def limits_of(serial: int, message: bytes) -> bytes:
    if b"ListUnitsByPatterns" in message:
        rows = [(u, "about", load, up, "", "", path, 0, "", "/") for u, load, up, path in UNITS]
        return answer(serial, "a(ssssssouso)", rows)
    place = next(path for *_, path in UNITS if b"%s\0" % path.encode() in message)
    if place == "/gone":
        return answer(serial, "s", "no such object", kind=3)
    kind = b"1.Slice" if place == "/shop" else b"1.Service"
    assert kind + b"\0" in message
    if message.endswith(b"\0MemoryMax\0"):
        return answer(serial, "v", ("t", MAX[place]))
    if message.endswith(b"\0MemoryCurrent\0"):
        return answer(serial, "v", ("t", NOT_SET if place == "/old" else 10485760))
    return answer(serial, "v", ("s", "" if place == "/old" else "system.slice"))


SHOWN: Answers = {("systemctl", "show"): (0, "ControlGroup=/nowhere\n")}


def test_services_and_slices_with_a_limit(
    systemd: Callable[..., Systemd],
    state: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    systemd(limits_of)
    monkeypatch.setattr(units, "CGROUP_ROOT", str(tmp_path))
    seen = limits.look({"unit": "worker.service"}, Bused(state, SHOWN))
    assert seen["slices"] == [{"name": "shop.slice", "memoryMaxBytes": 1 << 30}]
    keys = ("name", "activeState", "slice", "memoryMaxBytes", "currentBytes")
    assert [tuple(each[key] for key in keys) for each in seen["services"]] == [
        ("redis.service", "active", "system.slice", 268435456, 10485760),
        ("old.service", "inactive", "", 1048576, None),
        ("left.service", "active", "system.slice", 2097152, 10485760),
    ]


def test_where_it_does_not_answer_systemctl_does(
    systemd: Callable[..., Systemd], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd(lambda serial, message: b"")
    host = Bused(state, {("systemctl", "show-environment"): (0, "PATH=/usr/bin\n")})
    assert unit_context._environment_of_manager(host) == {"PATH": "/usr/bin"}


CALL = bus.property_of("/unit", "Service", "MemoryMax")


def test_threads_of_a_look_share_a_connection(systemd: Callable[..., Systemd], state: str) -> None:
    def reply(serial: int, message: bytes) -> bytes:
        told = b"/other" if b"/other" in message else b"/unit"
        # What systemd tells everybody in between answers nothing.
        return answer(0, "s", "news", kind=4) + answer(serial, "s", told.decode())

    said = systemd(reply)
    host = Bused(state)
    found = {}

    def ask(path: str) -> None:
        call = CALL._replace(path=path)
        found[path] = [host.systemd([call, call]) for _ in range(20)]

    with host.looking():
        threads = [threading.Thread(target=ask, args=(path,)) for path in ("/unit", "/other")]
        for each in threads:
            each.start()
        for each in threads:
            each.join(20)
    assert found == {path: [[[path], [path]]] * 20 for path in ("/unit", "/other")}
    assert said.connections == 1
    with host.looking():
        assert host.systemd([CALL]) == [["/unit"]]
    assert said.connections == 2
    assert host.systemd([CALL]) == [["/unit"]]
    assert said.connections == 3


def test_a_look_asks_a_systemd_that_does_not_answer_once(
    systemd: Callable[..., Systemd], state: str
) -> None:
    said = systemd(lambda serial, message: b"")
    host = Bused(state)
    with host.looking():
        assert [host.systemd([CALL]) for _ in range(3)] == [None] * 3
    assert said.connections == 1
    with host.looking():
        assert host.systemd([CALL]) is None
    assert said.connections == 2


def test_a_look_that_is_over_opens_no_connection(
    systemd: Callable[..., Systemd], state: str
) -> None:
    said = systemd(texts)
    shared = bus.Shared(bus.SOCKET)
    shared.close()
    with pytest.raises(bus.Unavailable):
        shared.ask([CALL])
    assert said.connections == 0


def test_the_environment_of_every_unit(systemd: Callable[..., Systemd], state: str) -> None:
    systemd(texts)
    assert unit_context._environment_of_manager(Bused(state)) == {"A": "b c", "PATH": "/bin"}
