"""Temporary folders and files for copies of databases: private, with enough room."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from typing import Iterator, NamedTuple

from celeriac_host.system import files
from celeriac_host.system.errors import OperationError

COPY_FOLDERS = ("/var/tmp", "/tmp")
MARGIN_BYTES = 16 * 1024 * 1024


class Copy(NamedTuple):
    """A SQLite file with a consistent copy of a database, or of part of one."""

    # `everything`, or the `rows` that the extract asked for.
    holds: str
    taken_at: float
    size_bytes: int
    # Its bytes, once; as many as its size says.
    pieces: Iterator[bytes]
    # When somebody last wrote to the database; None: not known.
    written_at: float | None = None


class TooLarge(OperationError):
    """A database is larger than its copy may be."""


def forget(target: str) -> None:
    """Removes a copy that is not to be used."""
    with suppress(FileNotFoundError):
        os.unlink(target)


@contextmanager
def folder_for_copy(needed: int) -> Iterator[str]:
    """A private folder of the current user with this much room; removed after the block."""
    _remove_left_folders()
    folder = tempfile.mkdtemp(prefix=f"celeriac-{os.getpid()}-", dir=roomy_folder(needed))
    try:
        yield folder
    finally:
        files.remove_tree(folder)


def _remove_left_folders() -> None:
    """Removes the folders of killed runs: copies of the app's data must not stay.

    Only those of the current user: root does not work in folders of others.
    """
    for parent in COPY_FOLDERS:
        for path in glob.glob(os.path.join(parent, "celeriac-[0-9]*-*")):
            match = re.fullmatch(r"celeriac-([0-9]+)-\w+", os.path.basename(path))
            if match and _is_ours(path) and not os.path.isdir(f"/proc/{match.group(1)}"):
                files.remove_tree(path)


def _is_ours(path: str) -> bool:
    with suppress(OSError):
        return os.lstat(path).st_uid == os.geteuid()
    return False


def roomy_folder(needed: int) -> str:
    for folder in COPY_FOLDERS:
        if os.path.isdir(folder) and files.free_bytes(folder) >= needed + MARGIN_BYTES:
            return folder
    wanted = (needed + MARGIN_BYTES) // (1024 * 1024)
    raise OperationError(
        f"no room for a copy of the database: {wanted} MiB are needed in "
        + " or ".join(COPY_FOLDERS)
    )
