"""Opens uploads of the run (`session/incoming.py`) for operations."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

FOLDER = "incoming"


def open_whole(digest: str, host: System) -> BinaryIO:
    """Opens an upload after checking it again; the caller closes it. Raises OperationError."""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise OperationError(f"invalid SHA-256 {digest!r}")
    path = os.path.join(host.state, FOLDER, digest)
    try:
        if files.sha256_of(path) != digest:
            raise OperationError(f"the upload {path} is damaged; run again to upload it again")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OperationError(
            f"cannot read the upload {path}: {error.strerror}; run again"
        ) from None
    return os.fdopen(handle, "rb", buffering=0)
