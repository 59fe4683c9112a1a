"""HTTP responses, requested from the host."""

from __future__ import annotations

from typing import Any

from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    if not args["probes"]:
        return []
    # Its modules take longer to import than most facts do.
    from celeriac_host.system.http import fetch

    answers = []
    for probe in args["probes"]:
        host.heed()
        answers.append(fetch(probe["url"], probe["timeoutSeconds"]))
    return answers
