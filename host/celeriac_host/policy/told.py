"""Writes each request and its verdict to the journal, as `celeriac`, before anything is done."""

from __future__ import annotations

import os
import socket
from typing import Any, Mapping

from celeriac_host.policy.refusal import shown

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "celeriac"
INFO, WARNING = 6, 4
LIMIT = 2000
LISTED = 30
TARGETS = ("unit", "path", "name", "checkout", "deployTo", "pid", "commit")


class Unwritten(Exception):
    """The journal does not take the line; the message says why."""


def write(text: str, priority: int = INFO) -> None:
    """One line. Raises Unwritten: what is not on record is not done."""
    line = "".join(each if each.isprintable() else "?" for each in text[:LIMIT])
    entry = (
        f"PRIORITY={priority}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nSYSLOG_PID={os.getpid()}\n"
        f"MESSAGE={line}\n"
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.settimeout(5.0)
            journal.sendto(entry.encode("utf-8", "replace"), SOCKET)
    except OSError as error:
        raise Unwritten(f"the journal does not answer ({error.strerror or error})") from None


def summary(message: Mapping[str, Any]) -> str:
    """What is asked, without any value that may be a secret."""
    ask = message.get("ask")
    parts = [shown(ask)]
    if ask == "look" and isinstance(message.get("query"), dict):
        parts.append(", ".join(shown(name) for name in list(message["query"])[:LISTED]))
    if ask == "apply" and isinstance(message.get("operations"), list):
        plan = message["operations"]
        parts.append(f"{len(plan)} operations:")
        parts.append(", ".join(_operation(each) for each in plan[:LISTED]))
    if ask in ("undo", "confirm", "acknowledge") and isinstance(message.get("transactions"), list):
        parts.append(", ".join(shown(each) for each in message["transactions"][:LISTED]))
    if ask == "submit" and isinstance(message.get("request"), dict):
        request = message["request"]
        parts += [shown(request[key]) for key in ("kind", "task", "unit") if key in request]
    if ask == "receive":
        parts += [shown(message[key]) for key in ("step", "sizeBytes", "sha256") if key in message]
    meta = message.get("meta")
    if isinstance(meta, dict):
        told = [f"{key} {shown(meta[key])}" for key in ("action", "holder", "actor") if key in meta]
        parts.append(f"({', '.join(told)})")
    return " ".join(part for part in parts if part)


def _operation(operation: Any) -> str:
    if not isinstance(operation, dict):
        return shown(operation)
    target = next((operation[key] for key in TARGETS if key in operation), None)
    name = shown(operation.get("op"))
    return name if target is None else f"{name} {shown(target)}"
