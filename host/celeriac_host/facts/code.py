"""The newest Python source of the app, to compare with the start of the worker."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import sources
from celeriac_host.facts.unit import full_name
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    unit = full_name(args["unit"])
    directory = sources.working_directory(host, unit)
    if not directory:
        return {"newest": None, "truncated": False, "startedWithThese": None}
    found = newest_source(directory, host)
    return {**found, "startedWithThese": sources.started_with_these(host, unit, directory)}


def newest_source(directory: str, host: System) -> dict[str, Any]:
    newest: dict[str, Any] | None = None
    for number, path in enumerate(sources.walk(directory, host)):
        if number >= sources.FILE_LIMIT:
            return {"newest": newest, "truncated": True}
        if not path.endswith(".py"):
            continue
        try:
            modified = os.stat(path).st_mtime
        except OSError:
            continue
        if newest is None or modified > newest["modified"]:
            newest = {"path": path, "modified": modified}
    return {"newest": newest, "truncated": False}
