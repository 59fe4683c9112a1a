"""Sends a consistent copy of a database, or of its relevant rows, to the runner in pieces."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, Callable, Iterable

from celeriac_host.store.stores import open_store
from celeriac_host.system.errors import Fault, OperationError
from celeriac_host.system.system import System

# 256 KiB in base64.
PIECE_BYTES = 192 * 1024


def snapshot(
    args: dict[str, Any], host: System, emit_chunk: Callable[[bytes], None]
) -> dict[str, Any]:
    """Emits chunks of one zlib stream; returns its description. Raises Fault, RunnerGone."""
    path = args["database"]
    try:
        wanted = args.get("extract")
        store = open_store(path, host, (wanted or {}).get("unit", ""), args.get("user"))
        with store.copied(args["limitBytes"], wanted) as copy:
            size, digest = _send(copy.pieces, host, emit_chunk)
    except OperationError as error:
        raise Fault(
            error.message,
            evidence=error.evidence,
            next="nothing was changed; fix the cause, then run again",
        ) from None
    return {
        "database": path,
        "holds": copy.holds,
        "sizeBytes": size,
        "sha256": digest,
        "takenAt": copy.taken_at,
        "writtenAt": copy.written_at,
    }


def _send(
    pieces: Iterable[bytes], host: System, emit_chunk: Callable[[bytes], None]
) -> tuple[int, str]:
    digest = hashlib.sha256()
    squeeze = zlib.compressobj(6)
    unsent = bytearray()
    size = 0

    def send_full() -> None:
        while len(unsent) >= PIECE_BYTES:
            emit_chunk(bytes(unsent[:PIECE_BYTES]))
            del unsent[:PIECE_BYTES]

    for piece in pieces:
        host.heed()
        size += len(piece)
        digest.update(piece)
        unsent += squeeze.compress(piece)
        send_full()
    unsent += squeeze.flush()
    send_full()
    if unsent:
        emit_chunk(bytes(unsent))
    return size, digest.hexdigest()
