"""What only root can have written: each folder of its path is root's, and nobody else may write."""

from __future__ import annotations

import os
import stat
from typing import Iterator

MOST_LINKS = 8
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Untrusted(Exception):
    """Somebody else could have changed it; the message says who, and what to do."""


def read(path: str, limit_bytes: int) -> bytes:
    """The content of a file that is root's alone. Raises Untrusted."""
    for folder in parents(path):
        require_root(folder)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(path, flags)
    except OSError as error:
        raise Untrusted(f"{path} cannot be read: {error.strerror}") from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise Untrusted(f"{path} is not a regular file")
        _require_root(path, about)
        content = _content(handle, limit_bytes + 1)
    finally:
        os.close(handle)
    if len(content) > limit_bytes:
        raise Untrusted(f"{path} has more than {limit_bytes} bytes")
    return content


def resolved(path: str, links: int = 0) -> str:
    """The path without links, each of which, and all that is above it, is root's. Raises Untrusted.

    Such as /lib, which is a link to /usr/lib.
    """
    if links > MOST_LINKS:
        raise Untrusted(f"{path} leads through too many links")
    for part in (*parents(path), path):
        try:
            about = os.lstat(part)
            target = os.readlink(part) if stat.S_ISLNK(about.st_mode) else None
        except OSError as error:
            raise Untrusted(f"{part} cannot be read: {error.strerror}") from None
        if target is not None:
            if about.st_uid != 0:
                raise Untrusted(f"{part} is a link of user {about.st_uid}, not of root")
            there = os.path.normpath(os.path.join(os.path.dirname(part), target))
            return resolved(os.path.normpath(there + path[len(part) :]), links + 1)
        if part != path:
            require_root(part)
    return path


def _content(handle: int, most: int) -> bytes:
    found = b""
    while len(found) < most:
        piece = os.read(handle, most - len(found))
        if not piece:
            break
        found += piece
    return found


def require_root(path: str) -> None:
    """A folder, or a link, that only root can change. Raises Untrusted."""
    try:
        about = os.lstat(path)
    except OSError as error:
        raise Untrusted(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISLNK(about.st_mode):
        raise Untrusted(f"{path} is a link; name the path that it leads to")
    if not stat.S_ISDIR(about.st_mode):
        raise Untrusted(f"{path} is not a folder")
    _require_root(path, about)


def parents(path: str) -> Iterator[str]:
    """The folders above a path, from the top: /, /srv, /srv/shop."""
    parts = path.split("/")[1:-1]
    yield "/"
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])


def _require_root(path: str, about: os.stat_result) -> None:
    if about.st_uid != 0:
        raise Untrusted(f"{path} belongs to user {about.st_uid}, not to root; chown root {path}")
    # A folder such as /tmp, in which everybody may create, but only its owner may rename.
    if about.st_mode & OTHERS_WRITE:
        raise Untrusted(f"users other than root may write to {path}; chmod go-w {path}")
