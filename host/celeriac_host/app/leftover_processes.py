"""Processes of a worker's unit that its stop left, as systemd does with KillMode=process or none.

All in the cgroup are the unit's. A worker, or a beat in it, must not run beside the next one.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from celeriac_host.system import processes, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

GRACE_SECONDS = 10.0
# systemd ends the others with the unit.
LEAVING = ("process", "none")


def end(group: str, host: System) -> int:
    """Ends them, with TERM and then KILL; returns how many. Raises OperationError."""
    left = units.cgroup_processes(group)
    ended = len(left)
    for name in (signal.SIGTERM, signal.SIGKILL):
        _signal(left, name)
        until = time.monotonic() + GRACE_SECONDS
        while left and time.monotonic() < until:
            host.sleep(0.2)
            left = units.cgroup_processes(group)
    if left:
        raise OperationError(f"{count(left)} did not end after SIGKILL", evidence=lines(left))
    return ended


def count(those: list[processes.Process]) -> str:
    return f"{len(those)} process{'' if len(those) == 1 else 'es'}"


def lines(those: list[processes.Process]) -> list[str]:
    return [f"{each.pid} {each.state} {' '.join(each.argv)[:200]}" for each in those]


def _signal(those: list[processes.Process], name: signal.Signals) -> None:
    for each in those:
        if processes.same(each):
            with suppress(ProcessLookupError):
                os.kill(each.pid, name)
