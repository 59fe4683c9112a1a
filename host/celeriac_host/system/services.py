"""Runs a program in a transient service of systemd, no wider than the unit whose app it belongs to.

systemd starts it: it inherits nothing of ours but its three pipes, is in a control group of its
own, and ends with everything that it has started, also with what has left its session. The service
has the unit's restrictions, as `systemctl show` prints them, and never gains privileges.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from typing import Mapping, NamedTuple, Sequence

from celeriac_host.system import files
from celeriac_host.system.identities import Identity

FOLDER = "/run/celeriac/programs"
PREFIX = "celeriac-program-"
KEEPER_PREFIX = "celeriac-keeper-"
BOOTED = "/run/systemd/system"
BUS = "/run/dbus/system_bus_socket"
END_GRACE_SECONDS = 5
# For systemd to stop the service, in addition to the program's own time.
MARGIN_SECONDS = 30
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# See `prepare` and `keeper`.
OWN = re.compile(rf"(?:{PREFIX}|{KEEPER_PREFIX})\d+-[0-9a-f]+\.service")
# What systemd adds to a status in front of the program's own, by its exit code.
STATUSES = {
    200: "could not change to its working directory",
    203: "could not execute it",
    216: "could not set its group",
    217: "could not set its user",
    218: "could not set its capabilities",
    226: "could not set up its file system namespace",
    228: "could not set its system call filter",
}

# Property → its value where it restricts nothing.
RESTRICTIONS = {
    "BindPaths": "",
    "BindReadOnlyPaths": "",
    "DeviceAllow": "",
    "DevicePolicy": "auto",
    "ExecPaths": "",
    "IPAddressAllow": "",
    "IPAddressDeny": "",
    "InaccessiblePaths": "",
    "LockPersonality": "no",
    "MemoryDenyWriteExecute": "no",
    "NetworkNamespacePath": "",
    "NoExecPaths": "",
    "PrivateDevices": "no",
    "PrivateIPC": "no",
    "PrivateMounts": "no",
    "PrivateNetwork": "no",
    "PrivateTmp": "no",
    "PrivateUsers": "no",
    "ProcSubset": "all",
    "ProtectClock": "no",
    "ProtectControlGroups": "no",
    "ProtectHome": "no",
    "ProtectHostname": "no",
    "ProtectKernelLogs": "no",
    "ProtectKernelModules": "no",
    "ProtectKernelTunables": "no",
    "ProtectProc": "default",
    "ProtectSystem": "no",
    "ReadOnlyPaths": "",
    "ReadWritePaths": "",
    "RestrictAddressFamilies": "",
    "RestrictFileSystems": "",
    "RestrictNamespaces": "no",
    "RestrictRealtime": "no",
    "RestrictSUIDSGID": "no",
    "RootDirectory": "",
    "RootImage": "",
    "SystemCallArchitectures": "",
    "SystemCallFilter": "",
    "TemporaryFileSystem": "",
}
# Also limited, but by themselves no reason to need systemd.
LIMITS = ("MemoryMax", "MemoryHigh", "MemorySwapMax", "TasksMax")
RLIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "STACK")
# Folders that the unit may write to although ProtectSystem=strict.
FOLDERS = (
    ("RuntimeDirectory", "/run"),
    ("StateDirectory", "/var/lib"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
)


class Restrictions(NamedTuple):
    """What a unit's processes may not do."""

    properties: Sequence[tuple[str, str]]
    """For a transient service."""
    rlimits: Mapping[str, tuple[str, str]]
    """Soft and hard limit by the name of the resource, e.g. NOFILE."""
    umask: int
    needs_systemd: bool
    """Whether some of the properties can be set by systemd only."""
    unset: Sequence[str] = ()
    """Variables of systemd's own environment that do not reach the unit."""


NONE = Restrictions((), {}, 0o022, False)


class Service(NamedTuple):
    """A transient service that has been requested. One without a folder does not tell its end."""

    name: str
    folder: str = ""


class Refused(OSError):
    """systemd did not start the program."""


def restrictions(unit: str, seen: Mapping[str, str]) -> Restrictions:
    """Those of the unit with these properties (`systemctl show`)."""
    wanted = [pair for name in RESTRICTIONS for pair in values_of(name, seen)]
    names = {name for name, _ in wanted}
    if "SystemCallFilter" in names:
        number = seen.get("SystemCallErrorNumber", "")
        wanted += [("SystemCallErrorNumber", number)] if _is_errno(number) else []
    if names & {"PrivateTmp", "PrivateNetwork"}:
        # Its own /tmp, as long as it runs.
        wanted.append(("JoinsNamespaceOf", unit))
    if seen.get("ProtectSystem") == "strict":
        own = [f"-{above}/{each}" for key, above in FOLDERS for each in seen.get(key, "").split()]
        wanted += [("ReadWritePaths", " ".join(own))] if own else []
    needs = bool(wanted)
    if needs and seen.get("CapabilityBoundingSet"):
        wanted.append(("CapabilityBoundingSet", seen["CapabilityBoundingSet"]))
    if seen.get("AmbientCapabilities"):
        wanted.append(("AmbientCapabilities", seen["AmbientCapabilities"]))
    if seen.get("Slice"):
        wanted.append(("Slice", seen["Slice"]))
    for name in LIMITS:
        value = seen.get(name, "infinity")
        wanted += [(name, value)] if value.isdigit() or value == "infinity" else []
    rlimits = {
        name: (seen.get(f"Limit{name}Soft", seen[f"Limit{name}"]), seen[f"Limit{name}"])
        for name in RLIMITS
        if seen.get(f"Limit{name}")
    }
    umask = seen.get("UMask", "")
    octal = int(umask, 8) if re.fullmatch(r"[0-7]{3,4}", umask) else 0o022
    # Names, and assignments whose values may contain blanks.
    unset = re.findall(r"(?:^|\s)[\"']?([A-Za-z_]\w*)", seen.get("UnsetEnvironment", ""))
    return Restrictions(wanted, rlimits, octal, needs, unset)


def values_of(name: str, seen: Mapping[str, str]) -> list[tuple[str, str]]:
    """A restriction of a unit, once for each of its values; none where it restricts nothing."""
    # A list of several lines is a list of several values.
    lines = seen.get(name, "").split("\n")
    return [(name, line) for line in lines if line and line != RESTRICTIONS[name]]


def is_own(unit: str) -> bool:
    """Whether a unit is such a service, or a keeper's, by its name."""
    return OWN.fullmatch(unit) is not None


def are_there() -> bool:
    """Whether systemd can start programs for us."""
    return os.geteuid() == 0 and os.path.isdir(BOOTED) and os.path.exists(BUS)


def prepare(env: Mapping[str, str]) -> Service:
    """Writes the environment where only root can read it: never into an argument or the bus."""
    os.makedirs(FOLDER, 0o700, exist_ok=True)
    _sweep()
    number = os.urandom(4).hex()
    folder = os.path.join(FOLDER, f"{os.getpid()}-{number}")
    os.mkdir(folder, 0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    text = "".join(
        f"{name}={_quoted(value)}\n" for name, value in env.items() if _fits(name, value)
    )
    with os.fdopen(os.open(os.path.join(folder, "environment"), flags, 0o600), "wb") as file:
        file.write(text.encode("utf-8"))
    return Service(f"{PREFIX}{os.getpid()}-{number}.service", folder)


def keeper() -> Service:
    """A service for `keepers.py`."""
    return Service(f"{KEEPER_PREFIX}{os.getpid()}-{os.urandom(4).hex()}.service")


def command(
    service: Service,
    argv: Sequence[str],
    whom: Identity | None,
    cwd: str | None,
    asked: Restrictions,
    timeout: float | None,
) -> list[str]:
    """The systemd-run that starts it, with its pipes, and waits for its end.

    Without a `timeout`, systemd does not end it by itself.
    """
    longest = "" if timeout is None else f"{timeout + MARGIN_SECONDS:.0f}s"
    tell = f'echo "$$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS" >{service.folder}/ended'
    told = [
        ("EnvironmentFile", os.path.join(service.folder, "environment")),
        # systemd writes it, as root and outside the restrictions: the program cannot forge it.
        ("ExecStopPost", f"+/bin/sh -c '{tell}'"),
    ]
    properties = [
        ("NoNewPrivileges", "yes"),
        *(told if service.folder else ()),
        ("UnsetEnvironment", " ".join(asked.unset)),
        ("WorkingDirectory", cwd or "/"),
        ("UMask", f"{asked.umask:04o}"),
        ("TimeoutStopSec", f"{END_GRACE_SECONDS}s"),
        ("RuntimeMaxSec", longest),
        # Without a line in the journal for each start and stop.
        ("LogLevelMax", "notice"),
        *asked.properties,
        *((f"Limit{name}", ":".join(values)) for name, values in asked.rlimits.items()),
    ]
    if whom is not None and whom.uid != 0:
        others = " ".join(str(gid) for gid in whom.groups if gid != whom.gid)
        properties += [("User", whom.name), ("SupplementaryGroups", others)]
    if whom is not None and (whom.uid != 0 or whom.gid != 0):
        properties.append(("Group", str(whom.gid)))
    return [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={service.name}"),
        "--description=A program of Celeriac, as an app's user",
        *(word for name, value in properties if value for word in ("-p", f"{name}={value}")),
        "--",
        # systemd would replace variables.
        *(word.replace("$", "$$") for word in argv),
    ]


def stop(service: Service) -> None:
    """Ends everything in it: TERM, after some seconds KILL."""
    argv = ["systemctl", "--no-ask-password", "stop", "--", service.name]
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=4 * END_GRACE_SECONDS,
            start_new_session=True,
            check=False,
        )


class End(NamedTuple):
    """How the program ended."""

    code: int
    """Its exit code; negative: the signal that ended it."""
    result: str
    """As systemd calls it: success, exit-code, signal, oom-kill, timeout…"""


def ended(service: Service) -> End | None:
    """By systemd; None: it has not started it. Removes what `prepare` has written."""
    try:
        with open(os.path.join(service.folder, "ended"), encoding="ascii") as file:
            result, how, status = file.read(200).split()
    except (OSError, ValueError):
        return None
    finally:
        files.remove_tree(service.folder)
    if how == "exited" and status.isdigit():
        return End(int(status), result)
    return End(-_signal(status), result)


def _signal(name: str) -> int:
    import signal

    if name.isdigit():
        return int(name)
    return int(getattr(signal, f"SIG{name}", signal.SIGKILL))


def _is_errno(value: str) -> bool:
    # 2147483646 stands for killing the process, which is the default.
    return value.isdigit() and 0 < int(value) < 4096


def _fits(name: str, value: str) -> bool:
    """Whether systemd takes the variable; it takes no others for a unit either."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return NAME.fullmatch(name) is not None and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value)


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def _sweep() -> None:
    """Removes what a killed process has left."""
    for name in files.names(FOLDER):
        pid = name.partition("-")[0]
        if not os.path.isdir(f"/proc/{pid}"):
            files.remove_tree(os.path.join(FOLDER, name))
