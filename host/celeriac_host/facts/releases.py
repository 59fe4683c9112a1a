"""The releases of a unit in the ledger, and those that await a verdict."""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.code import placed
from celeriac_host.state import guard_timer, ledger, proofs
from celeriac_host.state.journal import read_plan, transactions_folder
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    unit = args["unit"]
    waiting = ledger.awaiting(host.state, unit)
    found = proofs.of_unit(host.state, unit)
    standing = [each for each in found if each["state"] not in ("before", "undone")]
    return {
        "releases": [_shown(each, host) for each in found],
        "code": placed.look([each["transaction"] for each in reversed(standing)], host),
        "awaiting": None
        if waiting is None
        else {"transactions": waiting["transactions"], "deadline": waiting["deadline"]},
        "guarded": guard_timer.is_armed(),
    }


def _shown(release: dict[str, Any], host: System) -> dict[str, Any]:
    ident = release["transaction"]
    folder = os.path.join(transactions_folder(host.state), ident or "")
    return {
        **{name: release[name] for name in ("release", "transaction", "at", "holder", "sha")},
        "actor": release["actor"],
        "verdict": release["verdict"],
        "why": release.get("why", ""),
        # Since when it is awaiting, unproven, proven…, by whom, and what its soak has shown.
        "state": release["state"],
        "since": release["since"],
        "by": release["by"],
        "soakWhy": release.get("soakWhy", ""),
        "figures": release.get("figures"),
        # What the gate measured that confirmed it.
        "gateFigures": release.get("gateFigures"),
        # Whether its journal still exists: without it, the release cannot be undone.
        "kept": ident is not None and read_plan(folder) is not None,
    }
