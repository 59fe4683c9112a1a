"""What happened on this host that the next run should know: see PastFact."""

from __future__ import annotations

from typing import Any

from celeriac_host.state import ledger, lock_file, notices, sweeping
from celeriac_host.state.journal import SHOWN, is_untold, remembered
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    known = remembered(host.state)
    return {
        "untold": [_shown(each) for each in known if is_untold(each)],
        "open": [_shown(each) for each in known if each["state"] == "open"],
        "working": lock_file.holder(host.state),
        "awaiting": [
            {name: each[name] for name in ("unit", "transactions", "deadline", "withinSeconds")}
            for each in ledger.all_awaiting(host.state)
        ],
        "leftovers": sweeping.find(host.state),
        "notices": notices.told(host.state),
    }


def _shown(known: dict[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in SHOWN}
