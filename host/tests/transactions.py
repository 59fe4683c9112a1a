"""Transactions as `control` starts them, and the files they change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

from celeriac_host.state.journal import Journal
from celeriac_host.system import files

US = (os.geteuid(), os.getegid())
UNIT = "worker.service"
Operation = Dict[str, Any]


def write(path: Path, text: str, expects: str | None = None) -> Operation:
    seen = None if expects is None else files.sha256(expects.encode())
    title = f"write {path.name}"
    words = {"path": str(path), "text": text, "mode": "0644", "expects": seen}
    return {"op": "write-file", "title": title, **words}


def remove(path: Path, expects: str) -> Operation:
    seen = files.sha256(expects.encode())
    return {"op": "remove-file", "title": f"remove {path.name}", "path": str(path), "expects": seen}


def begin(
    state: str, operations: List[Operation], ident: str = "20260101T000000-0001", **meta: Any
) -> str:
    """Starts a transaction; returns its folder."""
    folder = os.path.join(state, "transactions", ident)
    os.makedirs(os.path.join(folder, "backups"))
    about = {"holder": "run 7", "action": "deploy-worker", "unit": UNIT, **meta}
    plan = {"id": ident, "startedAt": float(len(os.listdir(os.path.dirname(folder))))}
    plan.update(meta=about, operations=operations)
    Journal(folder).write("opened")
    files.write(os.path.join(folder, "plan.json"), json.dumps(plan).encode(), 0o600, *US)
    return folder


class World:
    """The files that the operations change, and their earlier state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "etc"
        self.folder.mkdir(parents=True)
        self.changed = self.folder / "changed"
        self.new = self.folder / "made" / "new"
        self.removed = self.folder / "removed"
        self.changed.write_text("old changed\n")
        self.removed.write_text("old removed\n")
        os.utime(self.changed, (1.6e9, 1.6e9))
        self.before = self.look()
        self.after = {"changed": "new changed\n", "made/new": "new\n"}

    def look(self) -> Dict[str, str]:
        paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_text() for path in paths}

    def operations(self) -> List[Operation]:
        return [
            write(self.changed, "new changed\n", "old changed\n"),
            write(self.new, "new\n"),
            remove(self.removed, "old removed\n"),
        ]

    def is_as_before(self) -> bool:
        made = self.new.parent.exists()
        return self.look() == self.before and not made and self.changed.stat().st_mtime == 1.6e9
