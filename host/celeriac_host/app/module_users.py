"""Finds what loads a Python module on this host: units, by their files, and Python processes.

Each call searches all folders from which systemd reads units.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from typing import Iterator, NamedTuple, Sequence

from celeriac_host.system import environment_files, files, processes, services, support

# See systemd.unit(5), in no order: an overridden file counts, too.
FOLDERS = (
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/etc/systemd/system.control",
    "/run/systemd/generator",
    "/run/systemd/generator.early",
    "/run/systemd/generator.late",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
FILE_LIMIT_BYTES = 1024 * 1024
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
SHOWN = 5
PYTHON = re.compile(r"python|pypy")


class Module(NamedTuple):
    """A module as others refer to it: its folder in PYTHONPATH, or its name (`-I name`)."""

    folder: str
    name: str

    def is_named_in(self, texts: Sequence[str]) -> bool:
        """Whether one of these texts of a unit or a process refers to it.

        Its name alone does so only if none of them has the folder of another version.
        """
        if any(map(self.is_path_in, texts)):
            return True
        named = re.compile(rf"(?:(?<![\w.])|(?<=-I)){re.escape(self.name)}(?!\w)")
        return any(self.name in text and named.search(text) for text in texts) and not any(
            self._other_version().search(text) for text in texts
        )

    def is_path_in(self, text: str) -> bool:
        return bool(self.folder in text and re.search(_as_path(re.escape(self.folder)), text))

    def _other_version(self) -> re.Pattern[str]:
        parent, last = os.path.split(self.folder)
        root = parent if re.fullmatch(support.VERSION, last) else self.folder
        return re.compile(_as_path(rf"{re.escape(root)}(?:/{support.VERSION})?"))


def _as_path(pattern: str) -> str:
    return rf"(?<![\w./]){pattern}/*(?=[\s:;,\"'\\]|$)"


def module_at(path: str) -> Module:
    folder, file = os.path.split(path)
    return Module(folder, os.path.splitext(file)[0])


def find(path: str, but: str | None = None) -> dict[str, str]:
    """Unit or process → a digest of how it refers to the module at `path`, for comparison.

    Leaves out the unit `but`, its aliases, and short-lived programs of Celeriac: one whose agent
    was killed would keep the module for ever. A file that cannot be read counts: it may do so.
    """
    sought = module_at(path)
    aliases = _aliases()
    own = aliases.get(but or "", but)
    texts: dict[str, list[str]] = {}
    for unit, place in _unit_texts(aliases):
        if unit == own or services.is_own(unit):
            continue
        try:
            text = _naming_text(place, sought)
        except OSError as error:
            text, unit = str(error.strerror), f"{unit} (not all of its files can be read)"
        if text is not None:
            texts.setdefault(unit, []).append(f"{place}\n{text}")
    found = {unit: _digest(parts) for unit, parts in texts.items()}
    for name in _running(sought, aliases):
        if name != own and not services.is_own(name):
            found.setdefault(name, "runs")
    return found


def listed(names: Sequence[str]) -> str:
    """`a.service loads it`, `a.service and b.service load it`."""
    shown = [*names[:SHOWN], *([f"{len(names) - SHOWN} more"] if len(names) > SHOWN else [])]
    if len(shown) == 1:
        return f"{shown[0]} loads it"
    return f"{', '.join(shown[:-1])} and {shown[-1]} load it"


def assignments(text: str) -> Iterator[tuple[str, str]]:
    """Key and value of each line of a unit file: joins continued lines, skips comments."""
    whole = ""
    for line in [*text.splitlines(), ""]:
        if line.lstrip().startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        key, equals, value = (whole + line).partition("=")
        whole = ""
        if equals:
            yield key.strip(), value.strip()


# --- unit files --------------------------------------------------------------------------------


def _aliases() -> dict[str, str]:
    """Alias → name of the unit that it links to."""
    found = {}
    for folder in FOLDERS:
        for name in files.names(folder):
            path = os.path.join(folder, name)
            if name.endswith(".service") and os.path.islink(path):
                real = os.path.basename(os.path.realpath(path))
                if real != name and real.endswith(".service"):
                    found[name] = real
    return found


def _unit_texts(aliases: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Unit and path of every unit file and drop-in; `service.d` applies to every service."""
    # /lib may be a link to /usr/lib.
    for folder in sorted({os.path.realpath(each) for each in FOLDERS}):
        for name in files.names(folder):
            path = os.path.join(folder, name)
            if name.endswith(".service"):
                yield aliases.get(name, name), path
            elif name == "service.d" or name.endswith(".service.d"):
                whole = name[: -len(".d")]
                unit = "every service" if whole == "service" else aliases.get(whole, whole)
                for part in files.names(path):
                    if part.endswith(".conf"):
                        yield unit, os.path.join(path, part)


def _naming_text(path: str, sought: Module) -> str | None:
    """The text of the file and its EnvironmentFiles, if any of them refers to the module.

    Raises OSError.
    """
    text = _read(path)
    lines = list(assignments(text))
    values = [
        value
        for key, value in lines
        if key in ("Environment", "WorkingDirectory") or key.startswith("Exec")
    ]
    parts = [_read(each) for each in _environment_files(lines)]
    for part in parts:
        values.extend(environment_files.parse(part).values())
    return "\n".join([text, *parts]) if sought.is_named_in(values) else None


def _environment_files(lines: Sequence[tuple[str, str]]) -> list[str]:
    found: list[str] = []
    for key, value in lines:
        if key == "EnvironmentFile":
            # The value of a specifier is unknown here: match any.
            pattern = re.sub(r"%.", "*", value.lstrip("-"))
            found.extend(environment_files.matching(pattern))
    return found


def _read(path: str) -> str:
    """The text; empty if the file does not exist or is not regular. Raises OSError."""
    try:
        with files.regular(path) as file:
            return file.read(FILE_LIMIT_BYTES).decode("utf-8", "replace")
    except OSError as error:
        if error.errno in (*NOT_THERE, errno.EINVAL):
            return ""
        raise


def _digest(parts: Sequence[str]) -> str:
    whole = "\0".join(sorted(parts)).encode("utf-8", "replace")
    return hashlib.sha256(whole).hexdigest()


# --- processes ---------------------------------------------------------------------------------


def _running(sought: Module, aliases: dict[str, str]) -> Iterator[str]:
    """Python processes that load it, except those with another root folder."""
    for process in processes.each():
        name = os.path.basename(processes.program(process.pid))
        if process.state in "ZX" or not PYTHON.match(name):
            continue
        named = " ".join([*process.argv, _python_path(process.pid)])
        if sought.is_named_in([named]) and _shares_root(process.pid):
            unit = _unit_of(process.pid)
            yield aliases.get(unit, unit) if unit else f"process {process.pid}"


def _unit_of(pid: int) -> str | None:
    group = processes.control_group(pid) or ""
    return next((part for part in reversed(group.split("/")) if part.endswith(".service")), None)


def _python_path(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read(processes.ENVIRONMENT_LIMIT_BYTES).split(b"\0")
    except OSError:
        return ""
    start = b"PYTHONPATH="
    found = next((word[len(start) :] for word in words if word.startswith(start)), b"")
    return found.decode("utf-8", "replace")


def _shares_root(pid: int) -> bool:
    try:
        return os.path.samefile(f"/proc/{pid}/root", "/")
    except OSError:
        return False
