"""Kernel settings: their current values, and those for the next boot."""

from __future__ import annotations

import fnmatch
import os
from typing import Any, Iterator

from celeriac_host.system.files import text as text_of
from celeriac_host.system.system import System

# sysctl.d(5): a file in an earlier folder replaces files of the same name in later ones.
FOLDERS = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    names = {as_path(name): name for name in args["names"]}
    return {
        "values": {name: value(path) for path, name in names.items()},
        "readOnly": [name for path, name in names.items() if is_read_only(path)],
        "settings": [
            {"name": name, "value": setting, "path": file, "line": line}
            for file in files()
            for line, key, setting in lines(file)
            for path, name in names.items()
            if fnmatch.fnmatchcase(path, as_path(key))
        ],
    }


def as_path(name: str) -> str:
    """`vm.swappiness` → `vm/swappiness`. If a slash comes first, dots are part of the names."""
    dot, slash = name.find("."), name.find("/")
    if slash >= 0 and (dot < 0 or slash < dot):
        return name
    return name.translate(str.maketrans("./", "/."))


def value(path: str) -> str | None:
    parts = path.split("/")
    if ".." in parts or "" in parts:
        return None
    try:
        with open(f"/proc/sys/{path}", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def is_read_only(path: str) -> bool:
    """In a container, kernel settings are often read-only, even for root."""
    return value(path) is not None and not os.access(f"/proc/sys/{path}", os.W_OK)


def files() -> list[str]:
    """In the order in which systemd-sysctl reads them: by name, in any folder.

    /etc/sysctl.conf is not read directly: Debian links to it as 99-sysctl.conf.
    """
    by_name: dict[str, str] = {}
    for folder in FOLDERS:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith(".conf"):
                by_name.setdefault(name, os.path.join(folder, name))
    # A link to /dev/null hides a vendor's file; of any other link, return the target.
    paths = (os.path.realpath(by_name[name]) for name in sorted(by_name))
    return [path for path in paths if path != "/dev/null"]


def lines(path: str) -> Iterator[tuple[int, str, str]]:
    """Line number, key and value of each assignment."""
    try:
        text = text_of(path)
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, setting = line.partition("=")
        key = key.strip()
        if equals and not key.startswith(("#", ";")):
            # `-`: systemd-sysctl ignores a failure to set it.
            yield number, key.lstrip("-").strip(), setting.strip()
