"""Runs one function of the host program on this machine: {module, call, args, state} on stdin.

Or many, one after another: test/lib/fork_server.py.
"""

import base64
import importlib
import json
import os
import sqlite3
import sys
import zlib
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../host"))


def meddle(journal: Any, between: Any) -> None:
    """Somebody writes just when the step has kept its rows, before it asks for the lock."""
    keep = journal.keep

    def keep_then_write(name: str, value: Any) -> None:
        keep(name, value)
        if name == "rows":
            with sqlite3.connect(between["database"]) as database:
                database.executescript(between["sql"])

    journal.keep = keep_then_write


def module(name: str) -> Any:
    return importlib.import_module("celeriac_host." + name)


def prepare(ask: Any) -> None:
    for name in ("system.errors", "state.journal", "system.system", ask["module"]):
        module(name)


def answer(ask: Any) -> Any:
    errors, journals, system = map(module, ("system.errors", "state.journal", "system.system"))
    for folder in ("backups", "transaction"):
        os.makedirs(os.path.join(ask["state"], folder), 0o700, exist_ok=True)
    host = system.System(ask["state"])
    journal = journals.Journal(os.path.join(ask["state"], "transaction")).step(0)
    if ask.get("between"):
        meddle(journal, ask["between"])
    chunks: list[bytes] = []
    more: Any = {
        "check": (host,),
        "look": (host,),
        "receive": (host,),
        "snapshot": (host, chunks.append),
    }.get(ask["call"], (host, journal))
    try:
        said = getattr(module(ask["module"]), ask["call"])(ask["args"], *more)
    except errors.OperationError as error:
        return {"error": error.message}
    found: dict[str, Any] = {"value": said}
    if chunks:
        found["content"] = base64.b64encode(zlib.decompress(b"".join(chunks))).decode()
    return found


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
