"""What a run sent ahead of its plan (`session/incoming.py`), as operations open it."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

FOLDER = "incoming"


def open_whole(digest: str, host: System) -> BinaryIO:
    """What was received, checked again; closed by the caller. Raises OperationError."""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise OperationError(f"{digest!r} is no SHA-256")
    path = os.path.join(host.state, FOLDER, digest)
    try:
        if files.sha256_of(path) != digest:
            raise OperationError(f"{path} is damaged; run again, so that it is sent anew")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OperationError(
            f"{path}, which was sent before, can't be read ({error.strerror}); run again"
        ) from None
    return os.fdopen(handle, "rb", buffering=0)
