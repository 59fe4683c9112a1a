"""Services whose command matches a pattern: loaded ones, and those that nothing has started yet."""

from __future__ import annotations

import re
from typing import Any

from celeriac_host.system import services
from celeriac_host.system.processes import shown
from celeriac_host.system.system import System

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,ExecStart"
MOST = 100
LONGEST_LINE = 4096
# So many names fit into a command line.
MOST_NAMES = 1000
ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=", re.DOTALL)


def look(args: dict[str, Any], host: System) -> list[dict[str, Any]]:
    """`command` is searched for in each ExecStart, its words separated by spaces."""
    sought = re.compile(args["command"])
    found: dict[str, dict[str, Any]] = {}
    for block in _shown(host, ["*.service", *_installed(host)]):
        words = [word for line in ARGV.findall(block.get("ExecStart", "")) for word in line.split()]
        name = block.get("Id", "")
        # A template has no command of its own, and a program of ours is there for a moment.
        if block.get("LoadState") != "loaded" or "@." in name or services.is_own(name):
            continue
        if sought.search(" ".join(words)[:LONGEST_LINE]):
            found[name] = {
                "unit": name,
                "activeState": block.get("ActiveState", ""),
                "unitFileState": block.get("UnitFileState", ""),
                "argv": shown(words),
            }
    return [found[name] for name in sorted(found)][:MOST]


def _installed(host: System) -> list[str]:
    """Services with a file: one that is neither enabled nor running is not loaded."""
    argv = ["systemctl", "list-unit-files", "--type=service", "--no-pager", "--no-legend"]
    lines = host.run(argv, timeout=30, check=False).out.splitlines()
    names = (line.split()[0] for line in lines if line.strip())
    return [name for name in names if "@." not in name and not name.startswith("-")][:MOST_NAMES]


def _shown(host: System, names: list[str]) -> list[dict[str, str]]:
    argv = ["systemctl", "show", "--no-pager", f"--property={PROPERTIES}", "--", *names]
    blocks = host.run(argv, timeout=30, check=False).out.split("\n\n")
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks
    ]
