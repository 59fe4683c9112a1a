"""The newest Python source of the app, to compare with the start of the worker."""

from __future__ import annotations

from typing import Any

from celeriac_host.code import sources
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    unit = full_name(args["unit"])
    found = sources.read(host, unit, sources.working_directory(host, unit))
    if found is None:
        return {"newest": None, "truncated": False, "startedWithThese": None}
    return {
        "newest": found["newest"],
        "truncated": found["truncated"],
        "startedWithThese": sources.started_with_these(host, unit, found),
    }
