"""Changes of a job database, tried: in PostgreSQL and rolled back, of SQLite on a copy."""

from __future__ import annotations

from typing import Any

from celeriac_host.store.stores import open_store
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    store = open_store(args["database"], host, args["unit"], args.get("user"))
    return store.rehearse(args["rows"], args["busyTimeoutSeconds"])
