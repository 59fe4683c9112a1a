"""Answers the requests of the action, one at a time, until it says bye or disconnects."""

from __future__ import annotations

import binascii
import importlib
import json
import os
import re
import signal
import sys
import threading
from typing import Any, Protocol

from celeriac_host.session.wire import Wire, take_over
from celeriac_host.state import version
from celeriac_host.system import units
from celeriac_host.system.errors import Fault, OperationError, RunnerGone, describe
from celeriac_host.system.identities import user_name
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

PROTOCOL = 1
FLUSH_SECONDS = 5.0
# Facts that wait for systemd alone, beside the others. Those that start programs of the app's user
# take turns: a host may be short of memory for several of them.
BESIDE = ("host", "limits")
# They are asked of a process of the app, which may answer the next question, too.
OF_THE_APP = ("broker", "consuming")


class Gate(Protocol):
    """Decides which requests are carried out."""

    def parse(self, line: bytes) -> dict[str, Any]:
        """Raises Fault."""

    def judge(self, message: dict[str, Any]) -> dict[str, Any]:
        """The request as it is carried out. Raises Fault."""

    def answered(self, message: dict[str, Any], answer: Any) -> Any:
        """The answer as it is sent."""


class Open:
    """With root's own key, all of them."""

    def parse(self, line: bytes) -> dict[str, Any]:
        return _parsed(line)

    def judge(self, message: dict[str, Any]) -> dict[str, Any]:
        return message

    def answered(self, message: dict[str, Any], answer: Any) -> Any:
        return answer


def main() -> None:
    run(System(), Open(), {})


def run(host: System, gate: Gate, about: dict[str, Any]) -> None:
    """Says hello, with `about` in it, and serves. Never returns."""

    def leave(signum: int, frame: object) -> None:
        host.runner_gone = True

    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, leave)
    wire = take_over(host)
    wire.send(
        {
            "hello": "celeriac",
            "protocol": PROTOCOL,
            "python": ".".join(map(str, sys.version_info[:3])),
            "user": user_name(os.geteuid()),
            "pid": os.getpid(),
            **about,
        }
    )
    try:
        serve(wire, host, gate)
    finally:
        try:
            wire.flush(0.5 if host.runner_gone else FLUSH_SECONDS)
            host.end_app()
        finally:
            # Not sys.exit: the reader thread is in a read that only the runner can end.
            os._exit(0)


def serve(wire: Wire, host: System, gate: Gate) -> None:
    while True:
        line = wire.receive()
        if line is None:
            return
        ident: Any = None
        try:
            message = gate.parse(line)
            ident = message.get("id")
            if message.get("ask") == "bye":
                return
            message = gate.judge(message)
            answer = gate.answered(message, _answer(message, wire, host))
            wire.send({"id": ident, "answer": answer})
        except RunnerGone:
            return
        except Exception as error:
            wire.send({"id": ident, "fault": fault(error)})


def fault(error: Exception) -> dict[str, Any]:
    """The wire format of a failed request."""
    found: dict[str, Any] = {"message": describe(error), "evidence": [], "next": ""}
    if isinstance(error, OperationError):
        found["evidence"] = list(error.evidence)
        if error.ran is not None:
            found.update(ran=list(error.ran), exitCode=error.exit_code)
    if isinstance(error, Fault):
        found["next"] = error.next
    return found


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise Fault(f"invalid message, not JSON: {error}") from None
    if not isinstance(message, dict):
        raise Fault("invalid message: expected a JSON object")
    return message


def _answer(message: dict[str, Any], wire: Wire, host: System) -> Any:
    ident = message.get("id")

    def progress(body: dict[str, Any]) -> None:
        wire.send({"id": ident, "progress": body})

    def chunk(data: str | bytes) -> None:
        text = (
            binascii.b2a_base64(data, newline=False).decode("ascii")
            if isinstance(data, bytes)
            else data
        )
        wire.send_paced({"id": ident, "progress": {"kind": "chunk", "data": text}})

    host.note = lambda text: progress({"kind": "note", "message": text})
    host.unit = _unit_of(message)
    if not _is_question(message):
        # It holds memory, and is not to be there while something is measured or changed.
        host.end_app()
    version.require(host.state)
    host.probes = lambda told: progress({"kind": "probes", **told})
    ask = message.get("ask")
    if ask == "look":
        return look(message["query"], host)
    if ask in ("apply", "undo", "follow", "recover", "confirm", "prove", "acknowledge"):
        return _change(ask, message, host, progress)
    if ask == "snapshot":
        return importlib.import_module("celeriac_host.session.snapshot").snapshot(
            message, host, chunk
        )
    if ask == "receive":
        from celeriac_host.session.incoming import receive

        return receive(message, host)
    if ask == "submit":
        return importlib.import_module("celeriac_host.session.submit").submit(
            message["request"], host
        )
    raise Fault(f"unknown request {ask!r}")


def _is_question(message: dict[str, Any]) -> bool:
    if message.get("ask") == "submit":
        return bool(message["request"].get("kind") != "http")
    return message.get("ask") == "look" and set(message["query"]) <= set(OF_THE_APP)


def _unit_of(message: dict[str, Any]) -> str | None:
    """The unit that a request is about, whose limits hold for programs that it starts."""
    query = message.get("query")
    places = list(query.values()) if isinstance(query, dict) else []
    places += [message, message.get("meta"), message.get("request"), message.get("extract")]
    names = (each.get("unit") for each in places if isinstance(each, dict))
    return next((each for each in names if isinstance(each, str) and each), None)


def _change(ask: str, message: dict[str, Any], host: System, progress: Any) -> Any:
    from celeriac_host.transaction import control

    if ask == "apply":
        return control.apply(message["operations"], message["meta"], host, progress)
    if ask == "undo":
        idents, newest = message["transactions"], message.get("newest")
        return control.undo(idents, message["meta"], host, progress, newest)
    if ask == "follow":
        return control.follow(message["opened"], host, progress)
    if ask == "recover":
        return control.recover(message["meta"], host, progress)
    if ask == "prove":
        return control.prove(message, host)
    if ask == "acknowledge":
        return control.acknowledge(message["transactions"], host, message.get("notices"))
    unit, idents, figures = message["unit"], message["transactions"], message.get("figures")
    return control.confirm(unit, idents, message["meta"], host, figures)


def look(query: dict[str, Any], host: System) -> dict[str, Any]:
    """The facts, each by its arguments."""
    with host.looking():
        if "unit" in query:
            # Before the threads start: `limits` needs it, too, and systemctl is asked only once.
            units.show_all(host, full_name(query["unit"]["name"]))
        beside = {name: Beside(query[name], _fact(name), host) for name in BESIDE if name in query}
        try:
            mine = {
                name: _fact(name).look(args, host)
                for name, args in query.items()
                if name not in beside
            }
            return {name: mine[name] if name in mine else beside[name].found() for name in query}
        finally:
            for each in beside.values():
                each.join()


class Beside:
    """A fact that is looked at by a thread of its own."""

    def __init__(self, args: dict[str, Any], fact: Any, host: System) -> None:
        self.answer: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self.look, args=(args, fact, host), daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            # The host allows no more of them.
            self.look(args, fact, host)

    def look(self, args: dict[str, Any], fact: Any, host: System) -> None:
        try:
            self.answer = fact.look(args, host)
        # RunnerGone, too.
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        if self.thread.ident is not None:
            self.thread.join()

    def found(self) -> Any:
        self.join()
        if self.error is not None:
            raise self.error
        return self.answer


def _fact(name: str) -> Any:
    where = "celeriac_host.facts." + name
    if re.fullmatch(r"[a-z]+", name):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name not in (where, "celeriac_host.facts"):
                raise
    raise Fault(f"unknown fact {name!r}")
