"""Stores uploads that a run sends before its plan is applied, by SHA-256, for a short time.

They are below /var/lib/celeriac/incoming, for root only. Each piece names its offset, so that a
repeated or missing piece is noticed.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import shutil
import stat
import time
from contextlib import suppress
from typing import Any

from celeriac_host.code import parcels
from celeriac_host.system import files
from celeriac_host.system.errors import Fault, describe
from celeriac_host.system.system import System

LIMIT_BYTES = 512 * 1024 * 1024
KEEP = 3
# No upload takes longer.
STALE_SECONDS = 6 * 3600
OURS = re.compile(r"[0-9a-f]{64}(\.[1-9][0-9]*\.part)?")


def receive(message: dict[str, Any], host: System) -> dict[str, Any]:
    """Handles one of `begin`, `piece` and `end`. Raises Fault, and then keeps nothing."""
    digest = message.get("sha256")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise Fault("invalid sha256: expected 64 hexadecimal digits")
    folder = os.path.join(host.state, parcels.FOLDER)
    part = os.path.join(folder, f"{digest}.{os.getpid()}.part")
    try:
        if message["step"] == "begin":
            return _begin(folder, digest, part, int(message["sizeBytes"]))
        if message["step"] == "piece":
            return _append(part, int(message["offset"]), base64.b64decode(message["data"]))
        if message["step"] == "end":
            return _end(folder, digest, part)
    except OSError as error:
        _drop(part)
        raise Fault(
            f"could not store the upload in {folder}: {describe(error).partition(' (')[0]}; "
            "nothing was changed",
            next="free some space on that disk, then run again",
        ) from None
    raise Fault(f"unknown step {message['step']!r} of receive; expected begin, piece or end")


def _begin(folder: str, digest: str, part: str, size: int) -> dict[str, Any]:
    if not 0 < size <= LIMIT_BYTES:
        raise Fault(
            f"the upload has {size} bytes; the limit is {LIMIT_BYTES} bytes",
            next="keep large files out of the repository, or deploy the code by other means",
        )
    _make(folder)
    _prune(folder, digest)
    whole = os.path.join(folder, digest)
    if os.path.lexists(whole):
        if os.path.isfile(whole) and files.sha256_of(whole) == digest:
            os.utime(whole)
            return {"sizeBytes": size, "whole": True}
        os.unlink(whole)
    free = shutil.disk_usage(folder).free
    if free < size + files.MARGIN_BYTES:
        raise Fault(
            f"{folder} has {free // 2**20} MiB free, but the upload and a reserve need "
            f"{(size + files.MARGIN_BYTES) // 2**20} MiB; nothing was changed",
            next="free some space on that disk, then run again",
        )
    _drop(part)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(part, flags, 0o600))
    return {"sizeBytes": 0, "whole": False}


def _append(part: str, offset: int, piece: bytes) -> dict[str, Any]:
    handle = os.open(part, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        there = os.fstat(handle).st_size
        if offset != there or there + len(piece) > LIMIT_BYTES:
            raise Fault(f"received a piece for byte {offset}; expected byte {there}")
        # It may be longer than its announced size, and others are sent at the same time.
        if shutil.disk_usage(part).free < len(piece) + files.MARGIN_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = memoryview(piece)
        while left:
            left = left[os.write(handle, left) :]
    finally:
        os.close(handle)
    return {"sizeBytes": there + len(piece), "whole": False}


def _end(folder: str, digest: str, part: str) -> dict[str, Any]:
    handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
        size = os.fstat(handle).st_size
    finally:
        os.close(handle)
    if files.sha256_of(part) != digest:
        _drop(part)
        raise Fault(
            "the upload is incomplete or damaged: its SHA-256 does not match", next="run again"
        )
    os.rename(part, os.path.join(folder, digest))
    files.sync_folder(folder)
    return {"sizeBytes": size, "whole": True}


def _make(folder: str) -> None:
    os.makedirs(folder, 0o700, exist_ok=True)
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        raise Fault(f"{folder} is not a folder owned by root; nothing was changed")
    for path in (os.path.dirname(folder), folder):
        if stat.S_IMODE(os.lstat(path).st_mode) != 0o700:
            os.chmod(path, 0o700)


def _prune(folder: str, digest: str) -> None:
    """Keeps the newest few, and what another run may be sending."""
    known = []
    for name in filter(OURS.fullmatch, os.listdir(folder)):
        path = os.path.join(folder, name)
        with suppress(OSError):
            known.append((os.lstat(path).st_mtime, name, path))
    known.sort(reverse=True)
    whole = [path for _, name, path in known if re.fullmatch(r"[0-9a-f]{64}", name)]
    kept = {os.path.join(folder, digest), *whole[:KEEP]}
    old = time.time() - STALE_SECONDS
    for modified, name, path in known:
        if path not in kept and (path in whole or modified < old or not _is_sent(name)):
            _drop(path)


def _is_sent(part: str) -> bool:
    """Whether the agent that receives it still runs."""
    pid = part.split(".")[1] if part.count(".") == 2 else ""
    return os.path.isdir(f"/proc/{pid}") if pid.isdigit() else False


def _drop(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
