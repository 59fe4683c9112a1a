"""What somebody should hear of at once, by two samples of a unit: each once, and not in a storm."""

from __future__ import annotations

from typing import Any

from celeriac_host.system.unit_values import RESTING

# After one message of a kind, the next of the same kind waits.
QUIET_SECONDS = 900.0


def find(
    sample: dict[str, Any], seen: dict[str, Any], changing: bool
) -> tuple[list[str], dict[str, Any]]:
    """Sentences to tell, and what was told when, for the next tick.

    `changing`: a run changes the unit right now, so that a stop or a start is no failure.
    """
    last = seen.get("last")
    before, was = (
        (last.get("unit"), last.get("oomKill")) if isinstance(last, dict) else (None, None)
    )
    unit = sample["unit"]
    told = _recent(seen.get("told"), sample)
    if not isinstance(before, dict) or unit is None:
        return [], told
    found: dict[str, str] = {}
    now = None if sample["events"] is None else sample["events"]["oomKill"]
    same = before.get("invocation") == unit["invocation"]
    if same and isinstance(was, int) and now is not None and now > was:
        count = now - was
        found["oom"] = f"{count} {'process' if count == 1 else 'processes'} killed: out of memory"
    if not changing:
        restarts = before.get("restarts")
        if isinstance(restarts, int) and unit["restarts"] > restarts:
            count = unit["restarts"] - restarts
            found["restarted"] = (
                f"restarted by systemd {'once' if count == 1 else f'{count} times'}"
            )
        if unit["active"] in RESTING and before.get("active") not in RESTING:
            found["down"] = f"not running any more: {unit['active']} ({unit['result']})"
    new = [kind for kind in found if kind not in told]
    mark = {"boot": sample["boot"], "uptime": sample["uptime"]}
    return [found[kind] for kind in new], {**told, **dict.fromkeys(new, mark)}


def _recent(told: Any, sample: dict[str, Any]) -> dict[str, Any]:
    return {
        kind: mark
        for kind, mark in (told.items() if isinstance(told, dict) else ())
        if isinstance(mark, dict)
        and mark.get("boot") == sample["boot"]
        and isinstance(mark.get("uptime"), (int, float))
        and sample["uptime"] - mark["uptime"] < QUIET_SECONDS
    }
