"""The journal of a transaction: its steps and what their undo needs, durable before each change.

One JSON object per line: `started`, `kept`, `done`, `already`, `failed`, `undone`, `not-undone`
with the step's index; `undoing` when the undo begins, by whom and why; `ended` with the result;
`told` when a run has reported what the host did alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from typing import Any, Sequence

from celeriac_host.system import files

PLAN = "plan.json"
JOURNAL = "journal.jsonl"
BACKUPS = "backups"
RESERVE = "reserve"
# Kept by an undo: what people still have to do, as a sentence.
TODO = "todo"
RESERVE_BYTES = 1024 * 1024
# Who undid a transaction without a run.
HOST_ITSELF = "the host itself"
# A folder with any other name is not a transaction, whatever it contains.
IDENT = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


class Journal:
    """The journal of one transaction; `folder` is /var/lib/celeriac/transactions/<id>."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, JOURNAL)

    def write(self, event: str, **more: Any) -> None:
        """Appends a line, durable when this returns. Raises OSError."""
        line = json.dumps({"event": event, "at": round(time.time(), 3), **more})
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            # A power failure or a full disk may have left an incomplete last line.
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            left = memoryview((("\n" if torn else "") + line + "\n").encode("ascii"))
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def entries(self) -> list[dict[str, Any]]:
        try:
            # One damaged byte on the disk must not prevent the undo of the rest.
            with open(self.path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        return [entry for entry in map(_parsed, lines) if entry]

    def step(self, index: int) -> StepJournal:
        return StepJournal(self, index)

    def state(self) -> str:
        """`open`, `committed`, `undone` or `undo-failed`."""
        return str(self.summary()["state"])

    def summary(self) -> dict[str, Any]:
        """Its state; who undid it and why, both empty if it undid itself after a failure.

        `told`: whether a run has reported what the host did alone.
        """
        found = {"state": "open", "undoneBy": "", "undoneWhy": "", "told": False}
        for entry in self.entries():
            event = entry["event"]
            if event == "ended":
                found["state"] = str(entry["result"])
            elif event == "undoing":
                by, why = entry.get("by", ""), entry.get("why", "")
                found = {"state": "open", "undoneBy": by, "undoneWhy": why, "told": False}
            elif event == "told":
                found["told"] = True
        return found

    def reserve(self) -> None:
        """Reserves disk space, so that an undo can be recorded on a full disk."""
        path = os.path.join(self.folder, RESERVE)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, RESERVE_BYTES)
        finally:
            os.close(handle)

    def drop_reserve(self) -> None:
        """Frees the reserved disk space, if there is any."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, RESERVE))


class StepJournal:
    """The entries of one step: what `do` keeps, `undo` finds, also in another process."""

    def __init__(self, journal: Journal, index: int) -> None:
        self._journal = journal
        self._index = index
        self._kept: dict[str, Any] = {
            entry["name"]: entry["value"]
            for entry in journal.entries()
            if entry["event"] == "kept" and entry.get("index") == index
        }

    @property
    def folder(self) -> str:
        """The folder of the transaction."""
        return self._journal.folder

    def keep(self, name: str, value: Any) -> None:
        """Records what an undo needs, durably, before the change. Raises OSError."""
        self._journal.write("kept", index=self._index, name=name, value=value)
        self._kept[name] = value

    def get(self, name: str, default: Any = None) -> Any:
        return self._kept.get(name, default)

    def back_up(self, content: bytes) -> str:
        """Saves a file's content; returns the path of the copy. Raises OSError."""
        path = os.path.join(self._journal.folder, BACKUPS, str(self._index))
        files.write(path, content, 0o600, os.geteuid(), os.getegid())
        return path


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) and "event" in entry else {}


def transactions_folder(state: str) -> str:
    return os.path.join(state, "transactions")


# Of a transaction that is remembered: what facts tell of it.
SHOWN = ("id", "action", "holder", "unit", "startedAt", "state", "undoneBy", "undoneWhy")


def remembered(state: str) -> list[dict[str, Any]]:
    """The transactions of this host, oldest first: id, action, holder, unit, startedAt, state.

    In the host's own order, by their numbers: its clock may have been set back. Older versions gave
    no numbers; those transactions come first.
    """
    root = transactions_folder(state)
    found = []
    for name in named(state):
        plan = read_plan(os.path.join(root, name))
        if plan is None:
            continue
        meta = plan["meta"]
        journal = Journal(os.path.join(root, name))
        found.append(
            {
                "id": name,
                "action": meta.get("action", ""),
                "holder": meta.get("holder", ""),
                "unit": meta.get("unit"),
                "sha": meta.get("sha", ""),
                "startedAt": plan["startedAt"],
                "number": plan.get("number", 0),
                **journal.summary(),
            }
        )
    return sorted(found, key=lambda each: (int(each["number"]), float(each["startedAt"])))


def next_number(state: str) -> int:
    """For the plan of a new transaction. The caller holds the host's lock."""
    return 1 + max((int(each["number"]) for each in remembered(state)), default=0)


def is_untold(known: dict[str, Any]) -> bool:
    """Whether the host undid it alone, and no run has reported that yet."""
    ended = known["state"] in ("undone", "undo-failed")
    return ended and known["undoneBy"] == HOST_ITSELF and not known["told"]


def mark_told(state: str, idents: Sequence[str]) -> None:
    """Called once the report was delivered. One that was pruned meanwhile needs no mark."""
    for ident in idents:
        if IDENT.fullmatch(ident):
            with suppress(FileNotFoundError):
                Journal(os.path.join(transactions_folder(state), ident)).write("told")


def named(state: str) -> list[str]:
    """The names of all transactions, also of those that never started."""
    try:
        names = sorted(os.listdir(transactions_folder(state)))
    except FileNotFoundError:
        return []
    return [name for name in names if IDENT.fullmatch(name)]


def never_started(state: str) -> list[str]:
    """Transactions whose plan was never completely written; one of them may be beginning.

    A plan that is there but damaged does not count: the backups beside it may be needed.
    """
    root = transactions_folder(state)
    return [name for name in named(state) if not os.path.lexists(os.path.join(root, name, PLAN))]


def read_plan(folder: str) -> dict[str, Any] | None:
    """The plan, or None if it was never completely written: then nothing was started either."""
    try:
        with open(os.path.join(folder, PLAN), encoding="utf-8") as file:
            plan = json.load(file)
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None
