"""The timer of the sampler: enabled only while a release is not proven, like the guard's."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Sequence

from celeriac_host.state import guard_timer, program_file, sampling, textfile
from celeriac_host.system import files, units
from celeriac_host.system.system import System

EVERY_SECONDS = 60
NAME = sampling.NAME

SERVICE = """\
# Written by Celeriac. Its timer is enabled only while a release is not proven.
[Unit]
Description=Celeriac: a sample of each unit whose release is not proven
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=%s
TimeoutStartSec=50
Nice=5
# Two lines a minute about its start and end would hide others.
LogLevelMax=notice
"""

TIMER = f"""\
# Written by Celeriac. Enabled only while a release is not proven.
[Unit]
Description=Celeriac: timer of {NAME}.service
StartLimitIntervalSec=0

[Timer]
OnActiveSec=5
OnUnitActiveSec={EVERY_SECONDS}
AccuracySec=1

[Install]
WantedBy=timers.target
"""


def start(
    host: System,
    unit: str,
    paths: Sequence[str],
    soak_seconds: float | None = None,
    soak_limits: dict[str, Any] | None = None,
) -> None:
    """Has the unit sampled from now on. Raises OSError, OperationError."""
    os.makedirs(os.path.join(host.state, sampling.FOLDER), 0o700, exist_ok=True)
    command = " ".join(program_file.command(host.state, ["sample"]))
    for path, text in zip(unit_paths(), (SERVICE % command, TIMER)):
        _put(path, text)
    sampling.want(host.state, unit, paths, soak_seconds, soak_limits)
    link = sampling.link()
    os.makedirs(os.path.dirname(link), 0o755, exist_ok=True)
    if not os.path.lexists(link):
        os.symlink(unit_paths()[1], link)
        files.sync_folder(os.path.dirname(link))
    # No daemon-reload, as for the guard.
    units.control(host, "start", "--", f"{NAME}.timer")


def stop(host: System, unit: str) -> bool:
    """Has the unit sampled no more; False if it was not. Its samples stay. Raises OSError."""
    was = sampling.is_wanted(host.state, unit)
    sampling.forget(host.state, unit)
    disarm(host)
    return was


def disarm(host: System) -> None:
    """Disables the timer if no unit needs it. Ignores errors: the next tick tries again."""
    if sampling.wanted(host.state):
        return
    with suppress(Exception):
        files.remove(sampling.link())
        units.control(host, "stop", "--no-block", "--", f"{NAME}.timer")
    with suppress(Exception):
        textfile.remove()


def is_armed() -> bool:
    return os.path.lexists(sampling.link())


def unit_paths() -> tuple[str, str]:
    """The service, the timer."""
    folder = guard_timer.FOLDER
    return os.path.join(folder, f"{NAME}.service"), os.path.join(folder, f"{NAME}.timer")


def _put(path: str, text: str) -> None:
    found = files.find(path)
    if found is None or found.content != text.encode("utf-8"):
        files.write(path, text.encode("utf-8"), 0o644, 0, 0)
