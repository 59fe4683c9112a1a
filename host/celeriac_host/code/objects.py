"""Reads the files of a commit out of a checkout that is not trusted, and writes them as root.

Git, as the app's user, hands out objects as they are stored: no filter, attribute or setting of the
checkout has a part in it. Each object is compared with its hash, from the commit's own downwards:
the files are those of the commit, whatever the user has done to the repository.
"""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import time
from contextlib import contextmanager
from typing import Any, Iterator

from celeriac_host.code import git
from celeriac_host.system import child, files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.system import System

SILENCE_SECONDS = 120.0
# Altogether: its user could stop it again and again, and let it say a little in between.
LONGEST_SECONDS = 1800.0
SLICE_SECONDS = 0.5
PIECE_BYTES = 256 * 1024
HEADER_LIMIT_BYTES = 1024
# Of commits, trees and links, which are held in memory.
OBJECT_LIMIT_BYTES = 16 * 1024 * 1024
ENTRY_LIMIT = 200_000
TREE, FILE, PROGRAM, LINK, SUBMODULE = "40000", "100644", "100755", "120000", "160000"


class Objects:
    """A `git cat-file --batch`, asked for one object after the other."""

    def __init__(self, host: System, process: Any, about: str) -> None:
        self.host = host
        self.process = process
        self.about = about
        self.held = b""
        self.deadline = time.monotonic() + LONGEST_SECONDS

    def read(self, name: str, kind: str) -> bytes:
        """A whole object. Raises OperationError, also if it is not what its name says."""
        content = bytearray()
        self._copy(name, kind, OBJECT_LIMIT_BYTES, content.extend)
        return bytes(content)

    def save(self, name: str, limit_bytes: int, handle: int) -> int:
        """Writes a file's content to an open file; returns its size. Raises OperationError."""

        def write(piece: bytes) -> None:
            left = memoryview(piece)
            while left:
                left = left[os.write(handle, left) :]

        return self._copy(name, "blob", limit_bytes, write)

    def _copy(self, name: str, kind: str, limit_bytes: int, write: Any) -> int:
        try:
            self.process.stdin.write(name.encode("ascii") + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise self._failure(str(error.strerror)) from None
        words = self._line().split(" ")
        if len(words) != 3 or words[:2] != [name, kind] or not words[2].isdigit():
            raise self._failure(f"object {name} is missing, or is no {kind}")
        size = int(words[2])
        if size > limit_bytes:
            raise self._failure(f"object {name} has {size} bytes, and {limit_bytes} are possible")
        digest = hashlib.sha1() if len(name) == 40 else hashlib.sha256()
        digest.update(f"{kind} {size}\0".encode("ascii"))
        left = size
        while left:
            piece = self._take(left)
            digest.update(piece)
            write(piece)
            left -= len(piece)
        if self._take(1) != b"\n" or digest.hexdigest() != name:
            raise self._failure(f"object {name} is damaged")
        return size

    def _line(self) -> str:
        while b"\n" not in self.held:
            if len(self.held) > HEADER_LIMIT_BYTES:
                raise self._failure("git sent an invalid answer")
            self.held += self._receive()
        line, _, self.held = self.held.partition(b"\n")
        return line.decode("ascii", "replace")

    def _take(self, most: int) -> bytes:
        piece, self.held = self.held[:most], self.held[most:]
        if not piece:
            got = self._receive()
            piece, self.held = got[:most], got[most:]
        return piece

    def _receive(self) -> bytes:
        end = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < end:
            self.host.heed()
            if time.monotonic() > self.deadline:
                raise self._failure(f"it took more than {LONGEST_SECONDS:g} s")
            ready, _, _ = select.select([self.process.stdout], [], [], SLICE_SECONDS)
            if ready:
                got = os.read(self.process.stdout.fileno(), PIECE_BYTES)
                if not got:
                    raise self._failure("git ended")
                return got
        raise self._failure(f"git sent nothing for {SILENCE_SECONDS:g} s")

    def _failure(self, why: str) -> OperationError:
        return OperationError(f"{self.about}: cannot read the files of the commit: {why}")


@contextmanager
def opened(host: System, checkout: git.Checkout) -> Iterator[Objects]:
    argv = git.command(checkout, ["cat-file", "--batch"])
    process = child.start(
        host.keepers,
        argv,
        checkout.user,
        git.ENVIRONMENT,
        "/",
        in_service=host.has_services(),
        timeout=LONGEST_SECONDS,
    )
    try:
        yield Objects(host, process, checkout.path)
    finally:
        child.end(process)
        host.tell_left(process, argv)


def write_commit(objects: Objects, commit: str, folder: str, whom: Identity) -> None:
    """Writes all files of a commit into a new folder, which then belongs to `whom`.

    Nobody but root can enter the folder before all of it is there. Raises OperationError.
    """
    os.mkdir(folder, 0o700)
    first = objects.read(commit, "commit").split(b"\n", 1)[0].split(b" ")
    if len(first) != 2 or first[0] != b"tree":
        raise OperationError(f"{commit} is not a commit")
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _Writer(objects, folder, whom).write(first[1].decode("ascii"), handle, ())
        _give(handle, whom, 0o750)
    finally:
        os.close(handle)


class _Writer:
    def __init__(self, objects: Objects, folder: str, whom: Identity) -> None:
        self.objects = objects
        self.whom = whom
        self.entries = 0
        self.room = shutil.disk_usage(folder).free - files.MARGIN_BYTES

    def write(self, tree: str, parent: int, path: tuple[str, ...]) -> None:
        for mode, name, target in entries_of(self.objects.read(tree, "tree"), len(tree)):
            self.entries += 1
            where = (*path, name)
            if self.entries > ENTRY_LIMIT or len(where) > 100:
                raise OperationError(f"the commit has more than {ENTRY_LIMIT} files")
            if mode == TREE:
                self._folder(target, parent, where)
            elif mode == LINK:
                link = self.objects.read(target, "blob")
                if not link or b"\0" in link:
                    raise OperationError(f"the commit contains a damaged link, {name}")
                os.symlink(link, os.fsencode(name), dir_fd=parent)
                self._give_link(name, parent)
            elif mode != SUBMODULE:
                self._file(target, 0o755 if mode == PROGRAM else 0o644, parent, name)

    def _give_link(self, name: str, parent: int) -> None:
        if os.geteuid() == 0:
            uid, gid = self.whom.uid, self.whom.gid
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)

    def _folder(self, tree: str, parent: int, path: tuple[str, ...]) -> None:
        os.mkdir(path[-1], 0o700, dir_fd=parent)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path[-1], flags, dir_fd=parent)
        try:
            self.write(tree, handle, path)
            _give(handle, self.whom, 0o755)
        finally:
            os.close(handle)

    def _file(self, blob: str, mode: int, parent: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            if self.room <= 0:
                raise OperationError("No space left on device for the files of the commit")
            self.room -= self.objects.save(blob, self.room, handle)
            _give(handle, self.whom, mode)
        finally:
            os.close(handle)


def _give(handle: int, whom: Identity, mode: int) -> None:
    if os.geteuid() == 0:
        os.fchown(handle, whom.uid, whom.gid)
    os.fchmod(handle, mode)


def entries_of(tree: bytes, digits: int) -> Iterator[tuple[str, str, str]]:
    """Mode, name and object of each entry. Raises OperationError for a name that leads out."""
    width, at = digits // 2, 0
    while at < len(tree):
        space, end = tree.find(b" ", at), tree.find(b"\0", at)
        if not at < space < end or end + 1 + width > len(tree):
            raise OperationError("the commit has a damaged folder")
        name = os.fsdecode(tree[space + 1 : end])
        if name in ("", ".", "..") or "/" in name:
            raise OperationError(f"the commit contains the name {name!r}")
        yield tree[at:space].decode("ascii"), name, tree[end + 1 : end + 1 + width].hex()
        at = end + 1 + width
