"""Looks after a host that nobody is connected to: a timer, enabled only while there is a reason.

The reasons: a transaction that is open (its work may die, the machine may reboot in the middle), a
release that nobody confirmed yet, a roll-back on its way. Each tick does what is due, and takes the
timer away when nothing is left to look after.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Callable

from celeriac_host.state import guard_timer, ledger
from celeriac_host.state.journal import remembered
from celeriac_host.system import files, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System
from celeriac_host.transaction import program

TICK_SECONDS = 20

SERVICE = """\
# Written by Celeriac. Enabled only while a transaction is open or a release awaits its verdict.
[Unit]
Description=Celeriac: finish what was cut short, put back what nobody confirmed
After=network.target redis.service redis-server.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=%s
TimeoutStartSec=infinity
# It may be busy putting a worker back, which takes as long as its tasks do.
TimeoutStopSec=10min
"""

TIMER = f"""\
# Written by Celeriac. Enabled only while a transaction is open or a release awaits its verdict.
[Unit]
Description=Celeriac: the tick of {guard_timer.NAME}.service
# Each transaction starts it: five within ten seconds, and systemd would refuse the sixth.
StartLimitIntervalSec=0

[Timer]
OnActiveSec={TICK_SECONDS}
OnUnitInactiveSec={TICK_SECONDS}
AccuracySec=1

[Install]
WantedBy=timers.target
"""


def arm(host: System, give_up: Callable[[], object] = lambda: None) -> None:
    """Before the first change: durable, and running. Raises OSError, OperationError.

    If that fails, `give_up` removes what the caller needs the guard for; unless it is needed
    otherwise, nothing of this attempt stays.
    """
    before: dict[str, files.Found | None] = {}
    missing: list[str] = []
    try:
        before = {path: files.find(path) for path in (program.path(host.state), *_unit_paths())}
        missing = files.missing_folders(os.path.dirname(guard_timer.link()))
        program.install(host.state)
        command = " ".join(program.command(host.state, ["guard"]))
        for path, text in zip(_unit_paths(), (SERVICE % command, TIMER)):
            _put(path, text)
        link = guard_timer.link()
        os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(os.path.join(guard_timer.FOLDER, f"{guard_timer.NAME}.timer"), link)
            files.sync_folder(os.path.dirname(link))
        # No daemon-reload: it would also read what others have changed, and not yet meant to be
        # read.
        units.control(host, "start", "--", f"{guard_timer.NAME}.timer")
    except (OSError, OperationError):
        give_up()
        if disarm(host):
            _put_back(before)
            files.remove_folders(missing)
        raise


def disarm(host: System) -> bool:
    """Unless there is still a reason. Never in the way: the next tick tries again."""
    if has_reason(host):
        return False
    with suppress(Exception):
        files.remove(guard_timer.link())
        units.control(host, "stop", "--no-block", "--", f"{guard_timer.NAME}.timer")
    return True


def has_reason(host: System) -> bool:
    return bool(
        ledger.rolling_now(host.state)
        or ledger.all_awaiting(host.state)
        or any(each["state"] == "open" for each in remembered(host.state))
    )


def tell_next(waiting: dict[str, Any]) -> str:
    minutes = float(waiting["withinSeconds"]) / 60
    return f"it was not confirmed within {minutes:g} min"


def _unit_paths() -> tuple[str, str]:
    """The service, the timer."""
    service, timer = (f"{guard_timer.NAME}.{kind}" for kind in ("service", "timer"))
    return os.path.join(guard_timer.FOLDER, service), os.path.join(guard_timer.FOLDER, timer)


def _put_back(before: dict[str, files.Found | None]) -> None:
    """As far as that goes: a newer program, or a timer that is off, does no harm."""
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
