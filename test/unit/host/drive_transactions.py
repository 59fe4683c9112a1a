"""Transactions on this machine, without systemd: {state, folders, call, …} from fork_server.py.

`folders` stands for those that systemd reads units from.
"""

import hashlib
import importlib
import json
import os
import sys
import time
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../host"))


def module(name: str) -> Any:
    return importlib.import_module("celeriac_host." + name)


MODULES = ("system.errors", "state.journal", "system.system", "transaction.runner")
USERS, VERSIONS = "app.module_users", "app.module_versions"


def prepare(ask: Any) -> None:
    for name in (*MODULES, USERS, VERSIONS):
        module(name)


def answer(ask: Any) -> Any:
    errors, journal, system, transaction = map(module, MODULES)
    module(USERS).FOLDERS = tuple(ask["folders"])
    module(VERSIONS).ROOTS = ()
    host = system.System(ask["state"])
    root = journal.transactions_folder(host.state)
    notes: list[str] = []

    def emit(progress: dict[str, Any]) -> None:
        if progress["kind"] == "note":
            notes.append(progress["message"])

    if ask["call"] == "find":
        return sorted(module(USERS).find(ask["path"], ask["unit"]))
    if ask["call"] == "apply":
        folder = os.path.join(root, ident(ask["id"]))
        os.makedirs(os.path.join(folder, journal.BACKUPS))
        plan = {"meta": ask["meta"], "operations": ask["operations"], "startedAt": time.time()}
        with open(os.path.join(folder, journal.PLAN), "w", encoding="utf-8") as file:
            json.dump(plan, file)
        return transaction.carry_out(folder, host, emit)["result"]
    folders = [os.path.join(root, ident(each)) for each in ask["ids"]]
    if not ask.get("forced"):
        try:
            transaction.refuse_foreign_changes(folders, host)
        except errors.Fault as fault:
            return {"refused": fault.message}
    ends = [transaction.undo(folder, host, emit) for folder in folders]
    steps = [step for end in ends for step in end["steps"]]
    return {
        "results": [end["result"] for end in ends],
        "messages": [step["message"] for step in steps],
        "notes": notes,
    }


def ident(name: str) -> str:
    """A name that the host would give, for one of the test's."""
    return "20260101T000000-" + hashlib.sha256(name.encode()).hexdigest()[:4]
