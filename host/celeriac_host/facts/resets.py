"""How often Celeriac has reset the rows of a database."""

from __future__ import annotations

from typing import Any

from celeriac_host.store import resets
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, int]:
    return resets.read(host.state, args["database"])
