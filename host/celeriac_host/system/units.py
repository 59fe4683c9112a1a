"""systemd units: their properties, processes, journal and execution context."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
from typing import Any, Mapping, NamedTuple, Sequence

from celeriac_host.system import bus, environment_files, processes, services
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import Completed, System
from celeriac_host.system.unit_values import folder_variables

PROPERTY = re.compile(r"([A-Z][A-Za-z0-9]*)=(.*)", re.DOTALL)
EXCEPTION = re.compile(
    r"(?:^|\s)((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b.*)"
    # Other names, e.g. celery.exceptions.ImproperlyConfigured: a traceback's last line.
    r"|^((?:\w+\.)+[A-Z]\w*: .*)"
)
# Of a line of evidence.
LINE_LIMIT = 2000
CGROUP_ROOT = "/sys/fs/cgroup"
ENVIRONMENT_LIMIT_BYTES = 1024 * 1024
# What systemd logs about any unit: no evidence of why one fails.
BOOKKEEPING = re.compile(
    r"(Start|Stopp)(ing|ed) |Scheduled restart job|Consumed .* CPU time|Deactivated successfully"
    r"|Succeeded\.$|start request repeated|Start request repeated|Failed to start "
)


def show(host: System, unit: str, properties: Sequence[str] | None = None) -> dict[str, str]:
    """`systemctl show`: property → value as printed; repeated properties are joined by newlines."""
    wanted = ["-p", ",".join(properties)] if properties else []
    return _shown(host, unit, ["--no-pager", *wanted])


def show_all(host: System, unit: str) -> dict[str, str]:
    """Every property, even empty ones; a missing unit has a LoadState. Once in each look."""
    if host.moment is None:
        return _shown(host, unit, ["--all", "--no-pager"])
    known = host.moment.units
    if unit not in known:
        known[unit] = _shown(host, unit, ["--all", "--no-pager"])
    return dict(known[unit])


def glance(host: System, unit: str, properties: Sequence[str]) -> dict[str, str]:
    """As `show`; in a look, as all its facts see the unit: of one moment, asked once."""
    if host.moment is None:
        return show(host, unit, properties)
    whole = show_all(host, unit)
    return {name: whole[name] for name in properties if name in whole}


def _shown(host: System, unit: str, words: Sequence[str]) -> dict[str, str]:
    done = host.run(["systemctl", "show", *words, "--", unit], timeout=30)
    found: dict[str, str] = {}
    last = ""
    for line in done.out.splitlines():
        match = PROPERTY.fullmatch(line)
        if match is None:
            # The value contains a line break: this line continues it.
            if last:
                found[last] += "\n" + line
            continue
        last, value = match.group(1), match.group(2)
        found[last] = f"{found[last]}\n{value}" if last in found else value
    return found


def control(
    host: System, verb: str, *words: str, timeout: float = 90.0, shielded: bool = False
) -> Completed:
    """`systemctl VERB …`; if shielded, it also finishes without the runner."""
    argv = ["systemctl", "--no-pager", "--no-ask-password", verb, *words]
    if not shielded:
        return host.run(argv, timeout=timeout)
    with host.shielded():
        return host.run(argv, timeout=timeout)


def reload(host: System) -> None:
    """Makes systemd reread all unit files. Never interrupted."""
    control(host, "daemon-reload", shielded=True)


UP = ("running", "degraded", "starting", "initializing", "maintenance")


def going_down(host: System) -> bool:
    """Whether the host is shutting down; systemd may not even answer then."""
    with host.shielded():
        for _ in range(3):
            done = host.run(["systemctl", "is-system-running"], timeout=30, check=False)
            # A signal to our control group may also have ended this command: it reported nothing.
            if done.code != -signal.SIGTERM:
                break
    return done.out.strip() not in UP


def number(value: str | None) -> int:
    """The number; 0 for an empty, missing or non-numeric property (`[not set]`)."""
    return int(value) if value and value.isdigit() else 0


def running(main_pid: int) -> str:
    """`main 812, 5 children`."""
    if not main_pid:
        return "no main process"
    count = len(processes.pool_children(main_pid))
    return f"main {main_pid}, {count} {'child' if count == 1 else 'children'}"


def cgroup_folder(group: str) -> str | None:
    """The folder of a ControlGroup, for either cgroup version; None if it does not exist."""
    if not group:
        return None
    for root in (CGROUP_ROOT, CGROUP_ROOT + "/unified", CGROUP_ROOT + "/systemd"):
        if os.path.exists(f"{root}{group}/cgroup.procs"):
            return root + group
    return None


def memory_folder_v1(folder: str) -> str | None:
    """Where cgroup v1 counts the memory of a unit; None with cgroup v2. `folder`: cgroup_folder."""
    for root in (CGROUP_ROOT + "/unified", CGROUP_ROOT + "/systemd"):
        if folder.startswith(root + "/"):
            return CGROUP_ROOT + "/memory" + folder[len(root) :]
    return None


def cgroup_processes(group: str) -> list[processes.Process]:
    """Every running process in a control group and its subgroups."""
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
    return by_signal or last_exception(lines) or "".join(said)


def why(host: System, unit: str, lines: Sequence[str]) -> str:
    """The reason by these lines, and by what systemd knows if journald did not keep its line."""
    seen = show(host, unit, ("ExecMainCode", "ExecMainStatus"))
    code, status = number(seen.get("ExecMainCode")), number(seen.get("ExecMainStatus"))
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


def exposure(host: System, unit: str) -> float | None:
    """The exposure by `systemd-analyze security`: 0 (safe) to 10; None if unknown."""
    argv = ["systemd-analyze", "security", "--no-pager", "--", unit]
    done = host.run(argv, timeout=60, check=False)
    match = re.search(r"exposure level for .*?: ([0-9.]+)", done.out)
    return float(match.group(1)) if match else None


class Context(NamedTuple):
    """The user, directory, environment and restrictions of a unit's processes."""

    identity: Identity
    directory: str
    environment: dict[str, str]
    restrictions: services.Restrictions = services.NONE


def context(host: System, unit: str) -> Context:
    """Reads the properties that set them. Raises OperationError."""
    # Not `--all`, which prints `~` for lists that restrict nothing.
    seen = show(host, unit)
    environment = variables(host, unit, seen)
    whom = _identity(seen)
    directory = _directory(seen.get("WorkingDirectory", ""), whom)
    return Context(whom, directory, environment, services.restrictions(unit, seen))


def variables(host: System, unit: str, seen: Mapping[str, str]) -> dict[str, str]:
    """Those of a unit with these properties, in their order. Raises OperationError."""
    if seen.get("LoadState") != "loaded":
        raise OperationError(f"unit {unit} is not loaded ({seen.get('LoadState', 'unknown')})")
    whom = _identity(seen)
    environment = _environment_of_manager(host)
    if seen.get("User"):
        environment.update(HOME=whom.home, LOGNAME=whom.name, USER=whom.name, SHELL=whom.shell)
    environment.update(folder_variables(seen))
    if seen.get("ExecSearchPath"):
        environment["PATH"] = ":".join(split_words(seen["ExecSearchPath"]))
    environment.update(_passed(seen))
    environment.update(_assignments(split_words(seen.get("Environment", ""))))
    for line in seen.get("EnvironmentFiles", "").splitlines():
        environment.update(_environment_file(line, host))
    for word in split_words(seen.get("UnsetEnvironment", "")):
        name, equals, value = word.partition("=")
        if not equals or environment.get(name) == value:
            environment.pop(name, None)
    return environment


def _identity(seen: Mapping[str, str]) -> Identity:
    groups = seen.get("SupplementaryGroups", "").split()
    return identity(seen.get("User") or "root", seen.get("Group", ""), groups)


def _environment_of_manager(host: System) -> dict[str, str]:
    """What systemd gives to every unit. Raises OperationError."""
    said = host.systemd([bus.property_of(bus.MANAGER, "Manager", "Environment")])
    if said is not None and said[0]:
        return dict(_assignments(said[0][0]))
    shown = host.run(["systemctl", "show-environment"], timeout=30).out
    return dict(_assignments(word for word in map(_unquoted, shown.splitlines())))


def user_of(seen: dict[str, str]) -> str | None:
    """The name of the user of a unit's processes; None if there is no such user."""
    try:
        return identity(seen.get("User") or "root").name
    except OperationError:
        return None


def working_directory(seen: dict[str, str]) -> str | None:
    """The directory of a unit's processes, links resolved; None if its user is unknown."""
    try:
        whom = identity(seen.get("User") or "root")
    except OperationError:
        return None
    return os.path.realpath(_directory(seen.get("WorkingDirectory", ""), whom))


def expanded(words: Sequence[str], where: Context) -> list[str]:
    """The words of a command with the unit's own PYTHONPATH, as systemd expands them.

    Only in `PYTHONPATH=…:${PYTHONPATH}` for `env`, which deploy-worker writes.
    """
    own = where.environment.get("PYTHONPATH", "")
    return [
        word.replace("${PYTHONPATH}", own) if word.startswith("PYTHONPATH=") else word
        for word in words
    ]


def run_as(
    host: System,
    where: Context,
    argv: Sequence[str],
    timeout: float,
    env: dict[str, str] | None = None,
    input: bytes | None = None,
    check: bool = True,
) -> Completed:
    """Runs a command in the same context as the processes of the unit."""
    return host.run(
        argv,
        timeout=timeout,
        user=where.identity,
        cwd=where.directory,
        env={**where.environment, **(env or {})},
        input=input,
        check=check,
        asked=where.restrictions,
    )


def _directory(value: str, whom: Identity) -> str:
    # `!` stands for the `-` of WorkingDirectory=-/path: the directory may be missing.
    path = value.lstrip("!")
    if path == "~":
        return whom.home
    if not path or (value.startswith("!") and not os.path.isdir(path)):
        return "/"
    return path


def _environment_file(line: str, host: System) -> dict[str, str]:
    """One line of EnvironmentFiles: `/etc/default/app (ignore_errors=yes)`."""
    match = re.fullmatch(r"(.*) \(ignore_errors=(yes|no)\)", line)
    pattern, optional = (match.group(1), match.group(2) == "yes") if match else (line, False)
    found: dict[str, str] = {}
    paths = environment_files.matching(pattern) or [pattern]
    for path in paths:
        try:
            text = _environment_text(path)
        except OSError as error:
            if not optional:
                raise OperationError(
                    f"cannot read the unit's EnvironmentFile {path}: {error.strerror}"
                ) from None
            continue
        older = environment_files.version_matters(text) and version(host) < 254
        found.update(environment_files.parse(text, comments_go_on=older))
    return found


def _environment_text(path: str) -> str:
    """The app's user may own the file: a pipe or a huge file must not stop us. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    # newline="": a lone CR also ends a line.
    with open(handle, encoding="utf-8", errors="surrogateescape", newline="") as file:
        about = os.fstat(handle)
        if os.path.realpath(path) == os.devnull:
            return ""
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if about.st_size > ENVIRONMENT_LIMIT_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {ENVIRONMENT_LIMIT_BYTES} bytes")
        return file.read(ENVIRONMENT_LIMIT_BYTES)


def version(host: System) -> int:
    """The version of the systemd that runs; 0 if it does not say."""
    said = host.run(["systemctl", "show", "-p", "Version"], timeout=30, check=False).out
    match = re.search(r"[0-9]+", said)
    return int(match.group()) if match else 0


def _passed(seen: Mapping[str, str]) -> dict[str, str]:
    """PassEnvironment: taken from the environment of systemd itself."""
    names = split_words(seen.get("PassEnvironment", ""))
    own = processes.environment(1) if names else {}
    return {name: own[name] for name in names if name in own}


def _assignments(words: Any) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and name}


def split_words(text: str) -> list[str]:
    """Splits a list of strings as systemctl prints it: bare, "…" or $'…'."""
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
