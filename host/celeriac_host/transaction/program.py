"""The agent as a file on the host, which finishes a transaction while no run is connected.

A run that sends the same version finds it there, and need not send it.
"""

from __future__ import annotations

import binascii
import marshal
import os
import sys
import zlib
from contextlib import suppress

from celeriac_host.state.program_file import command, compiled_path, path
from celeriac_host.system import files, own_program

__all__ = ["command", "compiled_path", "install", "path"]

LOADER = "celeriac_host/session/loader.py"

# The bootstrap of src/adapters/agent/agent-start.ts looks for the version, and for the CRC-32 of
# what follows: a damaged file must not keep a run from sending another.
# What is above the last line is compiled at each start, so the modules are a comment: they are
# decoded only if they are needed. The bootstrap, which has read the file, gives it as `TEXT`.
FIRST_LINE = "# Celeriac's agent %s %08x, as the last run installed it.\n"
TEXT = """\
# `work.py` in it explains the arguments; its modules are in the last line.
import marshal, os, sys, zlib

if "TEXT" not in globals():
    with open("%(path)s", "rb") as file:
        if b" %(build)s " not in file.readline():
            sys.exit("celeriac: another version has replaced this one; start again")
        TEXT = file.read()

def packed():
    import binascii
    return binascii.a2b_base64(TEXT[TEXT.rindex(b"# ") + 2 :])

def head(rest):
    python = "%%s-%%x" %% (sys.implementation.cache_tag, sys.hexversion)
    return ("%(build)s %%s %%08x\\n" %% (python, zlib.crc32(rest))).encode()

def compiled():
    try:
        with open("%(compiled)s", "rb") as file:
            about, line, rest = os.fstat(file.fileno()), file.readline(), file.read()
        own = about.st_uid == os.geteuid() and about.st_mode & 0o022 == 0
        return marshal.loads(rest) if own and line == head(rest) else {}
    except Exception:
        return {}

modules = compiled()
about = {"PACKED": packed, "COMPILED": modules, "BUILD": "%(build)s", "WORDS": sys.argv[1:]}
if modules:
    exec(marshal.loads(modules["%(loader)s"]), about)
else:
    import json
    about["SOURCES"] = json.loads(zlib.decompress(packed()))
    exec(compile(about["SOURCES"]["%(loader)s"], "%(loader)s", "exec"), about)
# %(packed)s
"""


def install(state: str) -> None:
    """Writes this version of the agent, for root only, and its modules compiled. Raises OSError."""
    build = own_program.build()
    rest = TEXT % {
        "build": build,
        "packed": binascii.b2a_base64(own_program.packed(), newline=False).decode("ascii"),
        "path": path(state),
        "compiled": compiled_path(state),
        "loader": LOADER,
    }
    first = FIRST_LINE % (build, zlib.crc32(rest.encode("ascii")))
    _put(path(state), (first + rest).encode("ascii"))
    # Without it, the modules are compiled at each start: nothing that is wrong with it matters.
    with suppress(Exception):
        _compile(compiled_path(state), build)


def _put(where: str, content: bytes) -> None:
    found, wanted = files.find(where), (content, 0o600, os.geteuid())
    if found is None or (found.content, found.mode, found.uid) != wanted:
        files.write(where, content, 0o600, os.geteuid(), os.getegid())


def _compile(where: str, build: str) -> None:
    """The first line names version and Python, and has the CRC-32 of the rest."""

    def head(rest: bytes) -> bytes:
        python = f"{sys.implementation.cache_tag}-{sys.hexversion:x}"
        return f"{build} {python} {zlib.crc32(rest):08x}\n".encode()

    with suppress(OSError), open(where, "rb") as file:
        about = os.fstat(file.fileno())
        own = (about.st_mode & 0o777, about.st_uid) == (0o600, os.geteuid())
        if own and file.readline() == head(file.read()):
            return
    if files.free_bytes(os.path.dirname(where)) < files.MARGIN_BYTES:
        os.unlink(where)
        return
    modules = {
        name: marshal.dumps(compile(text, name, "exec"))
        for name, text in own_program.sources().items()
    }
    rest = marshal.dumps(modules)
    _put(where, head(rest) + rest)
