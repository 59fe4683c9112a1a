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

class Compiled(dict):
    def __getitem__(self, name):
        at, size, check = dict.__getitem__(self, name)
        code = os.pread(self.file, size, self.start + at)
        if zlib.crc32(code) != check:
            raise OSError("%(compiled)s is damaged")
        return code

def compiled():
    try:
        with open("%(compiled)s", "rb") as file:
            about, line = os.fstat(file.fileno()), file.readline()
            places = file.read(int(line.split()[2]))
            own = about.st_uid == os.geteuid() and about.st_mode & 0o022 == 0
            python = "%%s-%%x" %% (sys.implementation.cache_tag, sys.hexversion)
            known = "%(build)s", python, len(places), zlib.crc32(places)
            if not own or not line.startswith(("%%s %%s %%d %%08x " %% known).encode()):
                return {}
            found = Compiled(marshal.loads(places))
            found.file, found.start = os.dup(file.fileno()), len(line) + len(places)
        return found if found["%(loader)s"] else {}
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
    """The code of each module is read when it is needed, and has a CRC-32 of its own.

    The first line names version and Python, and has the size and the CRC-32 of the places of all
    modules, which follow it, and the CRC-32 of their code, which comes last.
    """
    python = f"{sys.implementation.cache_tag}-{sys.hexversion:x}"

    def head(places: bytes, codes: bytes) -> bytes:
        sums = f"{zlib.crc32(places):08x} {zlib.crc32(codes):08x}"
        return f"{build} {python} {len(places)} {sums}\n".encode()

    with suppress(OSError, ValueError, IndexError), open(where, "rb") as file:
        about = os.fstat(file.fileno())
        own = (about.st_mode & 0o777, about.st_uid) == (0o600, os.geteuid())
        line = file.readline()
        if own and line == head(file.read(int(line.split()[2])), file.read()):
            return
    if files.free_bytes(os.path.dirname(where)) < files.MARGIN_BYTES:
        os.unlink(where)
        return
    places: dict[str, tuple[int, int, int]] = {}
    codes = []
    at = 0
    for name, text in own_program.sources().items():
        code = marshal.dumps(compile(text, name, "exec"))
        places[name] = (at, len(code), zlib.crc32(code))
        codes.append(code)
        at += len(code)
    first, rest = marshal.dumps(places), b"".join(codes)
    _put(where, head(first, rest) + first + rest)
