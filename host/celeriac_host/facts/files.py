"""Files as they are: text, hash, mode and owner. Symbolic links are not followed."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from celeriac_host.app.programs.digests import sha256
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import group_name, user_name
from celeriac_host.system.system import System

TEXT_LIMIT_BYTES = 1024 * 1024
WHAT = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block device"),
    (stat.S_ISCHR, "character device"),
)


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    return {path: file_fact(path) for path in args["paths"]}


def file_fact(path: str) -> dict[str, Any]:
    """A FileFact. Raises OperationError if the file exists but cannot be read."""
    try:
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            return {"kind": "symlink", "target": os.readlink(path)}
        if not stat.S_ISREG(about.st_mode):
            return {"kind": "other", "what": what(about.st_mode)}
        with files.regular(path, os.O_RDONLY | os.O_NOFOLLOW) as file:
            about = os.fstat(file.fileno())
            text, digest, size = _content(file)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OperationError(f"cannot read {path}: {reason}") from None
    return {
        "kind": "file",
        "text": text,
        "sha256": digest,
        "sizeBytes": size,
        "mode": octal_mode(about.st_mode),
        "owner": user_name(about.st_uid),
        "group": group_name(about.st_gid),
    }


def octal_mode(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"


def what(mode: int) -> str:
    """The kind of a file that is not regular."""
    return next((word for test, word in WHAT if test(mode)), "unknown")


def _content(file: Any) -> tuple[str | None, str, int]:
    """The text (None if it is too long or not UTF-8), hash and size."""
    digest = sha256()
    kept = bytearray()
    size = 0
    for piece in iter(lambda: file.read(256 * 1024), b""):
        digest.update(piece)
        size += len(piece)
        if size > files.WHOLE_LIMIT_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {files.WHOLE_LIMIT_BYTES} bytes")
        if size <= TEXT_LIMIT_BYTES:
            kept += piece
    try:
        text = None if size > TEXT_LIMIT_BYTES else kept.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return text, digest.hexdigest(), size
