"""The samples of a unit: one JSON line a minute, written by the sampler, read from a cursor on.

`samples/<unit>.jsonl` is appended to; when it has half of what is kept, it is renamed to
`<unit>.jsonl.1`, in place of the one before. A cursor names a file by the hash of its first line,
which stays with it when it is renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from typing import Any, BinaryIO

from celeriac_host.system import files

FOLDER = "samples"
LINES = ".jsonl"
OLDER = ".1"
# Of both files together. One of them has at least 8 days, at one line of about 700 bytes a minute.
KEEP_BYTES = 16 * 1024 * 1024
LINE_LIMIT_BYTES = 16 * 1024
ANSWER_BYTES = 700 * 1024
# As in the ledger. A name that begins with a dot is a temporary file.
UNIT = re.compile(r"[A-Za-z0-9:_\\@-][A-Za-z0-9:_.\\@-]*")


def folder(state: str) -> str:
    return os.path.join(state, FOLDER)


def path(state: str, unit: str) -> str:
    """The newer file of a unit. Raises ValueError for what cannot be the name of one."""
    if not UNIT.fullmatch(unit):
        raise ValueError(f"invalid unit name {unit!r}")
    return os.path.join(folder(state), unit + LINES)


def append(state: str, unit: str, sample: dict[str, Any], keep_bytes: int = KEEP_BYTES) -> None:
    """Appends a line, durable when this returns. Raises OSError, ValueError if it is too long."""
    line = json.dumps(sample, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > LINE_LIMIT_BYTES:
        raise ValueError(f"a sample of {len(line)} bytes")
    where = path(state, unit)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(where, flags, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size + len(line) > keep_bytes // 2:
            os.rename(where, where + OLDER)
            os.close(handle)
            handle = os.open(where, flags | os.O_EXCL, 0o600)
            size = 0
        _sweep_torn(handle, size)
        _write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)
    if size == 0:
        files.sync_folder(os.path.dirname(where))


def _sweep_torn(handle: int, size: int) -> None:
    """Removes the incomplete last line that a power failure or a full disk left."""
    start = max(size - LINE_LIMIT_BYTES, 0)
    end = os.pread(handle, size - start, start)
    if size and not end.endswith(b"\n"):
        os.ftruncate(handle, start + end.rfind(b"\n") + 1)


def _write(handle: int, line: bytes) -> None:
    before = os.fstat(handle).st_size
    try:
        left = memoryview(line)
        while left:
            left = left[os.write(handle, left) :]
    except OSError:
        # Half a line on a full disk.
        with suppress(OSError):
            os.ftruncate(handle, before)
        raise


def page(state: str, unit: str, after: dict[str, Any] | None) -> dict[str, Any]:
    """Complete lines after the cursor, as parsed, oldest first: as in SamplesFact."""
    where = path(state, unit)
    found: dict[str, Any] = {"samples": [], "cursor": None, "more": False, "restarted": False}
    with suppress(FileNotFoundError), files.regular(where, os.O_RDONLY | os.O_NOFOLLOW) as newer:
        # Opened first: a file that is rotated meanwhile is the older one, too, and is read once.
        try:
            with files.regular(where + OLDER, os.O_RDONLY | os.O_NOFOLLOW) as older:
                _read([older, newer], after, found)
        except FileNotFoundError:
            _read([newer], after, found)
    return found


def _read(opened: list[BinaryIO], after: dict[str, Any] | None, found: dict[str, Any]) -> None:
    named = [(ident, file) for file in opened for ident in [_ident(file)] if ident]
    if len(named) == 2 and named[0][0] == named[1][0]:
        del named[0]
    idents = [ident for ident, _ in named]
    offset = 0
    if after is not None:
        found["restarted"] = after["file"] not in idents
        if not found["restarted"]:
            del named[: idents.index(after["file"])]
            offset = after["offset"]
    room = ANSWER_BYTES
    for ident, file in named:
        file.seek(offset)
        # One byte more than fits: then there is more.
        piece = file.read(room + 1)
        length = piece.rfind(b"\n", 0, room) + 1
        if length == 0 and len(piece) > ANSWER_BYTES:
            # No line of ours is that long.
            length = ANSWER_BYTES
        found["samples"] += filter(None, map(_parsed, piece[:length].splitlines()))
        found["cursor"] = {"file": ident, "offset": offset + length}
        if len(piece) > room:
            found["more"] = True
            return
        room -= length
        offset = 0


def _ident(file: BinaryIO) -> str:
    """By its first line; empty if that is not complete yet."""
    file.seek(0)
    first = file.read(LINE_LIMIT_BYTES)
    end = first.find(b"\n")
    return hashlib.sha256(first[:end]).hexdigest()[:32] if end >= 0 else ""


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
