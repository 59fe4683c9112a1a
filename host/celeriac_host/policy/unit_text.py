"""Compares the text of a unit file or drop-in that a plan brings with what defines the unit now.

Only the keys that deploy-worker writes may change, to the values that it writes. All others stay
as they are, line for line; `ExecStart=` keeps its program, and no command gets another user.
"""

from __future__ import annotations

import re
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence, Tuple

from celeriac_host.policy import trusted
from celeriac_host.policy.refusal import Refused, shown
from celeriac_host.system import support

RULE = "unit text"
LIMIT_BYTES = 256 * 1024
SUPPORT_FOLDER = re.compile(rf"{support.FOLDER}/*")

# Section and key.
Key = Tuple[str, str]


class Line(NamedTuple):
    """One assignment: `[Service]` `User=` `shop`."""

    section: str
    key: str
    value: str


class Part(NamedTuple):
    """A unit file or drop-in."""

    path: str
    text: str


def read(path: str) -> Part:
    """Raises Refused: a definition that others could change decides nothing."""
    try:
        content = trusted.read(trusted.resolved(path), LIMIT_BYTES)
    except trusted.Untrusted as error:
        raise Refused(RULE, str(error)) from None
    try:
        return Part(path, content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused(RULE, f"{path} is not UTF-8 text") from None


def parse(text: str) -> list[Line]:
    """The assignments as systemd reads them (systemd.syntax(7)). Raises Refused."""
    whole = text.replace("\r\n", "\n")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", whole):
        raise Refused(RULE, "it contains a control character")
    found: list[Line] = []
    section, pending = "", ""
    for raw in whole.lstrip("\ufeff").split("\n"):
        line = raw.lstrip(" \t")
        # Also between the lines of one assignment.
        if line.startswith(("#", ";")):
            continue
        line = pending + line
        if _continues(line):
            pending = line[:-1] + " "
            continue
        pending = ""
        section = _take(line.strip(" \t"), section, found)
    _take(pending.strip(" \t"), section, found)
    return found


def _continues(line: str) -> bool:
    """Whether it ends with a backslash that no other one escapes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _take(line: str, section: str, found: list[Line]) -> str:
    """Reads one line; returns the section of the next one."""
    if not line:
        return section
    if line.startswith("["):
        if not re.fullmatch(r"\[[A-Za-z-]+\]", line):
            raise Refused(RULE, f"{shown(line)} is not the header of a section")
        return line[1:-1]
    key, equals, value = line.partition("=")
    if not equals:
        # systemd ignores it, with a warning; .include was no assignment either.
        raise Refused(RULE, f"{shown(line)} is not an assignment")
    found.append(Line(section, key.rstrip(" \t"), value.lstrip(" \t")))
    return section


# --- what may change ----------------------------------------------------------------------------


def _is(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


_span = _is(r"[0-9]+(?:\.[0-9]+)?(?: ?[a-z]{1,12})?(?: [0-9]+ ?[a-z]{1,12})*|infinity")
_size = _is(r"[0-9]+(?:\.[0-9]+)?[KMGT]?|[0-9]{1,3}%|infinity")
_yes = _is(r"yes")

# Their values as deploy-worker writes them (src/plan/unit/unit-settings.ts).
SETTINGS: Mapping[Key, Callable[[str], bool]] = {
    ("Unit", "StartLimitIntervalSec"): _span,
    ("Unit", "StartLimitInterval"): _span,
    ("Service", "StartLimitInterval"): _span,
    ("Service", "StartLimitIntervalSec"): _span,
    ("Unit", "StartLimitBurst"): _is(r"[0-9]{1,6}"),
    ("Service", "StartLimitBurst"): _is(r"[0-9]{1,6}"),
    ("Unit", "After"): _is(r"[A-Za-z0-9:_.\\@ -]*"),
    ("Service", "Type"): _is(r"notify"),
    ("Service", "NotifyAccess"): _is(r"main"),
    ("Service", "KillMode"): _is(r"mixed"),
    ("Service", "KillSignal"): _is(r"SIGTERM"),
    ("Service", "TimeoutSec"): _span,
    ("Service", "TimeoutStartSec"): _span,
    ("Service", "TimeoutStopSec"): _span,
    ("Service", "Restart"): _is(r"always"),
    ("Service", "RestartSec"): _span,
    ("Service", "MemoryMax"): _size,
    ("Service", "MemoryHigh"): _size,
    ("Service", "MemoryLimit"): _size,
    ("Service", "OOMPolicy"): _is(r"continue"),
    ("Service", "WatchdogSec"): _span,
}
# Restrictions: they may be added, and not taken away.
RESTRICTIONS: Mapping[Key, Callable[[str], bool]] = {
    ("Service", "NoNewPrivileges"): _yes,
    ("Service", "PrivateTmp"): _yes,
    ("Service", "ProtectKernelTunables"): _yes,
    ("Service", "ProtectKernelModules"): _yes,
    ("Service", "ProtectKernelLogs"): _yes,
    ("Service", "RestrictSUIDSGID"): _yes,
    ("Service", "ProtectSystem"): _is(r"strict"),
}
EXEC_START = ("Service", "ExecStart")
ENVIRONMENT = ("Service", "Environment")
WRITABLE = ("Service", "ReadWritePaths")
REMOVABLE = tuple(
    ("Service", key) for key in ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost")
)


def judge_file(new: Sequence[Line], old: Sequence[Line], allowed: Sequence[str]) -> None:
    """A whole unit file against what defines the unit now. Raises Refused.

    `old` has the lines of the file, and of the drop-ins of Celeriac that the file takes the place
    of. `allowed` are paths for `ReadWritePaths=`.
    """
    for key in _keys([*old, *new]):
        before, after = _values(old, key), _values(new, key)
        if before != after:
            _judge_change(key, before, after, allowed)


def judge_drop_in(new: Sequence[Line], below: Sequence[Line], allowed: Sequence[str]) -> None:
    """A drop-in of Celeriac's against the unit below it. Raises Refused."""
    for key in _keys(new):
        before, after = effective(_values(below, key)), _values(new, key)
        if key == EXEC_START or key in REMOVABLE:
            if after[0] != "":
                raise Refused(RULE, f"{key[1]}= adds a command to those of the unit")
            after = [value for value in after if value]
        elif key in (ENVIRONMENT, WRITABLE):
            after = [*before, *after]
        _judge_change(key, before, after, allowed)


def judge_replaced(old: Sequence[Line], others: Sequence[Line]) -> None:
    """A drop-in of Celeriac's that is replaced or removed. Raises Refused.

    `others` define the unit then: no restriction may get lost, nor a line of its owner's.
    """
    known = {*SETTINGS, *RESTRICTIONS, *REMOVABLE, EXEC_START, ENVIRONMENT, WRITABLE}
    for line in old:
        key = (line.section, line.key)
        if key not in known:
            raise Refused(
                RULE, f"{line.key}= in Celeriac's drop-in is not Celeriac's, and must stay"
            )
        if key in RESTRICTIONS and line.value not in _values(others, key):
            raise Refused(RULE, f"{line.key}= may only be restricted further")


def effective(values: Sequence[str]) -> list[str]:
    """An empty assignment resets a list."""
    last = max((at for at, value in enumerate(values) if value == ""), default=-1)
    return list(values[last + 1 :])


def _judge_change(
    key: Key, before: Sequence[str], after: Sequence[str], allowed: Sequence[str]
) -> None:
    name = f"{key[1]}="
    added = [value for value in after if value not in before]
    if key in SETTINGS:
        # An empty value, or 0, takes back what another file sets.
        for value in added:
            if value != "" and not SETTINGS[key](value):
                raise Refused(
                    RULE, f"{name}{shown(value)} is not a value that deploy-worker writes"
                )
    elif key in RESTRICTIONS:
        if not after or not all(RESTRICTIONS[key](value) for value in added):
            raise Refused(RULE, f"{name} may only be restricted further")
        # The last line counts: it stays, or is one that restricts.
        last = effective(after)[-1:]
        if last != effective(before)[-1:] and not (last and RESTRICTIONS[key](last[0])):
            raise Refused(RULE, f"{name} may only be restricted further")
    elif key == EXEC_START:
        _judge_exec_start(effective(before), effective(after))
    elif key in REMOVABLE:
        _judge_removed(name, effective(before), effective(after))
    elif key == ENVIRONMENT:
        _judge_environment(before, after)
    elif key == WRITABLE:
        _judge_writable(before, after, allowed)
    else:
        raise Refused(RULE, f"{name} must stay as it is")


def _judge_exec_start(before: Sequence[str], after: Sequence[str]) -> None:
    if len(before) != len(after):
        raise Refused(RULE, "ExecStart= must stay one command")
    for old, new in zip(before, after):
        if skeleton(old, is_old=True) != skeleton(new):
            raise Refused(
                RULE,
                "ExecStart= may only change in its queues, its concurrency, its limits of a child "
                f"and Celeriac's module; {shown(new)} changes more",
            )


def _judge_removed(name: str, before: Sequence[str], after: Sequence[str]) -> None:
    """Commands may go if they kill Celery by name, and none may come."""
    left = list(before)
    for value in after:
        if value not in left:
            raise Refused(RULE, f"{name}{shown(value)} is not a command of the unit")
        left.remove(value)
    for value in left:
        kills = re.search(r"\b(?:pkill|killall)\b", value) and "celery" in value.lower()
        if not kills:
            raise Refused(RULE, f"{name}{shown(value)} must stay")


def _judge_environment(before: Sequence[str], after: Sequence[str]) -> None:
    """Only PYTHONPATH, and in it only the folder of the support module."""
    if [each for each in before if each in after] != [each for each in after if each in before]:
        raise Refused(RULE, "the lines of Environment= must keep their order")
    gone = [each for each in before if each not in after]
    come = [each for each in after if each not in before]
    if "" in come:
        raise Refused(RULE, "Environment= must not be reset")
    known = {
        folder
        for value in before
        for found in re.findall(r"PYTHONPATH=([^\s\"']*)", value)
        for folder in found.split(":")
    }
    old, new = _assignments(gone), _assignments(come)
    for word in new:
        rest = [each for each in _folders(word) if not SUPPORT_FOLDER.fullmatch(each)]
        if word not in old and not (_names_path(word) and known.issuperset(rest)):
            name = shown(word.partition("=")[0])
            raise Refused(RULE, f"Environment= must not set {name} to another value")
    for word in old:
        if word not in new and not _names_path(word):
            raise Refused(RULE, f"Environment={shown(word.partition('=')[0])} must stay")


def _judge_writable(before: Sequence[str], after: Sequence[str], allowed: Sequence[str]) -> None:
    old = _assignments(before)
    for word in _assignments(after):
        plain = word.lstrip("-+")
        if word not in old and not any(
            plain == each or plain.startswith(each.rstrip("/") + "/") for each in allowed
        ):
            raise Refused("writablePaths", f"ReadWritePaths= must not add {shown(plain)}")
        if word not in old and re.search(r"/\.\.?(?:/|$)|//|%", plain):
            raise Refused("writablePaths", f"ReadWritePaths= must not add {shown(plain)}")


# --- command lines ------------------------------------------------------------------------------

VALUE = r"[A-Za-z0-9_.,:@-]{1,400}"
VARIABLE = r"\$?\$(?:\w+|\{\w+\})"
VALUED = {
    "--autoscale": r"[0-9]{1,4}(?:,[0-9]{1,4})?",
    "-c": r"[0-9]{1,4}",
    "--concurrency": r"[0-9]{1,4}",
    "--max-memory-per-child": r"[0-9]{1,12}",
    "--maxmemperchild": r"[0-9]{1,12}",
    "--max-tasks-per-child": r"[0-9]{1,9}",
    "--maxtasksperchild": r"[0-9]{1,9}",
    "--prefetch-multiplier": r"[0-9]{1,6}",
    "-Q": VALUE,
    "--queues": VALUE,
    "-I": VALUE,
    "--include": VALUE,
}
INCLUDES = ("-I", "--include")


def skeleton(command: str, is_old: bool = False) -> list[str]:
    """What must stay of a command line: all but the options of `VALUED`, and Celeriac's module.

    A variable may be replaced, and none may come: it could show a secret to whoever sees the line.
    """
    prefixes = re.match(r"[-@:+!|]*", command)
    start = prefixes.group(0) if prefixes else ""
    # Only these separate words for systemd; a no-break space is part of one.
    tokens = re.findall(r"['\"]|[^ \t\n'\"]+", command[len(start) :])
    kept: list[str] = [start]
    at = 0
    while at < len(tokens):
        token = tokens[at]
        option, equals, value = token.partition("=")
        after = tokens[at + 1] if at + 1 < len(tokens) else ""
        pattern = VALUED.get(option)
        if pattern is not None and is_old:
            pattern = f"{pattern}|{VARIABLE}"
        if pattern is not None and equals and re.fullmatch(pattern, value):
            kept += _includes(option, value)
        elif pattern is not None and not equals and re.fullmatch(pattern, after):
            kept += _includes(option, after)
            at += 1
        elif re.fullmatch(r"-c[0-9]{1,4}", token):
            pass
        elif token.startswith("PYTHONPATH="):
            rest = [
                each
                for each in _folders(token)
                if not SUPPORT_FOLDER.fullmatch(each)
                and each not in ("${PYTHONPATH}", "$$PYTHONPATH", "$PYTHONPATH")
            ]
            kept += [f"PYTHONPATH={':'.join(rest)}"] if rest else []
        elif token != "exec":
            kept.append(token)
        at += 1
    return [each for at, each in enumerate(kept) if not _is_bare_env(kept, at)]


def _includes(option: str, value: str) -> list[str]:
    """The modules that are loaded must stay, but Celeriac's own."""
    if option not in INCLUDES:
        return []
    modules = sorted(each for each in value.split(",") if each and each != support.MODULE)
    return [f"--include={','.join(modules)}"] if modules else []


def _is_bare_env(tokens: Sequence[str], at: int) -> bool:
    """`env` without an assignment or an option only starts the program after it."""
    after = tokens[at + 1] if at + 1 < len(tokens) else "-"
    return tokens[at] == "/usr/bin/env" and not re.match(r"-|['\"]|[A-Za-z_]\w*=", after)


# --- words --------------------------------------------------------------------------------------


def _assignments(values: Iterable[str]) -> list[str]:
    """The words of `Environment=` and of lists of paths, quotes removed."""
    found: list[str] = []
    for value in values:
        if value == "":
            found = []
            continue
        if "\\" in value:
            raise Refused(RULE, f"{shown(value)} has a backslash, which cannot be judged")
        for quoted, single, bare in re.findall(r"\"([^\"]*)\"|'([^']*)'|([^ \t\n\"']+)", value):
            found.append(quoted or single or bare)
    return found


def _names_path(word: str) -> bool:
    return word.startswith("PYTHONPATH=")


def _folders(word: str) -> list[str]:
    return [each for each in word.partition("=")[2].split(":") if each]


def _keys(lines: Iterable[Line]) -> list[Key]:
    return list(dict.fromkeys((each.section, each.key) for each in lines))


def _values(lines: Iterable[Line], key: Key) -> list[str]:
    return [each.value for each in lines if (each.section, each.key) == key]
