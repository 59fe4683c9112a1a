"""The databases of the app: their kinds and tables."""

from __future__ import annotations

from typing import Any

from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    """`databases`: those to look at; None: those that are found. `user` opens them, or if None the
    user of the unit.
    """
    if args["databases"] == []:
        return []
    # Most runs look at none, and need not load what reads them.
    from celeriac_host.store import found

    return found.look(args, host)
