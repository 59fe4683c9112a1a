"""The agent as a file on the host, which finishes a transaction while no run is connected."""

from __future__ import annotations

import binascii
import json
import os
import sys
import zlib
from typing import Sequence

from celeriac_host.system import files

# Module path → source; the loader puts it here.
SOURCES: dict[str, str] = {}
NAME = "program.py"
LOADER = "celeriac_host/session/loader.py"

TEXT = """\
# Celeriac's agent, as the last run installed it. `work.py` in it explains the arguments.
import binascii, json, sys, zlib
sources = json.loads(zlib.decompress(binascii.a2b_base64(
b"%s"
)))
exec(compile(sources["%s"], "%s", "exec"), {"SOURCES": sources, "WORDS": sys.argv[1:]})
"""


def path(state: str) -> str:
    return os.path.join(state, NAME)


def install(state: str) -> None:
    """Writes this version of the agent, for root only. Raises OSError."""
    packed = zlib.compress(json.dumps(SOURCES).encode("utf-8"), 6)
    text = TEXT % (binascii.b2a_base64(packed, newline=False).decode("ascii"), LOADER, LOADER)
    content = text.encode("ascii")
    found = files.find(path(state))
    if found is None or found.content != content:
        files.write(path(state), content, 0o600, os.geteuid(), os.getegid())


def command(state: str, words: Sequence[str]) -> list[str]:
    return [sys.executable or "/usr/bin/python3", "-I", "-S", "-u", path(state), *words]
