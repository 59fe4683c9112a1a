"""A host whose systemd answers from a table; everything else is real."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence, Tuple

from celeriac_host.state import version
from celeriac_host.system import bus
from celeriac_host.system.services import Restrictions
from celeriac_host.system.system import Completed, System

# The beginning of a command → exit code and stdout.
Answers = Dict[Tuple[str, ...], Tuple[int, str]]
SYSTEMD = ("systemctl", "systemd-analyze", "systemd-detect-virt", "systemd-run", "journalctl")


class Host(System):
    def __init__(self, state: str, answers: Answers | None = None) -> None:
        super().__init__(state)
        self.answers: Answers = {("systemctl", "is-system-running"): (0, "running\n")}
        self.answers.update(answers or {})
        self.notes: List[str] = []
        self.note = self.notes.append
        self.asked: List[Sequence[str]] = []

    def systemd(self, calls: Sequence[bus.Call]) -> None:
        # It answers systemctl.
        return None

    def has_services(self) -> bool:
        # This systemd starts nothing.
        return False

    def can_restrict(self, asked: Restrictions) -> bool:
        return False

    def run(self, argv: Sequence[str], *args: Any, **more: Any) -> Completed:
        if argv[0] not in SYSTEMD:
            return super().run(argv, *args, **more)
        self.asked.append(argv)
        for beginning, (code, out) in self.answers.items():
            if tuple(argv[: len(beginning)]) == beginning:
                return Completed(argv, code, out, "", False)
        raise AssertionError(f"nobody expected {argv}")


def make_state(folder: str) -> str:
    """A state folder as `control` creates it."""
    state = os.path.join(folder, "state")
    for name in ("transactions", "backups"):
        os.makedirs(os.path.join(state, name), 0o700)
    version.claim(state)
    return state
