"""The journal of a unit, and why it failed."""

from __future__ import annotations

import json
import re
import signal
from typing import Any, NamedTuple, Sequence

from celeriac_host.system import units
from celeriac_host.system.system import System

EXCEPTION = re.compile(
    r"(?:^|\s)((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b.*)"
    # Other names, e.g. celery.exceptions.ImproperlyConfigured: a traceback's last line.
    r"|^((?:\w+\.)+[A-Z]\w*: .*)"
)
# Of a line of evidence.
LINE_LIMIT = 2000
# What systemd logs about any unit: no evidence of why one fails.
BOOKKEEPING = re.compile(
    r"(Start|Stopp)(ing|ed) |Scheduled restart job|Consumed .* CPU time|Deactivated successfully"
    r"|Succeeded\.$|start request repeated|Start request repeated|Failed to start "
)


class Run(NamedTuple):
    """One start of a unit."""

    invocation: str
    main_pid: int


def journal(
    host: System,
    unit: str,
    after_cursor: str = "",
    run: Run | None = None,
    last: int = 200,
) -> list[dict[str, Any]]:
    """The unit's newest journal entries, oldest first, as `journalctl -o json` prints them.

    With a run: only the entries of that start, and what systemd logged about it.
    """
    argv = ["journalctl", "--no-pager", "-q", "-o", "json", "-n", str(last)]
    argv += ["--after-cursor", after_cursor] if after_cursor else []
    if run is not None:
        argv += ["-b", f"_SYSTEMD_INVOCATION_ID={run.invocation}"]
        # By root: anybody may write a field without an underscore.
        argv += ["+", "_UID=0", f"INVOCATION_ID={run.invocation}"]
        # journald looks up the invocation of a process that has exited by its unit, which may have
        # started again by then.
        argv += ["+", f"_PID={run.main_pid}", f"_SYSTEMD_UNIT={unit}"] if run.main_pid else []
    else:
        # Not -u: journald may never learn the unit of a process that ended at once, e.g. if its
        # program does not exist. systemd's own entries name the unit.
        named = ("UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT")
        argv += [f"_SYSTEMD_UNIT={unit}"]
        argv += [word for name in named for word in ("+", "_UID=0", f"{name}={unit}")]
    done = host.run(argv, timeout=60, check=False)
    return [entry for entry in map(_entry, done.out.splitlines()) if entry]


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def message(entry: dict[str, Any]) -> str:
    """The text of an entry; journald writes bytes that are not UTF-8 as a list of numbers."""
    text = entry.get("MESSAGE")
    if isinstance(text, list):
        return bytes(text).decode("utf-8", "replace")
    return text if isinstance(text, str) else ""


def cursor(host: System) -> str:
    """The cursor of the end of the journal; empty if unknown."""
    done = host.run(["journalctl", "-q", "-n", "0", "--show-cursor"], check=False, timeout=30)
    match = re.search(r"^-- cursor: (.+)$", done.out, re.MULTILINE)
    return match.group(1) if match else ""


def evidence(
    host: System, unit: str, after_cursor: str = "", run: Run | None = None, last: int = 20
) -> list[str]:
    """The last lines of the unit, since the cursor or of one run, that may explain a failure."""
    host.run(["journalctl", "--sync"], check=False, timeout=10)
    entries = journal(host, unit, after_cursor, run)
    lines = [
        line.rstrip()[:LINE_LIMIT]
        for entry in entries
        if not (entry.get("_PID") == "1" and BOOKKEEPING.search(message(entry)))
        for line in message(entry).splitlines()
        if line.strip()
    ]
    return lines[-last:]


def last_exception(lines: Sequence[str]) -> str:
    """A traceback's last line, e.g. `ModuleNotFoundError: No module named 'tasks'`; or empty."""
    for line in reversed(lines):
        match = EXCEPTION.search(line)
        if match:
            return (match.group(1) or match.group(2)).strip()
    return ""


# Written by systemd: `Main process exited, code=killed, status=9/KILL`.
ENDED = re.compile(r"Main process exited, code=(exited|killed|dumped), status=(\d+)/(\w+)")


# Celery's line before "Trying again in 2.00 seconds", and the one that ends it.
NO_BROKER = re.compile(r"consumer: (Cannot connect to .*?)\.*$")
CONNECTED = "Connected to "


# A level in the log of an app: such a line explains no end.
CALM = re.compile(r"\b(?:DEBUG|INFO)\b")


def reason(lines: Sequence[str]) -> str:
    """The most telling line: what killed it, an exception, else the last that explains an end."""
    own = [line for line in lines if not re.match(r"[\w:.\\@-]+\.service: ", line)]
    telling = [line for line in own if not CALM.search(line)]
    # For a missing program, journald may know the unit of the second line only.
    causes = [line for line in lines if re.search(r": Failed (?:to|at step) ", line)]
    # The worker cannot log this itself, and the last lines before it mislead.
    killed = [line for line in lines if "OOM killer" in line]
    if killed:
        return killed[-1]
    ended = _ended(lines)
    by_signal = ended if ended.startswith("main process killed") else ""
    said = telling[-1:] or causes[-1:] or ([ended] if ended else own[-1:]) or list(lines[-1:])
    return by_signal or _waited_for(lines) or last_exception(lines) or "".join(said)


def _waited_for(lines: Sequence[str]) -> str:
    """What Celery says of the broker that the worker waited for to its end; empty: for none."""
    for index in range(len(lines) - 1, -1, -1):
        match = NO_BROKER.search(lines[index])
        if match or CONNECTED in lines[index]:
            return match.group(1) if match and not last_exception(lines[index + 1 :]) else ""
    return ""


def why(host: System, unit: str, lines: Sequence[str]) -> str:
    """The reason by these lines, and by what systemd knows if journald did not keep its line."""
    seen = units.show(host, unit, ("ExecMainCode", "ExecMainStatus"))
    code, status = units.number(seen.get("ExecMainCode")), units.number(seen.get("ExecMainStatus"))
    if code in CODES and not any(ENDED.search(line) for line in lines):
        name = _signal_name(status)
        lines = [*lines, f"{unit}: Main process exited, code={CODES[code]}, status={status}/{name}"]
    return reason(lines)


# CLD_KILLED and CLD_DUMPED of waitid(2).
CODES = {2: "killed", 3: "dumped"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name[len("SIG") :]
    except ValueError:
        return str(number)


def _ended(lines: Sequence[str]) -> str:
    """How its main process ended, by systemd's last word; empty if unknown."""
    for line in reversed(lines):
        match = ENDED.search(line)
        if match is None:
            continue
        how, status, name = match.groups()
        if how == "exited":
            return f"main process exited with code {status}"
        if any("Watchdog timeout" in each for each in lines):
            return f"main process killed by SIG{name}: it did not answer its watchdog in time"
        # systemd's own signal, after a time-out: the worker's last words tell more.
        if any(re.search(r"(?:operation|State .*) timed out", each) for each in lines):
            return f"main process ended by SIG{name} after a time-out"
        return f"main process killed by SIG{name}"
    return ""
