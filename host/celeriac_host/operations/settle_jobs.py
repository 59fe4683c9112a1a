"""Fails or resets the jobs that the stopped worker left "processing", unless a message is left.

Touches: those rows and the counters above them; /var/lib/celeriac/backups.
Undo: restores each row, unless it has changed since.
"""

from __future__ import annotations

import time
from typing import Any

from celeriac_host.app import messages
from celeriac_host.operations import backup_database, repair_jobs
from celeriac_host.state.journal import StepJournal
from celeriac_host.store import orphans, sqlite
from celeriac_host.system import units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

RESTING = ("inactive", "failed")


def check(args: dict[str, Any], host: System) -> bool:
    return False


def do(args: dict[str, Any], host: System, journal: StepJournal) -> tuple[str, dict[str, Any]]:
    unit, path = args["unit"], args["database"]
    _refuse_running(unit, host)
    found = sqlite.ask(path, host, lambda: orphans.find(path, args["tables"]))
    candidates = [orphans.Candidate(*each) for each in found]
    nothing = {"changed": 0, "owed": 0, "held": 0, "skipped": []}
    if not candidates:
        return f"no job of {path} is processing", nothing
    count = _jobs(len(candidates))
    said = messages.ask(args, host, "trace", ids=[each.task for each in candidates])
    unknown = said.get("problem") or said.get("hidden")
    if unknown:
        # Unknown whether a message is left: change nothing.
        line = f"{count} of {path} processing, skipped: {unknown}"
        return line, {**nothing, "problem": unknown}
    owed, held = set(said["owed"]), set(said["held"])
    lost = [each for each in candidates if each.task not in owed | held]
    counts = {
        "owed": sum(each.task in owed for each in candidates),
        "held": sum(each.task in held for each in candidates),
    }
    if not lost:
        return f"{count} of {path} processing, {_kept(counts)}", {**nothing, **counts}
    now = time.time()
    rows = sqlite.ask(path, host, lambda: orphans.plan(path, args, lost, now))
    backup_database.do({**args, "keep": args["keepBackups"]}, host, journal)
    _, result = repair_jobs.do({**args, "rows": rows}, host, journal)
    done = "failed" if args["action"] == "fail" else "reset to pending"
    left = (
        f"; {len(result['skipped'])} rows skipped: changed meanwhile" if result["skipped"] else ""
    )
    kept = f"; {_kept(counts)}" if any(counts.values()) else ""
    line = f"{_jobs(len(lost))} of {path} left processing, {done}{kept}{left}"
    return line, {**result, **counts}


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    # Both keep their values under different names.
    backup_database.undo(args, host, journal)
    return repair_jobs.undo(args, host, journal)


def _refuse_running(unit: str, host: System) -> None:
    """A job without a message is abandoned only if the cgroup is empty."""
    seen = units.show(host, unit, ["ActiveState", "ControlGroup"])
    left = units.cgroup_processes(seen.get("ControlGroup", ""))
    if seen["ActiveState"] not in RESTING or left:
        raise OperationError(
            f"{unit} is {seen['ActiveState']} with {len(left)} processes: its jobs may be alive",
            evidence=[f"{each.pid} {' '.join(each.argv)[:200]}" for each in left],
        )


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


def _kept(counts: dict[str, int]) -> str:
    parts = []
    if counts["owed"]:
        parts.append(f"{counts['owed']} skipped: their messages are still in the broker")
    if counts["held"]:
        parts.append(f"{counts['held']} skipped: another worker holds them")
    return ", ".join(parts)
