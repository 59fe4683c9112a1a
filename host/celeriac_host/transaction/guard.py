"""Looks after a host while no run is connected: a timer, enabled only while it is needed.

It is needed for an open transaction (its process may die, the host may reboot), for a release that
is not confirmed yet, and for a rollback in progress. Each tick does what is due, and disables the
timer when nothing is left to do.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Callable

from celeriac_host.state import guard_timer, ledger
from celeriac_host.state.journal import remembered
from celeriac_host.system import files, units
from celeriac_host.system.durations import duration
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.transaction import program

TICK_SECONDS = 20

SERVICE = """\
# Written by Celeriac. Enabled only while a transaction is open or a release awaits its verdict.
[Unit]
Description=Celeriac: undo interrupted transactions, roll back unconfirmed releases
After=network.target redis.service redis-server.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=%s
TimeoutStartSec=infinity
# An undo may restart a worker, which takes as long as its running tasks.
TimeoutStopSec=10min
"""

TIMER = f"""\
# Written by Celeriac. Enabled only while a transaction is open or a release awaits its verdict.
[Unit]
Description=Celeriac: timer of {guard_timer.NAME}.service
# Each transaction starts it, and systemd refuses a sixth start within ten seconds.
StartLimitIntervalSec=0

[Timer]
OnActiveSec={TICK_SECONDS}
OnUnitInactiveSec={TICK_SECONDS}
AccuracySec=1

[Install]
WantedBy=timers.target
"""


def arm(host: System, give_up: Callable[[], object] = lambda: None) -> None:
    """Enables and starts the timer, before the first change. Raises OSError, OperationError.

    If that fails, `give_up` removes what the caller needs the guard for; unless something else
    needs it, nothing of this attempt stays.
    """
    before: dict[str, files.Found | None] = {}
    missing: list[str] = []
    compiled = program.compiled_path(host.state)
    had_compiled = os.path.lexists(compiled)
    try:
        before = {
            path: files.find(path) for path in (program.path(host.state), *guard_timer.unit_paths())
        }
        missing = files.missing_folders(os.path.dirname(guard_timer.link()))
        program.install(host.state)
        command = " ".join(program.command(host.state, ["guard"]))
        for path, text in zip(guard_timer.unit_paths(), (SERVICE % command, TIMER)):
            _put(path, text)
        link = guard_timer.link()
        os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(guard_timer.unit_paths()[1], link)
            files.sync_folder(os.path.dirname(link))
        # No daemon-reload: it would also load changes of others that may not be ready.
        units.control(host, "start", "--", f"{guard_timer.NAME}.timer")
    except (OSError, OperationError):
        give_up()
        if disarm(host):
            _put_back(before)
            if not had_compiled:
                with suppress(OSError):
                    os.unlink(compiled)
            files.remove_folders(missing)
        raise


def disarm(host: System) -> bool:
    """Disables the timer if it is not needed. Ignores errors: the next tick tries again."""
    if is_needed(host):
        return False
    with suppress(Exception):
        files.remove(guard_timer.link())
        units.control(host, "stop", "--no-block", "--", f"{guard_timer.NAME}.timer")
    return True


def is_needed(host: System) -> bool:
    return bool(
        ledger.current_rollback(host.state)
        or ledger.all_awaiting(host.state)
        or any(each["state"] == "open" for each in remembered(host.state))
    )


def overdue(waiting: dict[str, Any]) -> str:
    """Why a release that was not confirmed in time is rolled back."""
    return f"not confirmed within {duration(float(waiting['withinSeconds']))}"


def _put_back(before: dict[str, files.Found | None]) -> None:
    """As far as possible: a newer program, or a timer that is off, does no harm."""
    for path, was in before.items():
        with suppress(Exception):
            found = files.find(path)
            if was is None:
                files.remove(path)
            elif found is None or found.content != was.content:
                files.write(path, was.content, was.mode, was.uid, was.gid, was.modified_ns)


def _put(path: str, text: str) -> None:
    found = files.find(path)
    if found is None or found.content != text.encode("utf-8"):
        files.write(path, text.encode("utf-8"), 0o644, 0, 0)
