"""systemd's units: what they are, what runs in them, what they wrote, as whom they run."""

from __future__ import annotations

import glob
import json
import os
import re
import signal
from typing import Any, NamedTuple, Sequence

from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import Completed, System

PROPERTY = re.compile(r"([A-Z][A-Za-z0-9]*)=(.*)", re.DOTALL)
EXCEPTION = re.compile(
    r"(?:^|\s)((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b.*)"
    # Named otherwise, e.g. celery.exceptions.ImproperlyConfigured: a traceback's last line.
    r"|^((?:\w+\.)+[A-Z]\w*: .*)"
)
CGROUP_ROOT = "/sys/fs/cgroup"
# What systemd itself says about any unit: no evidence of why one fails.
BOOKKEEPING = re.compile(
    r"(Start|Stopp)(ing|ed) |Scheduled restart job|Consumed .* CPU time|Deactivated successfully"
    r"|Succeeded\.$|start request repeated|Start request repeated|Failed to start "
)


def show(host: System, unit: str, properties: Sequence[str] | None = None) -> dict[str, str]:
    """`systemctl show`: property → value as printed; several lines of one name are joined."""
    wanted = ["-p", ",".join(properties)] if properties else []
    done = host.run(["systemctl", "show", "--no-pager", *wanted, "--", unit], timeout=30)
    found: dict[str, str] = {}
    last = ""
    for line in done.out.splitlines():
        match = PROPERTY.fullmatch(line)
        if match is None:
            # A value that goes on: somebody put a line break in it.
            if last:
                found[last] += "\n" + line
            continue
        last, value = match.group(1), match.group(2)
        found[last] = f"{found[last]}\n{value}" if last in found else value
    return found


def control(
    host: System, verb: str, *words: str, timeout: float = 90.0, shielded: bool = False
) -> Completed:
    """`systemctl VERB …`; shielded: goes on to its end though the runner be gone."""
    argv = ["systemctl", "--no-pager", "--no-ask-password", verb, *words]
    if not shielded:
        return host.run(argv, timeout=timeout)
    with host.shielded():
        return host.run(argv, timeout=timeout)


def reload(host: System) -> None:
    """Has the manager read all unit files again. Never broken off half-way."""
    control(host, "daemon-reload", shielded=True)


UP = ("running", "degraded", "starting", "initializing", "maintenance")


def going_down(host: System) -> bool:
    """Whether the machine is on its way down; systemd may not even answer then."""
    with host.shielded():
        for _ in range(3):
            done = host.run(["systemctl", "is-system-running"], timeout=30, check=False)
            # Who ends our control group may hit this one too: it has said nothing then.
            if done.code != -signal.SIGTERM:
                break
    return done.out.strip() not in UP


def number(value: str | None) -> int:
    """0 for an empty, absent or non-numeric property (`[not set]`)."""
    return int(value) if value and value.isdigit() else 0


def running(main_pid: int) -> str:
    """`main 812, 5 children`."""
    if not main_pid:
        return "no main process"
    count = len(processes.pool_children(main_pid))
    return f"main {main_pid}, {count} {'child' if count == 1 else 'children'}"


def cgroup_folder(group: str) -> str | None:
    """The folder of a ControlGroup, on either cgroup version; None when there is none."""
    if not group:
        return None
    for root in (CGROUP_ROOT, CGROUP_ROOT + "/unified", CGROUP_ROOT + "/systemd"):
        if os.path.exists(f"{root}{group}/cgroup.procs"):
            return root + group
    return None


def cgroup_processes(group: str) -> list[processes.Process]:
    """Every living process in a control group and those below it."""
    folder = cgroup_folder(group)
    found: list[processes.Process] = []
    for path, _, _ in os.walk(folder) if folder else ():
        try:
            with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
                pids = [int(line) for line in file]
        except OSError:
            continue
        read = (processes.read(pid) for pid in pids)
        found.extend(process for process in read if process and process.state not in "ZX")
    return found


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
    """The unit's newest journal entries, oldest first, as `journalctl -o json` gives them.

    With a run: those of that one start, and what systemd says of it.
    """
    argv = ["journalctl", "--no-pager", "-q", "-o", "json", "-n", str(last)]
    argv += ["--after-cursor", after_cursor] if after_cursor else []
    if run is not None:
        argv += ["-b", f"_SYSTEMD_INVOCATION_ID={run.invocation}"]
        argv += ["+", f"INVOCATION_ID={run.invocation}"]
        # Of a process that has exited journald reads the invocation from the unit, which may have
        # started again by then.
        argv += ["+", f"_PID={run.main_pid}", f"_SYSTEMD_UNIT={unit}"] if run.main_pid else []
    else:
        # Not -u: of a process that ended at once, such as one without a program, journald may
        # never learn the unit. systemd names it, whoever of its processes writes.
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
    """Its text; journald gives bytes that are not UTF-8 as a list of numbers."""
    text = entry.get("MESSAGE")
    if isinstance(text, list):
        return bytes(text).decode("utf-8", "replace")
    return text if isinstance(text, str) else ""


def cursor(host: System) -> str:
    """Where the journal ends now; empty when that can't be told."""
    done = host.run(["journalctl", "-q", "-n", "0", "--show-cursor"], check=False, timeout=30)
    match = re.search(r"^-- cursor: (.+)$", done.out, re.MULTILINE)
    return match.group(1) if match else ""


def evidence(
    host: System, unit: str, after_cursor: str = "", run: Run | None = None, last: int = 20
) -> list[str]:
    """The last lines of the unit since then, or of that run, that may tell why it fails."""
    host.run(["journalctl", "--sync"], check=False, timeout=10)
    entries = journal(host, unit, after_cursor, run)
    lines = [
        line.rstrip()
        for entry in entries
        if not (entry.get("_PID") == "1" and BOOKKEEPING.search(message(entry)))
        for line in message(entry).splitlines()
        if line.strip()
    ]
    return lines[-last:]


def last_exception(lines: Sequence[str]) -> str:
    """Python's final line, e.g. `ModuleNotFoundError: No module named 'tasks'`; or empty."""
    for line in reversed(lines):
        match = EXCEPTION.search(line)
        if match:
            return (match.group(1) or match.group(2)).strip()
    return ""


def reason(lines: Sequence[str]) -> str:
    """The line that tells most: an exception, else the last that systemd did not write."""
    own = [line for line in lines if not re.match(r"[\w:.\\@-]+\.service: ", line)]
    # Of a program that is not there, journald may know the unit of the second line alone.
    causes = [line for line in lines if re.search(r": Failed (?:to|at step) ", line)]
    # The worker can't write of it, and its last words before it mislead.
    killed = [line for line in lines if "OOM killer" in line]
    return last_exception(lines) or (killed or own or causes or list(lines) or [""])[-1]


def exposure(host: System, unit: str) -> float | None:
    """The verdict of `systemd-analyze security`: 0 (safe) to 10; None when it gives none."""
    argv = ["systemd-analyze", "security", "--no-pager", "--", unit]
    done = host.run(argv, timeout=60, check=False)
    match = re.search(r"exposure level for .*?: ([0-9.]+)", done.out)
    return float(match.group(1)) if match else None


class Context(NamedTuple):
    """As whom, where and with what environment a unit's processes run."""

    identity: Identity
    directory: str
    environment: dict[str, str]


def context(host: System, unit: str) -> Context:
    """From User, Group, WorkingDirectory, Environment, EnvironmentFiles, UnsetEnvironment."""
    seen = show(host, unit)
    if seen.get("LoadState") != "loaded":
        raise OperationError(f"{unit} is not there ({seen.get('LoadState', 'unknown')})")
    user = seen.get("User", "")
    groups = seen.get("SupplementaryGroups", "").split()
    whom = identity(user or "root", seen.get("Group", ""), groups)
    manager = host.run(["systemctl", "show-environment"], timeout=30).out
    environment = dict(_assignments(word for word in map(_unquoted, manager.splitlines())))
    if user:
        environment.update(HOME=whom.home, LOGNAME=whom.name, USER=whom.name, SHELL=whom.shell)
    environment.update(_assignments(split_words(seen.get("Environment", ""))))
    for line in seen.get("EnvironmentFiles", "").splitlines():
        environment.update(_environment_file(line))
    for word in split_words(seen.get("UnsetEnvironment", "")):
        name, equals, value = word.partition("=")
        if not equals or environment.get(name) == value:
            environment.pop(name, None)
    return Context(whom, _directory(seen.get("WorkingDirectory", ""), whom), environment)


def working_directory(seen: dict[str, str]) -> str | None:
    """Where the processes of a unit start, links followed; None when its user is unknown."""
    try:
        whom = identity(seen.get("User") or "root")
    except OperationError:
        return None
    return os.path.realpath(_directory(seen.get("WorkingDirectory", ""), whom))


def run_as(
    host: System,
    where: Context,
    argv: Sequence[str],
    timeout: float,
    env: dict[str, str] | None = None,
    input: bytes | None = None,
    check: bool = True,
) -> Completed:
    """Runs a command as a process of the unit would run."""
    ours = dict.fromkeys(("LC_ALL", "SYSTEMD_COLORS", "SYSTEMD_PAGER", "SYSTEMD_URLIFY"))
    merged = {**ours, **where.environment, **(env or {})}
    return host.run(
        argv,
        timeout=timeout,
        user=where.identity,
        cwd=where.directory,
        env=merged,
        input=input,
        check=check,
    )


def _directory(value: str, whom: Identity) -> str:
    # `!` stands for the `-` of WorkingDirectory=-/path: going on without it is allowed.
    path = value.lstrip("!")
    if path == "~":
        return whom.home
    if not path or (value.startswith("!") and not os.path.isdir(path)):
        return "/"
    return path


def _environment_file(line: str) -> dict[str, str]:
    """One line of EnvironmentFiles: `/etc/default/app (ignore_errors=yes)`."""
    match = re.fullmatch(r"(.*) \(ignore_errors=(yes|no)\)", line)
    pattern, optional = (match.group(1), match.group(2) == "yes") if match else (line, False)
    found: dict[str, str] = {}
    paths = sorted(glob.glob(pattern)) or [pattern]
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                found.update(parse_environment(file.read()))
        except OSError as error:
            if not optional:
                raise OperationError(
                    f"the unit's EnvironmentFile {path} can't be read: {error.strerror}"
                ) from None
    return found


BLANKS = " \t\r"


def parse_environment(text: str) -> dict[str, str]:
    """EnvironmentFile syntax: comments, quotes that may span lines, backslashes."""
    found: dict[str, str] = {}
    at, end = 0, len(text)
    while at < end:
        if text[at] in " \t\r\n":
            at += 1
            continue
        if text[at] in "#;":
            at = _line_end(text, at)
            continue
        equals = text.find("=", at)
        if equals < 0 or equals > _line_end(text, at):
            at = _line_end(text, at)
            continue
        name = text[at:equals].strip()
        value, at = _value(text, equals + 1)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            found[name] = value
    return found


def _line_end(text: str, at: int) -> int:
    newline = text.find("\n", at)
    return len(text) if newline < 0 else newline


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins there, and where it ends.

    As systemd's own reader: a quote means something only where the value begins, or goes on after
    a part that was quoted. In `it's` and `{"a": 1}` it is a character like any other.
    """
    out = ""
    # How much of `out` was quoted or escaped: trailing white space is cut only behind it.
    firm = 0
    begins = True
    while at < len(text) and text[at] != "\n":
        char = text[at]
        if begins and char in BLANKS:
            at += 1
        elif begins and char in "'\"":
            part, at = _quoted(text, at + 1, char)
            out += part
            firm = len(out)
        elif char == "\\":
            out += text[at + 1 : at + 2].strip("\n")
            firm = len(out)
            at += 2
            begins = False
        else:
            out += char
            at += 1
            begins = False
    return out[:firm] + out[firm:].rstrip(BLANKS), at


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    """What stands there up to the quote, and where it goes on behind that."""
    out = ""
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\" and at + 1 < len(text):
            at += 1
            if text[at] == "\n":
                at += 1
                continue
            if text[at] not in '"\\`$':
                out += "\\"
        out += text[at]
        at += 1
    return out, at + 1


def _assignments(words: Any) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and name}


def split_words(text: str) -> list[str]:
    """Words as systemctl prints lists of strings: bare, "…" or $'…'."""
    found = re.findall(r"(?:\$'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S)+", text, re.DOTALL)
    return [_unquoted(word) for word in found]


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def _unquoted(word: str) -> str:
    # `show-environment` prints NAME=$'…', `show` prints $'NAME=…'.
    match = re.fullmatch(r"((?:\w+=)?)(?:\$'(.*)'|\"(.*)\")", word, re.DOTALL)
    if match is None:
        return word
    inner = match.group(2) if match.group(2) is not None else match.group(3)
    return match.group(1) + re.sub(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|.)", _unescaped, inner)


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] == "x" and len(code) == 3:
        return chr(int(code[1:], 16))
    if code.isdigit() and len(code) == 3:
        return chr(int(code, 8))
    return ESCAPES.get(code, code)
