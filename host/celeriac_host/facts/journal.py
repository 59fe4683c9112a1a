"""The journal of the unit since its current start, read as a stream."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any

from celeriac_host.facts.unit import instant
from celeriac_host.system import unit_journal, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import follow
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

ENTRY_LIMIT = 100_000
SUSPECT_LIMIT = 200
TAIL_LIMIT = 30
MESSAGE_LIMIT = 500
ENDS_LIMIT = 10
# Of entries; a run has about six of them.
RUNS_LIMIT = 300
TIMEOUT_SECONDS = 40.0
# Broad on purpose: the runner judges these lines.
SUSPECT = re.compile(
    rb"429|too many requests|rate.?limit|\bERROR\b|\bCRITICAL\b|\bFATAL\b|Traceback|Exception"
    rb"|[a-z]Error\b|out of memory|signal 9|SIGKILL|WorkerLost",
    re.IGNORECASE,
)
# systemd's own ids of what it says about a run of a unit.
STARTED = "39f53479d3a045ac8e11786248231fbf"
NOT_STARTED = "be02cf6855d2428ba40df7e9d022f03d"
RELOADING = "d34d037fff1847e6ae669a370e694725"
RELOADED = "7b05ebc668384222baa8881179cfda54"
STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"
EXITED = "98e322203f7a4ed290d09fe03c09fe15"
SUCCEEDED = "7ad2d189f7e94e70a38c781354912448"
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
RESTARTED = "5eb03494b6584870a536b337290809b3"
PHASES = {STARTED: "started", NOT_STARTED: "not-started", RELOADING: "reloading"}
ABOUT_RUNS = (*PHASES, RELOADED, STOPPING, EXITED, SUCCEEDED, FAILED, RESTARTED)
MAIN = "Main process exited"
FIELDS_OF_RUNS = "MESSAGE,MESSAGE_ID,INVOCATION_ID,UNIT_RESULT"


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    unit = full_name(args["unit"])
    wanted = ["Id", "InvocationID", "InactiveExitTimestampMonotonic", "NRestarts"]
    seen = units.glance(host, unit, wanted)
    invocation = seen.get("InvocationID", "")
    is_another = args.get("earlierRun", invocation) != invocation
    # An alias may have been given; systemd logs by the name itself.
    name = seen.get("Id") or unit
    reader = _Reader()
    if re.fullmatch(r"[0-9a-f]{32}", invocation):
        read(host, [f"_SYSTEMD_INVOCATION_ID={invocation}", "-n", str(ENTRY_LIMIT)], reader.take)
    return {
        "since": instant(seen.get("InactiveExitTimestampMonotonic")),
        "entries": reader.entries,
        "suspects": [
            {"at": at(entry), "message": unit_journal.message(entry)[:MESSAGE_LIMIT]}
            for entry in reader.suspects
        ],
        "tail": reader.tail(),
        "ends": _ends(host, name) if is_another or units.number(seen.get("NRestarts")) > 0 else [],
        "endedRuns": _ended_runs(host, name) if is_another else [],
    }


def _ends(host: System, unit: str) -> list[str]:
    """What systemd says of how the runs before ended; the app cannot write as process 1."""
    reader = _Reader()
    words = ["_PID=1", f"UNIT={unit}", "-p", "warning", "-n", str(ENDS_LIMIT)]
    read(host, words, reader.take)
    return reader.tail()


def _ended_runs(host: System, unit: str) -> list[dict[str, Any]]:
    """The runs whose end systemd has logged, in the order of their ends."""
    lines: deque[bytes] = deque(maxlen=RUNS_LIMIT)
    about = [f"MESSAGE_ID={each}" for each in ABOUT_RUNS]
    words = ["_PID=1", f"UNIT={unit}", *about, "-n", str(RUNS_LIMIT)]
    read(host, words, lines.append, FIELDS_OF_RUNS)
    phases: dict[str, str] = {}
    stopped: set[str] = set()
    exits: dict[str, str] = {}
    runs: dict[str, dict[str, Any]] = {}
    for line in lines:
        entry = parsed(line)
        run, what = entry.get("INVOCATION_ID"), entry.get("MESSAGE_ID")
        if not isinstance(run, str) or not isinstance(what, str):
            continue
        message = unit_journal.message(entry)[:MESSAGE_LIMIT]
        if what in PHASES:
            phases[run] = PHASES[what]
            # That a start failed is logged after the end of the run.
            if what == NOT_STARTED and run in runs:
                runs[run]["phase"] = phases[run]
        elif what == RELOADED and phases.get(run) == PHASES[RELOADING]:
            phases[run] = PHASES[STARTED]
        elif what == STOPPING:
            stopped.add(run)
        elif what == EXITED:
            # What ran after the main process, as ExecStopPost, does not tell why the run ended.
            if run not in exits or (MAIN in message and MAIN not in exits[run]):
                exits[run] = message
        elif what == RESTARTED and run in runs:
            runs[run]["restarted"] = True
        elif what in (SUCCEEDED, FAILED) and run not in runs:
            result = "success" if what == SUCCEEDED else str(entry.get("UNIT_RESULT", ""))
            runs[run] = {
                "run": run,
                "at": at(entry),
                "result": result[:MESSAGE_LIMIT],
                "phase": phases.get(run, ""),
                # Asked for after its end, a stop says nothing about it.
                "stopped": run in stopped,
                "restarted": False,
                "exit": exits.get(run, ""),
            }
    return list(runs.values())


def read(host: System, words: list[str], on_line: Any, fields: str = "MESSAGE") -> None:
    """Reads journal entries as JSON lines. Raises OperationError."""
    # Without -a, journalctl omits texts above 4 KiB.
    argv = ["journalctl", "--no-pager", "-q", "-a", "-o", "json", f"--output-fields={fields}"]
    ended = follow(host, [*argv, *words], on_line, TIMEOUT_SECONDS)
    if ended.code is None:
        raise OperationError(
            f"journalctl did not finish within {TIMEOUT_SECONDS:g} s", ran=[*argv, *words]
        )
    # Without any entry, some versions of journalctl exit 1 with no output.
    if ended.code != 0 and ended.err.strip():
        raise OperationError(
            f"journalctl failed: {ended.lines()[-1]}",
            ran=[*argv, *words],
            exit_code=ended.code,
            evidence=ended.lines(),
        )


def parsed(line: bytes) -> dict[str, Any]:
    """The entry; empty if the line is not one."""
    try:
        entry = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def at(entry: dict[str, Any]) -> float:
    """When it was written, in seconds since 1970."""
    return units.number(entry.get("__REALTIME_TIMESTAMP")) / 1e6


class _Reader:
    """Counts lines; parses only those that it keeps."""

    def __init__(self) -> None:
        self.entries = 0
        self.suspects: deque[dict[str, Any]] = deque(maxlen=SUSPECT_LIMIT)
        self.last: deque[bytes] = deque(maxlen=TAIL_LIMIT)

    def take(self, line: bytes) -> None:
        self.entries += 1
        self.last.append(line)
        message = line.partition(b'"MESSAGE":')[2]
        # A list contains bytes that are not UTF-8: only parsing reveals them.
        binary = message.startswith(b"[")
        if not binary and not SUSPECT.search(line):
            return
        entry = parsed(line)
        if SUSPECT.search(unit_journal.message(entry).encode("utf-8", "replace")):
            self.suspects.append(entry)

    def tail(self) -> list[str]:
        messages = (unit_journal.message(parsed(line)) for line in self.last)
        lines = [line.rstrip()[:MESSAGE_LIMIT] for each in messages for line in each.splitlines()]
        return lines[-TAIL_LIMIT:]
