"""The agent as a program on the host, for hardened mode; docs/reference/policy.md explains it."""

from __future__ import annotations

import binascii
import hashlib
import json
import re
import sys
import zlib
from typing import Mapping

from celeriac_host.system import files, own_program

LOADER = "celeriac_host/session/loader.py"
PYTHON = "/usr/bin/python3"

TEXT = """\
#!%s -IS
# Celeriac's agent in hardened mode. Installed by its owner; docs/reference/policy.md explains it.
import binascii, json, zlib
sources = json.loads(zlib.decompress(binascii.a2b_base64(
b"%s"
)))
exec(compile(sources["{0}"], "{0}", "exec"), {{"SOURCES": sources, "HARDENED": True}})
""".format(LOADER)
PATTERN = re.compile(
    re.escape(TEXT).replace("%s", r"(/\S+)", 1).replace("%s", r"([A-Za-z0-9+/=]+)", 1).encode()
)


def version(sources: Mapping[str, str] | None = None) -> str:
    """12 digits that identify the sources of an agent, by default of this one."""
    digest = hashlib.sha256()
    for path, text in sorted((own_program.sources() if sources is None else sources).items()):
        digest.update(f"{path}\0{text}\0".encode())
    return digest.hexdigest()[:12]


def python() -> str:
    """The Python that runs this agent."""
    return sys.executable or PYTHON


def text(interpreter: str) -> str:
    """This agent as a program, run by this Python."""
    packed = binascii.b2a_base64(own_program.packed(), newline=False).decode("ascii")
    return TEXT % (interpreter, packed)


def version_of(content: bytes) -> str | None:
    """The version of the agent with this text; None if the text is anything else."""
    found = PATTERN.fullmatch(content)
    if found is None:
        return None
    try:
        sources = json.loads(zlib.decompress(binascii.a2b_base64(found.group(2))))
        return version(sources)
    except (ValueError, AttributeError, zlib.error):
        return None


def is_this(found: files.Found | None, interpreter: str) -> bool:
    """Whether a file is this agent, run by that Python, and for root alone to change."""
    if found is None or (found.mode, found.uid) != (0o755, 0):
        return False
    return found.content.startswith(f"#!{interpreter} ".encode()) and (
        version_of(found.content) == version()
    )
