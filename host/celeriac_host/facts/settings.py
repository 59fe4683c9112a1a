"""What the present release proved of its unit: the properties that `prove-unit` compared."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state import ledger
from celeriac_host.state.journal import read_plan, transactions_folder
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any] | None:
    """Of the newest release that stayed and proved any; None: there is none, or it is pruned."""
    unit = args["unit"]
    for release in reversed(ledger.of_unit(host.state, unit)):
        ident = release["transaction"]
        if ident is None or release["verdict"] == "rolled-back":
            continue
        plan = read_plan(os.path.join(transactions_folder(host.state), ident))
        if plan is None:
            return None
        proofs = [
            each["properties"]
            for each in plan["operations"]
            if each["op"] == "prove-unit" and each["unit"] == unit
        ]
        if proofs:
            return {"transaction": ident, "properties": proofs[-1]}
    return None
