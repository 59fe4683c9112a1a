"""What the programs of `programs/` may report, by program and kind.

A report comes from a process of the app's user, and may say anything. Only known fields of the
right type pass, texts are cut, and ids are those that were asked for.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

LONGEST_TEXT = 300
MOST_EVIDENCE = 20
MOST_ENTRIES = 1000
STATES = ("done", "failed", "timed-out")
PLACES = ("queued", "reserved", "active", "done", "failed", "lost", "unknown")

# Returns the value as it may be used. Raises Invalid.
Check = Callable[[Any], Any]


class Invalid(Exception):
    """The report is not one that the program makes."""


def clipped(text: str) -> str:
    """One printable line of limited length."""
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * LONGEST_TEXT])
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "\u2026"


def checked(program: str, request: Dict[str, Any], report: Dict[str, Any]) -> Dict[str, Any]:
    """The report with its known fields, or a `problem` with `evidence`. Raises Invalid."""
    problem = report.get("problem")
    if problem is not None and "jobs" not in report:
        kind = {"kind": "unknown"} if report.get("kind") == "unknown" else {}
        return {**kind, "problem": clipped(str(problem)), "evidence": _evidence(report)}
    asked = _asked(request)
    fields = _fields(program, request.get("kind"), asked)
    found = {name: check(report[name]) for name, check in fields.items() if name in report}
    missing = [
        name for name in REQUIRED.get((program, request.get("kind")), ()) if name not in found
    ]
    if missing:
        raise Invalid(f"without {missing[0]}")
    return found


# Without these, a report is none.
REQUIRED = {
    ("broker", "drain"): ("end", "left", "seen", "seconds"),
    ("broker", "give-back"): ("lasting",),
    ("broker", "consuming"): ("kind",),
    ("messages", "trace"): ("owed", "held", "holding", "waiting", "hidden"),
    ("messages", "look"): ("count", "restored", "others", "why"),
    ("messages", "restore"): ("count", "restored", "others", "why"),
    ("messages", "withdraw"): ("withdrawn",),
    ("probe", "canary"): ("ok", "jobs", "problem"),
    ("probe", "task"): ("ok", "jobs", "problem"),
    ("send", None): ("sent",),
    ("queues", "queues"): ("beat",),
}
QUEUE_NUMBERS = ("unacked", "oldestUnackedSeconds", "redeliverySeconds")


def _fields(program: str, kind: Any, asked: Check) -> Dict[str, Check]:
    ids = _list(asked)
    if program == "messages":
        return {
            **dict.fromkeys(("owed", "held", "withdrawn"), ids),
            **dict.fromkeys(("holding", "waiting", "count", "restored"), _number),
            **{name: _maybe(_text) for name in ("hidden", "why")},
            "others": _list(_text),
            "tasks": _counts,
            "begun": _by(asked),
            "oldestSeconds": _number,
            "messages": _list(_row(("id", "task", "queue"))),
        }
    if program == "probe":
        return {"ok": _flag, "jobs": _list(_job), "problem": _maybe(_text), "delivery": delivery}
    if program == "queues":
        return {
            **{name: _maybe(_text) for name in ("unreachable", "silence")},
            **{name: _maybe(_number) for name in QUEUE_NUMBERS},
            "transport": _text,
            "lengths": _counts,
            "active": _maybe(_list(_text)),
            "beat": _maybe(_schedule),
        }
    if program == "send":
        return {"sent": ids}
    return {
        "end": _text,
        "left": _list(_text),
        "seen": _number,
        "seconds": _number,
        "lasting": _flag,
        "given": _flag,
        "kind": _text,
        "waiting": _counts,
        "answers": _flag,
    }


def _evidence(report: Dict[str, Any]) -> list[str]:
    said = report.get("evidence")
    return [clipped(str(line)) for line in said[:MOST_EVIDENCE]] if isinstance(said, list) else []


def _asked(request: Dict[str, Any]) -> Check:
    """Passes only what this run asked for."""
    calls = request.get("calls")
    # The calls of a probe get their ids only in the program.
    known = {*request.get("ids", ()), *(call["id"] for call in calls or () if "id" in call)}

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise Invalid("with an id that nobody asked for")
        return value

    return check


def _list(check: Check) -> Check:
    def check_all(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid("with something else instead of a list")
        return [check(each) for each in value[: MOST_ENTRIES * 100]]

    return check_all


def _maybe(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("with something else instead of a text")
    return clipped(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid("with something else instead of yes or no")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid("with something else instead of a number")
    # Neither does a NaN, or a number with hundreds of digits.
    if not 0 <= value < 2**53:
        raise Invalid("with a number out of range")
    return value


def _counts(value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid("with something else instead of counts")
    return {_text(name): _number(each) for name, each in list(value.items())[:MOST_ENTRIES]}


def _by(key: Check) -> Check:
    """Numbers by such a key."""

    def check(value: Any) -> Dict[str, Any]:
        if not isinstance(value, dict):
            raise Invalid("with something else instead of numbers")
        entries = list(value.items())[: MOST_ENTRIES * 100]
        return {key(name): _number(each) for name, each in entries}

    return check


def _row(names: tuple[str, ...]) -> Check:
    def check(value: Any) -> Dict[str, Any]:
        if not isinstance(value, dict):
            raise Invalid("with something else instead of a row")
        return {name: clipped(str(value.get(name, ""))) for name in names}

    return check


def _job(value: Any) -> Dict[str, Any]:
    row: Dict[str, Any] = _row(("id", "where", "state", "detail"))(value)
    if row["state"] not in STATES:
        raise Invalid("with a job in an unknown state")
    place = {} if value.get("place") is None else {"place": _place(value["place"])}
    return {**row, "seconds": _number(value.get("seconds")), **place}


def _place(value: Any) -> str:
    if value not in PLACES:
        raise Invalid("with a job in an unknown place")
    return str(value)


def places(value: Any) -> Dict[str, Any]:
    """Where the probes of a gate stand. Raises Invalid."""
    if not isinstance(value, dict) or not isinstance(value.get("probes"), list):
        raise Invalid("without the probes")
    rows = [
        {**_row(("where", "detail"))(each), "place": _place(each.get("place"))}
        for each in value["probes"][:MOST_ENTRIES]
        if isinstance(each, dict)
    ]
    return {"seconds": _number(value.get("seconds")), "probes": rows}


def delivery(value: Any) -> Dict[str, Any]:
    """What the app tells about its broker. Raises Invalid."""
    row: Dict[str, Any] = _row(("transport", "where"))(value)
    seconds, problem = _maybe(_number)(value.get("seconds")), _maybe(_text)(value.get("problem"))
    return {**row, "seconds": seconds, "problem": problem}


def _schedule(value: Any) -> Dict[str, Any]:
    row: Dict[str, Any] = _row(("where",))(value)
    numbers = {name: _maybe(_number)(value.get(name)) for name in ("advanced", "everySeconds")}
    return {**row, **numbers, "problem": _maybe(_text)(value.get("problem"))}
