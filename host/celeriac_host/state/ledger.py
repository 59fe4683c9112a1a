"""The ledger: the releases on this host, who requested them, and their verdicts.

`releases.jsonl` has a line for each release of a unit, one for each verdict on it, and one for what
its soak has shown. Release 0 is the unit as it was before Celeriac. `awaiting/<unit>.json` lists
the releases that are not confirmed yet, newest first, and when they are rolled back.
`rolling.json`: a rollback in progress.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Sequence

from celeriac_host.system import files

LEDGER = "releases.jsonl"
AWAITING = "awaiting"
ROLLING = "rolling.json"
# Of a unit, in that folder. A name that begins with a dot is a temporary file.
WAIT = re.compile(r"([A-Za-z0-9:_\\@-][A-Za-z0-9:_.\\@-]*)\.json")
WAIT_NUMBERS = ("withinSeconds", "deadline", "bootDeadline")
DIFF_LIMIT = 16 * 1024
LEDGER_LIMIT_BYTES = 4 * 1024 * 1024
# Per unit.
KEEP_LINES = 400


def record(state: str, ident: str, plan: dict[str, Any]) -> int:
    """Records a transaction that is about to be committed as a release, once; returns its number.

    Raises OSError.
    """
    meta = plan["meta"]
    unit = meta["unit"]
    known = of_unit(state, unit)
    for each in known:
        if each["transaction"] == ident:
            return int(each["release"])
    number: int = max((each["release"] for each in known), default=0) + 1
    now = round(time.time(), 3)
    lines: list[dict[str, Any]] = []
    if not known:
        lines.append({"unit": unit, "release": 0, "at": now, "transaction": None})
    diffs = [each["diff"] for each in plan["operations"] if each.get("diff")]
    lines.append(
        {
            "unit": unit,
            "release": number,
            "at": now,
            "transaction": ident,
            "holder": meta.get("holder", ""),
            "actor": meta.get("actor", ""),
            "sha": meta.get("sha", ""),
            "what": [each.get("title", each["op"]) for each in plan["operations"]],
            "diff": "".join(diffs)[:DIFF_LIMIT],
        }
    )
    _append(state, lines)
    return number


def judge(
    state: str,
    unit: str,
    idents: Sequence[str],
    verdict: str,
    by: str,
    why: str,
    figures: dict[str, Any] | None = None,
) -> None:
    """Records `confirmed` or `rolled-back` for these transactions' releases. Raises OSError.

    `figures`: what the gate that confirmed them has measured; earlier versions wrote none.
    """
    measured = {} if figures is None else {"gateFigures": figures}
    now = round(time.time(), 3)
    known = {each["transaction"]: each["release"] for each in of_unit(state, unit)}
    _append(
        state,
        [
            {
                "unit": unit,
                "release": known[ident],
                "at": now,
                "verdict": verdict,
                "by": by,
                "why": why,
                **measured,
            }
            for ident in idents
            if ident in known
        ],
    )


def prove(state: str, unit: str, ident: str, about: dict[str, Any]) -> None:
    """Records `soak`: `proven` or `failed`, `by`, `why`, and its `figures`. Raises OSError."""
    for each in of_unit(state, unit):
        if each["transaction"] == ident:
            now = round(time.time(), 3)
            _append(state, [{"unit": unit, "release": each["release"], "at": now, **about}])


def of_unit(state: str, unit: str) -> list[dict[str, Any]]:
    """The releases of a unit, oldest first, each with its last verdict."""
    found: dict[int, dict[str, Any]] = {}
    for line in _lines(state):
        if line.get("unit") != unit:
            continue
        release = line["release"]
        if "verdict" in line:
            about = found.get(release, {})
            about.update(verdict=line["verdict"], judgedAt=line["at"])
            about.update(judgedBy=line["by"], why=line["why"])
            if "gateFigures" in line:
                about.update(gateFigures=_figures(line["gateFigures"]))
        elif "soak" in line:
            about = found.get(release, {})
            about.update(soak=line["soak"], soakAt=line["at"], soakBy=line["by"])
            about.update(soakWhy=line["why"], figures=line["figures"])
        else:
            found[release] = {"holder": "", "actor": "", "sha": "", "verdict": "none", **line}
    return [found[release] for release in sorted(found)]


def _figures(found: Any) -> dict[str, Any] | None:
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if type(value) in (int, float)}


def current(state: str, unit: str) -> int | None:
    """The newest release that was not rolled back; None: there is none. Raises OSError."""
    standing = (
        int(each["release"])
        for each in of_unit(state, unit)
        if each["transaction"] is not None and each["verdict"] != "rolled-back"
    )
    return max(standing, default=None)


def mark(state: str) -> list[int] | None:
    """Another one once the ledger has changed; None: there is no ledger. Raises OSError."""
    try:
        about = os.stat(os.path.join(state, LEDGER))
    except FileNotFoundError:
        return None
    return [about.st_ino, about.st_size, about.st_mtime_ns]


def units(state: str) -> list[str]:
    """The units that have releases."""
    return sorted({line["unit"] for line in _lines(state)})


def units_released_after(state: str, ident: str) -> set[str]:
    """Units with a release after this transaction that was not rolled back."""
    found: set[tuple[str, int]] = set()
    begun = False
    for line in _lines(state):
        release = (line["unit"], line["release"])
        if line.get("verdict") == "rolled-back":
            found.discard(release)
        elif "verdict" not in line and "soak" not in line:
            if begun and line["transaction"] is not None:
                found.add(release)
            begun = begun or line["transaction"] == ident
    return {unit for unit, _ in found}


# --- releases that wait for a verdict ----------------------------------------------------------


def await_verdict(state: str, unit: str, ident: str, within: float) -> float:
    """Has the release rolled back unless it is confirmed. Returns when (epoch). Raises OSError.

    Earlier unconfirmed releases are rolled back with it, to the last confirmed state.
    """
    before = awaiting(state, unit)
    deadline = time.time() + within
    content = {
        "unit": unit,
        "transactions": [ident, *(before["transactions"] if before else [])],
        "withinSeconds": within,
        "deadline": deadline,
        # Valid for this boot only, but nobody can set this clock.
        "bootId": _boot_id(),
        "bootDeadline": time.clock_gettime(time.CLOCK_BOOTTIME) + within,
    }
    os.makedirs(os.path.join(state, AWAITING), 0o700, exist_ok=True)
    _write(_awaiting_path(state, unit), content)
    return deadline


def awaiting(state: str, unit: str) -> dict[str, Any] | None:
    """None if a verdict was recorded, even if a power failure brought the file back."""
    found = _read(_awaiting_path(state, unit))
    if found is None or not _is_wait(found, unit):
        return None
    judged = {each["transaction"]: each["verdict"] for each in of_unit(state, unit)}
    settled = all(judged.get(ident) == "confirmed" for ident in found["transactions"])
    return None if settled else found


def all_awaiting(state: str) -> list[dict[str, Any]]:
    found = (awaiting(state, unit) for unit in _awaiting_units(state))
    return [each for each in found if each is not None]


def forget_settled(state: str) -> None:
    """Removes what says that a release awaits its verdict after it was confirmed."""
    for unit in _awaiting_units(state):
        path = _awaiting_path(state, unit)
        found = _read(path)
        if found is not None and _is_wait(found, unit) and awaiting(state, unit) is None:
            files.remove(path)


def _awaiting_units(state: str) -> list[str]:
    try:
        names = sorted(os.listdir(os.path.join(state, AWAITING)))
    except FileNotFoundError:
        return []
    # Any other name is not ours: a temporary file, or a copy that somebody made.
    matches = (WAIT.fullmatch(name) for name in names)
    return [match.group(1) for match in matches if match]


def _is_wait(found: dict[str, Any], unit: str) -> bool:
    """Whether the content is about the unit in the file's name, and complete."""
    idents = found.get("transactions")
    return (
        found.get("unit") == unit
        and isinstance(idents, list)
        and len(idents) > 0
        and all(isinstance(each, str) for each in idents)
        and isinstance(found.get("bootId"), str)
        and all(type(found.get(name)) in (int, float) for name in WAIT_NUMBERS)
    )


def is_due(waiting: dict[str, Any]) -> bool:
    if waiting["bootId"] == _boot_id():
        return time.clock_gettime(time.CLOCK_BOOTTIME) >= float(waiting["bootDeadline"])
    return time.time() >= float(waiting["deadline"])


def stop_awaiting(state: str, unit: str, ident: str | None = None) -> None:
    """Ends the wait for all transactions of the unit, or for one."""
    path = _awaiting_path(state, unit)
    waiting = _read(path)
    if waiting is None or not _is_wait(waiting, unit):
        return
    left = [each for each in waiting["transactions"] if ident is not None and each != ident]
    if left:
        _write(path, {**waiting, "transactions": left})
    else:
        files.remove(path)


# --- a rollback in progress --------------------------------------------------------------------


def begin_rollback(state: str, rollback: dict[str, Any]) -> None:
    """`transactions` newest first, `by`, `why`. Durable before the first is undone."""
    _write(os.path.join(state, ROLLING), rollback)


def current_rollback(state: str) -> dict[str, Any] | None:
    return _read(os.path.join(state, ROLLING))


def end_rollback(state: str) -> None:
    files.remove(os.path.join(state, ROLLING))


# -----------------------------------------------------------------------------------------------


def _append(state: str, lines: Sequence[dict[str, Any]]) -> None:
    path = os.path.join(state, LEDGER)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        # A power failure may have left an incomplete last line.
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        left = memoryview((("\n" if torn else "") + text).encode("ascii"))
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if size > LEDGER_LIMIT_BYTES:
        whole = "".join(json.dumps(line) + "\n" for line in _newest(_lines(state)))
        files.write(path, whole.encode("ascii"), 0o600, os.geteuid(), os.getegid())


def _newest(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest lines of each unit: a unit without any would be numbered from 1 again."""
    kept: list[dict[str, Any]] = []
    counts: Counter[Any] = Counter()
    for line in reversed(lines):
        counts[line.get("unit")] += 1
        if counts[line.get("unit")] <= KEEP_LINES:
            kept.append(line)
    return kept[::-1]


def _lines(state: str) -> list[dict[str, Any]]:
    try:
        with open(os.path.join(state, LEDGER), encoding="utf-8", errors="replace") as file:
            texts = file.read().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for text in texts:
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and _is_whole(line):
                found.append(line)
    return found


def _is_whole(line: dict[str, Any]) -> bool:
    """Whether it has what is read of it: a line that a person has changed must stop nothing."""
    texts = ["unit"]
    if "verdict" in line:
        texts += ["verdict", "by", "why"]
    elif "soak" in line:
        texts += ["soak", "by", "why"]
    elif line.get("transaction", "") is not None:
        # Release 0 has none.
        texts += ["transaction"]
    return (
        type(line.get("release")) is int
        and type(line.get("at")) in (int, float)
        and all(isinstance(line.get(name), str) for name in texts)
        and ("soak" not in line or "verdict" in line or isinstance(line.get("figures"), dict))
    )


def _awaiting_path(state: str, unit: str) -> str:
    return os.path.join(state, AWAITING, unit + ".json")


def _write(path: str, content: dict[str, Any]) -> None:
    files.write(path, json.dumps(content).encode("ascii"), 0o600, os.geteuid(), os.getegid())


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
