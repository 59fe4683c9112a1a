"""The agent as a file on the host, which finishes a transaction while no run is connected."""

from __future__ import annotations

import binascii
import json
import os
import zlib

from celeriac_host.state.program_file import command, path
from celeriac_host.system import files

__all__ = ["SOURCES", "command", "install", "path"]

# Module path → source; the loader puts it here.
SOURCES: dict[str, str] = {}
LOADER = "celeriac_host/session/loader.py"

TEXT = """\
# Celeriac's agent, as the last run installed it. `work.py` in it explains the arguments.
import binascii, json, sys, zlib
sources = json.loads(zlib.decompress(binascii.a2b_base64(
b"%s"
)))
exec(compile(sources["%s"], "%s", "exec"), {"SOURCES": sources, "WORDS": sys.argv[1:]})
"""


def install(state: str) -> None:
    """Writes this version of the agent, for root only. Raises OSError."""
    packed = zlib.compress(json.dumps(SOURCES).encode("utf-8"), 6)
    text = TEXT % (binascii.b2a_base64(packed, newline=False).decode("ascii"), LOADER, LOADER)
    content = text.encode("ascii")
    found = files.find(path(state))
    if found is None or found.content != content:
        files.write(path(state), content, 0o600, os.geteuid(), os.getegid())
