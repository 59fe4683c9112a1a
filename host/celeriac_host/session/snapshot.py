"""A consistent copy of a database, or of what matters in it, sent to the runner piece by piece."""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from celeriac_host.store import postgres, postgres_extract, sqlite, sqlite_extract
from celeriac_host.system.errors import Fault, OperationError
from celeriac_host.system.system import System

# In base64 these are 256 KiB.
PIECE_BYTES = 192 * 1024


def snapshot(
    args: dict[str, Any], host: System, emit_chunk: Callable[[bytes], None]
) -> dict[str, Any]:
    """Chunks of one zlib stream; returns what it holds. Raises Fault, RunnerGone."""
    path = args["database"]
    try:
        with _copied(args, host) as (copy, holds, taken_at):
            size, digest = _send(copy, host, emit_chunk)
    except OperationError as error:
        raise Fault(
            error.message,
            evidence=error.evidence,
            next="nothing was changed; see to what is said above, then run again",
        ) from None
    return {
        "database": path,
        "holds": holds,
        "sizeBytes": size,
        "sha256": digest,
        "takenAt": taken_at,
    }


@contextmanager
def _copied(args: dict[str, Any], host: System) -> Iterator[tuple[str, str, float]]:
    """Path of the copy, what it holds, and when it was so."""
    path, limit = args["database"], args["limitBytes"]
    wanted = args.get("extract")
    begun = time.time()
    if wanted is not None and postgres.is_url(path):
        with postgres_extract.extracted(path, host, wanted, limit) as copy:
            yield copy, "rows", begun
            return
    if wanted is None or sqlite.find(path).st_size <= limit:
        try:
            with sqlite.copied(path, host, limit) as copy:
                yield copy, "everything", time.time()
                return
        except sqlite.TooLarge:
            # What -wal holds comes on top.
            if wanted is None:
                raise
    with sqlite_extract.extracted(path, host, wanted, limit) as copy:
        yield copy, "rows", begun


def _send(copy: str, host: System, emit_chunk: Callable[[bytes], None]) -> tuple[int, str]:
    digest = hashlib.sha256()
    squeeze = zlib.compressobj(6)
    unsent = bytearray()
    size = 0

    def send_full() -> None:
        while len(unsent) >= PIECE_BYTES:
            emit_chunk(bytes(unsent[:PIECE_BYTES]))
            del unsent[:PIECE_BYTES]

    with os.fdopen(sqlite.open_copy(copy), "rb") as file:
        for piece in iter(lambda: file.read(1024 * 1024), b""):
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
