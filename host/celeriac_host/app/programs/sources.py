"""Reads the Python sources below a folder, as the user of the app; see `own_folders`."""

from __future__ import annotations

import os
import stat
from collections import deque
from itertools import islice

from celeriac_host.app.programs.digests import sha256
from celeriac_host.app.programs.own_folders import serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Tuple

FILE_LIMIT = 20_000
# Larger ones, which no person writes, are told apart by their size.
SOURCE_LIMIT_BYTES = 4 * 1024 * 1024
SKIPPED = ("node_modules", "__pycache__", "site-packages")


def read(args: Dict[str, Any]) -> Any:
    """The newest source, a fingerprint of all, and whether there are more than the limit.

    The fingerprint is of names and contents; no clock has a part in it.
    """
    digest = sha256()
    newest: Dict[str, Any] = {}
    paths = list(islice(walk(args["directory"]), FILE_LIMIT + 1))
    for path in paths[:FILE_LIMIT]:
        if not path.endswith(".py"):
            continue
        digest.update(("%s\0%s\0" % (path, content(path))).encode("utf-8", "surrogateescape"))
        try:
            modified = os.stat(path).st_mtime
        except OSError:
            continue
        if not newest or modified > newest["modified"]:
            newest = {"path": path, "modified": modified}
    return {
        "newest": newest or None,
        "truncated": len(paths) > FILE_LIMIT,
        "fingerprint": digest.hexdigest(),
    }


def walk(directory: str) -> "Iterator[str]":
    """Breadth first, so that a limit omits the deepest folders; in the same order each time."""
    folders = deque([os.path.realpath(directory)])
    while folders:
        found, below = entries(folders.popleft())
        folders.extend(below)
        for path in found:
            yield path


def is_skipped(folder: str) -> bool:
    """Whether it is a hidden folder (.git, .venv, .tox) or one of third-party code."""
    return folder.startswith(".") or folder in SKIPPED


def content(path: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return str(error.strerror)
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            return ""
        # None of them may fill our memory, or keep us busy.
        if about.st_size > SOURCE_LIMIT_BYTES:
            return "%d bytes" % about.st_size
        return sha256(file.read(SOURCE_LIMIT_BYTES)).hexdigest()


def entries(folder: str) -> "Tuple[List[str], List[str]]":
    """The files of a folder, and its folders that may contain the app's own code."""
    try:
        with os.scandir(folder) as found:
            inside = sorted(found, key=lambda entry: entry.name)
    except OSError:
        return [], []
    if any(entry.name == "pyvenv.cfg" for entry in inside):
        return [], []
    folders = [
        entry.path
        for entry in inside
        if entry.is_dir(follow_symlinks=False) and not is_skipped(entry.name)
    ]
    return [entry.path for entry in inside if entry.is_file()], folders


if __name__ == "__main__":
    serve({"read": read})
