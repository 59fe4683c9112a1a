"""How the processes of a unit run: their user, directory, environment and restrictions."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Any, Mapping, NamedTuple, Sequence

from celeriac_host.system import bus, environment_files, processes, services, unit_values, units
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import Completed, System

ENVIRONMENT_LIMIT_BYTES = 1024 * 1024


class Context(NamedTuple):
    """The user, directory, environment and restrictions of a unit's processes."""

    identity: Identity
    directory: str
    environment: dict[str, str]
    restrictions: services.Restrictions = services.NONE


def context(host: System, unit: str) -> Context:
    """Reads the properties that set them. Raises OperationError."""
    # Not `--all`, which prints `~` for lists that restrict nothing.
    seen = units.show(host, unit)
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
    environment.update(_folders(seen))
    if seen.get("ExecSearchPath"):
        environment["PATH"] = ":".join(unit_values.split_words(seen["ExecSearchPath"]))
    environment.update(_passed(seen))
    environment.update(_assignments(unit_values.split_words(seen.get("Environment", ""))))
    for line in seen.get("EnvironmentFiles", "").splitlines():
        environment.update(_environment_file(line, host))
    for word in unit_values.split_words(seen.get("UnsetEnvironment", "")):
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
    return dict(_assignments(word for word in map(unit_values.unquoted, shown.splitlines())))


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
        older = environment_files.version_matters(text) and units.version(host) < 254
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


# Variable, property and parent of the folders that systemd makes for a unit.
UNIT_FOLDERS = (
    ("RUNTIME_DIRECTORY", "RuntimeDirectory", "/run"),
    ("STATE_DIRECTORY", "StateDirectory", "/var/lib"),
    ("CACHE_DIRECTORY", "CacheDirectory", "/var/cache"),
    ("LOGS_DIRECTORY", "LogsDirectory", "/var/log"),
    ("CONFIGURATION_DIRECTORY", "ConfigurationDirectory", "/etc"),
)


def _folders(seen: Mapping[str, str]) -> dict[str, str]:
    lists = ((name, seen.get(key, "").split(), parent) for name, key, parent in UNIT_FOLDERS)
    return {
        name: ":".join(f"{parent}/{each}" for each in folders)
        for name, folders, parent in lists
        if folders
    }


def _passed(seen: Mapping[str, str]) -> dict[str, str]:
    """PassEnvironment: taken from the environment of systemd itself."""
    names = unit_values.split_words(seen.get("PassEnvironment", ""))
    own = processes.environment(1) if names else {}
    return {name: own[name] for name in names if name in own}


def _assignments(words: Any) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and name}
