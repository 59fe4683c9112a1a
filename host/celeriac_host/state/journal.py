"""The journal of a transaction: its steps and what their undo needs, durable before each change.

One JSON object per line: `started`, `kept`, `done`, `already`, `failed`, `undone`, `not-undone`
with the step's index; `undoing` when the undo begins, by whom and why; `ended` with the result.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import Any

from celeriac_host.system import files

PLAN = "plan.json"
JOURNAL = "journal.jsonl"
BACKUPS = "backups"
RESERVE = "reserve"
# Kept by an undo: what people still have to do, as a sentence.
TODO = "todo"
RESERVE_BYTES = 1024 * 1024


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
        found = "open"
        for entry in self.entries():
            if entry["event"] == "ended":
                found = str(entry["result"])
            elif entry["event"] == "undoing":
                found = "open"
        return found

    def undoing(self) -> dict[str, Any]:
        """Who undid it and why; both empty if it undid itself after a failure."""
        found = {"undoneBy": "", "undoneWhy": ""}
        for entry in self.entries():
            if entry["event"] == "undoing":
                found = {"undoneBy": entry.get("by", ""), "undoneWhy": entry.get("why", "")}
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


def remembered(state: str) -> list[dict[str, Any]]:
    """The transactions of this host, oldest first: id, action, holder, unit, startedAt, state."""
    root = transactions_folder(state)
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
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
                "state": journal.state(),
                **journal.undoing(),
            }
        )
    return sorted(found, key=lambda each: float(each["startedAt"]))


def read_plan(folder: str) -> dict[str, Any] | None:
    """The plan, or None if it was never completely written: then nothing was started either."""
    try:
        with open(os.path.join(folder, PLAN), encoding="utf-8") as file:
            plan = json.load(file)
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None
