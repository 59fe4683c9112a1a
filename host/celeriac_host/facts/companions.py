"""Units that run code of the app beside its worker: the named ones, and others that are found."""

from __future__ import annotations

import os
import re
from typing import Any

from celeriac_host.code import sources
from celeriac_host.facts import unit as units
from celeriac_host.system import processes
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

# A folder such as / or /srv holds more than one app.
LEAST_DEPTH = 2


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    """`folder` is where code folders are uploaded to, if they are."""
    own = full_name(args["unit"])
    folders = [args.get("folder"), sources.working_directory(host, own)]
    return {
        "named": [
            {"unit": units.look({"name": name}, host), "startedWithThese": _knows(name, host)}
            for name in args["units"]
        ],
        "beside": _beside({own, *args["units"]}, roots([each for each in folders if each])),
    }


def _knows(name: str, host: System) -> bool | None:
    """Whether it was started, or last reloaded, with the sources as they are; None if unknown."""
    found = sources.read(host, name, sources.working_directory(host, name))
    return sources.started_with_these(host, name, found)


def roots(folders: list[str]) -> list[str]:
    """The checkouts around these folders, else the folders themselves."""
    found = []
    for folder in folders:
        real = os.path.realpath(folder)
        top = _checkout_around(real) or real
        if len(top.strip("/").split("/")) >= LEAST_DEPTH:
            found.append(top)
    return found


def _checkout_around(folder: str) -> str | None:
    while folder != "/":
        if os.path.exists(os.path.join(folder, ".git")):
            return folder
        folder = os.path.dirname(folder)
    return None


def _beside(known: set[str], folders: list[str]) -> list[dict[str, Any]]:
    """Services, by name, whose processes run in one of these folders or a program of theirs."""
    found: dict[str, dict[str, Any]] = {}
    for process in processes.each():
        name = service_of(processes.control_group(process.pid) or "")
        if name is None or name in known or process.state in "ZX":
            continue
        cwd = (processes.working_directory(process.pid) or "").replace(" (deleted)", "")
        paths = [cwd, *(word for word in process.argv[:2] if word.startswith("/"))]
        if any(_is_in(path, folder) for path in paths for folder in folders):
            found.setdefault(name, {"unit": name, "pid": process.pid, "argv": list(process.argv)})
    return [found[name] for name in sorted(found)]


def service_of(group: str) -> str | None:
    """The system service of a cgroup; None for sessions and services of a user's own manager."""
    if "/user.slice/" in group + "/":
        return None
    match = re.search(r"/([^/]+\.service)(?:/|$)", group)
    return match.group(1) if match else None


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
