"""One systemd unit: its definition, its state, its processes, its memory."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, Iterable

from celeriac_host.facts.files import file_fact
from celeriac_host.system import app_user, files, limits, unit_context, unit_values, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.processes import Process, shown
from celeriac_host.system.system import System
from celeriac_host.system.unit_names import full_name

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
SCRIPT_LIMIT_BYTES = 1024
# Of an answer, which has at most 1 MiB.
ARGUMENTS_BYTES = 128 * 1024
# E.g. the mounts of a host with many containers.
KERNEL_LIMIT_BYTES = 16 * 1024 * 1024
EXEC_LINE = re.compile(r"^\s*Exec[A-Z]\w*\s*=(.*(?:\\\n.*)*)", re.MULTILINE)
EXEC_PROPERTY = re.compile(r"Exec(Start|Stop|Reload|Condition)(Pre|Post)?")


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    name = full_name(args["name"])
    seen = units.show_all(host, name)
    path = seen.get("FragmentPath", "") or _masked_path(name)
    fragment = file_fact(path) if path else {"kind": "absent"}
    drop_ins = [
        {"path": file, "text": text}
        for file in unit_values.split_words(seen.get("DropInPaths", ""))
        for text in [_drop_in(file)]
        # The undo of an interrupted run comes first, and removes its own.
        if text is not None and not limits.is_hold(file)
    ]
    texts = [fragment.get("text") or "", *(drop_in["text"] for drop_in in drop_ins)]
    group = seen.get("ControlGroup", "")
    reader = _reader(seen)
    return {
        "name": seen.get("Id") or name,
        "loadState": seen.get("LoadState", "not-found"),
        "activeState": seen.get("ActiveState", "inactive"),
        "subState": seen.get("SubState", "dead"),
        "unitFileState": seen.get("UnitFileState", ""),
        "needDaemonReload": seen.get("NeedDaemonReload") == "yes",
        "fragmentPath": path,
        "fragment": fragment,
        "dropIns": drop_ins,
        "properties": seen,
        "programs": {
            path: _program(path, host, reader)
            for path in sorted({*_programs(seen, texts), *args.get("programs", ())})
        },
        "user": unit_context.user_of(seen),
        "variables": _variables(host, name, seen),
        "workingDirectory": unit_context.working_directory(seen),
        "mainPid": units.number(seen.get("MainPID")) or None,
        "processes": _processes(group, units.number(seen.get("MainPID"))),
        "memory": _memory(group),
        "activeSince": instant(seen.get("ActiveEnterTimestampMonotonic")),
        "exposure": units.exposure(host, name) if args.get("exposure") else None,
    }


def instant(monotonic_us: str | None) -> float | None:
    """A `…TimestampMonotonic` as seconds since 1970 by the current clock; None for never."""
    since_boot = units.number(monotonic_us) / 1e6
    return time.time() - (time.monotonic() - since_boot) if since_boot else None


def _processes(group: str, main: int) -> list[dict[str, Any]]:
    """All of them, but not all of their arguments: the app may start thousands."""
    left = ARGUMENTS_BYTES
    found = []
    for process in units.cgroup_processes(group):
        fact = process_fact(process)
        left -= len(json.dumps(fact["argv"]))
        found.append(fact if left >= 0 or process.pid == main else {**fact, "argv": []})
    return found


def process_fact(process: Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "parentPid": process.parent,
        "state": process.state,
        "user": process.user,
        "residentBytes": process.resident_bytes,
        "argv": shown(process.argv),
        "startTicks": process.start_ticks,
    }


def _masked_path(name: str) -> str:
    """Where a unit is masked: systemctl does not report it."""
    paths = (os.path.join(folder, name) for folder in FOLDERS)
    return next((path for path in paths if os.path.lexists(path)), "")


def text_of(path: str) -> str | None:
    """The content of a file of the kernel; None if it cannot be read."""
    try:
        return files.text(path, KERNEL_LIMIT_BYTES)
    except OSError:
        return None


def _drop_in(path: str) -> str | None:
    """Its text; None if it does not exist. Raises OperationError."""
    try:
        return files.text(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperationError(f"cannot read the drop-in {path}: {error.strerror}") from None


def _programs(seen: dict[str, str], texts: Iterable[str]) -> set[str]:
    """Each absolute path in the Exec lines, as loaded and as written."""
    lines = [value for name, value in seen.items() if EXEC_PROPERTY.fullmatch(name)]
    for text in texts:
        lines += (match.replace("\\\n", " ") for match in EXEC_LINE.findall(text))
    words = re.findall(r"[^\s\"';=]+", " ".join(lines))
    return {path for path in (word.lstrip("-@:+!") for word in words) if path.startswith("/")}


def _reader(seen: dict[str, str]) -> Identity | None:
    """Who reads programs for us: the unit's user, if that is not root or ours; None: we do."""
    try:
        whom = app_user.of_properties(seen)
    except OperationError:
        # There is no such user: then a program that only root may read is not told either.
        whom = identity("nobody")
    return None if os.geteuid() != 0 or whom.uid == 0 else whom


def _program(path: str, host: System, reader: Identity | None) -> dict[str, Any]:
    """A link of the unit's user may lead to what that user may not read."""
    try:
        with files.regular(path) as file:
            start = file.read(SCRIPT_LIMIT_BYTES)
            is_open = reader is None or not start.startswith(b"#!") or _is_open(file.fileno())
        if reader is not None and not is_open:
            words = ["head", "-c", str(SCRIPT_LIMIT_BYTES), "--", path]
            done = host.run(words, user=reader, timeout=10, check=False)
            start = done.out.encode("utf-8", "replace")
    except OperationError:
        return {"exists": True, "shebang": None, "script": None}
    except (OSError, ValueError):
        return {"exists": os.path.lexists(path), "shebang": None, "script": None}
    if not start.startswith(b"#!"):
        return {"exists": True, "shebang": None, "script": None}
    script = start.decode("utf-8", "replace")
    return {"exists": True, "shebang": script.partition("\n")[0], "script": script}


def _is_open(handle: int) -> bool:
    """Whether every user can read the file, wherever the path that led to it belongs."""
    path = os.readlink(f"/proc/self/fd/{handle}")
    folders = [path[:at] or "/" for at, letter in enumerate(path) if letter == "/"]
    return bool(os.fstat(handle).st_mode & 0o004) and all(
        os.lstat(folder).st_mode & 0o001 for folder in folders
    )


def _variables(host: System, name: str, seen: dict[str, str]) -> dict[str, str]:
    """HOME and PATH, which decide what a shell or env starts. No others: they may be secret."""
    try:
        environment = unit_context.variables(host, name, seen)
    except OperationError:
        # No such unit, user or EnvironmentFile: systemd would not start it either.
        return {}
    return {key: environment[key] for key in ("HOME", "PATH") if key in environment}


def _anonymous(stat: str | None) -> int | None:
    """What is no cache of files, which the kernel drops before it throttles or kills."""
    rows = (line.split() for line in (stat or "").splitlines())
    return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == "anon"), None)


def _memory(group: str) -> dict[str, Any] | None:
    """The memory counters; None on cgroup version 1, or if nothing runs."""
    folder = units.cgroup_folder(group)
    if folder is None:
        return None
    current = text_of(os.path.join(folder, "memory.current"))
    if current is None:
        return None
    peak = text_of(os.path.join(folder, "memory.peak"))
    events = text_of(os.path.join(folder, "memory.events")) or ""
    rows = [line.split() for line in events.splitlines()]
    return {
        "currentBytes": int(current),
        "peakBytes": None if peak is None else int(peak),
        "anonBytes": _anonymous(text_of(os.path.join(folder, "memory.stat"))),
        "events": {row[0]: int(row[1]) for row in rows if len(row) == 2},
    }
