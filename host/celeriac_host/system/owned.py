"""Opens files of other users: by descriptor, and never through a link that they could change.

A path in a folder of the app names whatever the app wants at that moment. So it is opened once,
each component for itself, and all else is done with the descriptor: look at `about`, hand on
`handle` or `proc`, never the path again.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from contextlib import contextmanager
from typing import Iterator, NamedTuple

from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, user_name

LIMIT_BYTES = 1024 * 1024
# As the kernel: a chain of more links is taken for a circle.
LINKS_LIMIT = 40
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Absent(OperationError):
    """There is no such file."""


class Opened(NamedTuple):
    """An open file or folder; `about` is what the descriptor says, not the path."""

    handle: int
    path: str
    about: os.stat_result

    @property
    def proc(self) -> str:
        """A path to this very file, for this process and for children that inherit `handle`."""
        return f"/proc/self/fd/{self.handle}"


@contextmanager
def opened(path: str, flags: int = os.O_PATH) -> Iterator[Opened]:
    """Opens an absolute path; closed after the block. Raises OperationError; Absent if nothing is.

    A symbolic link is followed only where it and every folder up to it belong to root (or to us)
    and nobody else may write them. With other flags than O_PATH only regular files and folders are
    opened: opening a pipe or a device may wait, or do something. Never creates a file.
    """
    if flags & (os.O_CREAT | os.O_TRUNC):
        raise ValueError("only an existing file, as it is, can be opened here")
    handle = _walk(path)
    try:
        about = os.fstat(handle)
        if flags != os.O_PATH:
            handle = _again(handle, path, about, flags)
        yield Opened(handle, path, about)
    finally:
        os.close(handle)


def require_owner(found: Opened, whom: Identity, what: str) -> None:
    """Raises OperationError, with both names, if it belongs to another user.

    `what`: who runs as `whom`, e.g. `shop-worker.service`.
    """
    if found.about.st_uid != whom.uid:
        raise OperationError(not_yours(found.path, found.about.st_uid, whom.name, what))


def not_yours(path: str, owner: int, name: str, what: str) -> str:
    """Why a path is refused that belongs to the user `owner`, and what to do."""
    return (
        f"{path} belongs to {user_name(owner)}, but {what} runs as {name}; "
        f"change its owner (chown {name}), or name its user with app-user"
    )


def read(path: str, limit_bytes: int = LIMIT_BYTES, whom: Identity | None = None) -> bytes:
    """The content of a regular file, of `whom` if given. Raises OperationError.

    Never waits (a named pipe is refused) and never reads more than the limit.
    """
    with opened(path, os.O_RDONLY) as found:
        if not stat.S_ISREG(found.about.st_mode):
            raise OperationError(f"{path} is not a regular file")
        if whom is not None and found.about.st_uid != whom.uid:
            owner = user_name(found.about.st_uid)
            raise OperationError(f"{path} belongs to {owner}; expected a file of {whom.name}")
        content = bytearray()
        while len(content) <= limit_bytes:
            piece = os.read(found.handle, limit_bytes + 1 - len(content))
            if not piece:
                return bytes(content)
            content += piece
    raise OperationError(f"{path} has more than {limit_bytes} bytes")


def only_root_writes(about: os.stat_result) -> bool:
    """Whether it belongs to root, or to us, and nobody else may write it."""
    # A POSIX ACL that lets others write shows as the group's bit.
    return about.st_uid in (0, os.geteuid()) and not about.st_mode & OTHERS_MAY_WRITE


class _Folders:
    """The folders on the way, each with whether only root could have changed the way to it."""

    def __init__(self) -> None:
        self.way: list[tuple[int, bool]] = []

    def start(self) -> None:
        self.close()
        self.enter(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def enter(self, handle: int) -> None:
        trusted = not self.way or self.way[-1][1]
        self.way.append((handle, trusted and only_root_writes(os.fstat(handle))))

    def leave(self) -> None:
        if len(self.way) > 1:
            os.close(self.way.pop()[0])

    def close(self) -> None:
        while self.way:
            os.close(self.way.pop()[0])


def _walk(path: str) -> int:
    """A descriptor (O_PATH) of what the path names."""
    if not path.startswith("/") or "\0" in path:
        raise OperationError(f"invalid path {path!r}; expected an absolute one")
    folders = _Folders()
    links = 0
    left = deque(path.split("/"))
    try:
        folders.start()
        while left:
            name = left.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                folders.leave()
                continue
            folder, trusted = folders.way[-1]
            handle = _open_one(name, folder, path)
            about = os.fstat(handle)
            if not stat.S_ISLNK(about.st_mode):
                if stat.S_ISDIR(about.st_mode):
                    folders.enter(handle)
                    continue
                if not left:
                    return handle
                os.close(handle)
                raise OperationError(f"cannot open {path}: {name} is not a folder")
            target = _target(handle)
            links += 1
            # The mode of a link is always 777 and says nothing.
            if not trusted or about.st_uid not in (0, os.geteuid()):
                raise OperationError(
                    f"{path}: {name} is a symbolic link of {user_name(about.st_uid)} to {target}, "
                    "which users other than root can change; give the path that it leads to"
                )
            if links > LINKS_LIMIT:
                raise OperationError(f"cannot open {path}: too many symbolic links")
            if target.startswith("/"):
                folders.start()
            left.extendleft(reversed(target.split("/")))
        return os.dup(folders.way[-1][0])
    finally:
        folders.close()


def _open_one(name: str, folder: int, path: str) -> int:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        raise Absent(f"{path}: no such file or folder") from None
    except OSError as error:
        raise OperationError(f"cannot open {path}: {error.strerror}") from None


def _target(handle: int) -> str:
    """Where this very link leads; closes it."""
    try:
        return os.readlink("", dir_fd=handle)
    finally:
        os.close(handle)


def _again(handle: int, path: str, about: os.stat_result, flags: int) -> int:
    """The same file with other flags; closes the given descriptor if that succeeds."""
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise OperationError(f"{path} is not a regular file")
    more = flags & ~os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        new = os.open(f"/proc/self/fd/{handle}", more)
    except OSError as error:
        raise OperationError(f"cannot open {path}: {error.strerror}") from None
    os.close(handle)
    return new
