"""Reads files, and writes them atomically and durably."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import subprocess
from contextlib import contextmanager, suppress
from typing import BinaryIO, Iterator, NamedTuple

from celeriac_host.system.errors import OperationError

# In the name of a temporary file: between the name of the file and the pid of its writer.
BESIDE = ".celeriac-"
# Suffix of a large file that is being built, e.g. a swap file.
UNFINISHED = ".celeriac-new"


class Found(NamedTuple):
    """A regular file as it is now."""

    content: bytes
    mode: int
    uid: int
    gid: int
    modified_ns: int

    @property
    def sha256(self) -> str:
        return sha256(self.content)


def free_bytes(folder: str) -> int:
    """Of its file system, for others than root, too. Raises OSError."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def sha256(content: bytes) -> str:
    # OpenSSL takes longer to load than a look may take.
    import hashlib

    return hashlib.sha256(content).hexdigest()


def sha256_of(path: str) -> str:
    """The SHA-256 of a file of any size."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1024 * 1024), b""):
            digest.update(piece)
    return digest.hexdigest()


# Of a disk that is nearly full: left for the journal, the database and logs.
MARGIN_BYTES = 32 * 1024 * 1024
# Of a text that others may have written: unit files, drop-ins, variables.
TEXT_LIMIT_BYTES = 1024 * 1024
# Of a file that is kept, compared or replaced as a whole.
WHOLE_LIMIT_BYTES = 64 * 1024 * 1024


@contextmanager
def regular(path: str, flags: int = os.O_RDONLY) -> Iterator[BinaryIO]:
    """Opens a regular file and nothing else: a pipe could make us wait, a device have no end.

    Follows links unless `flags` has O_NOFOLLOW. Raises OSError.
    """
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        file: BinaryIO
        with os.fdopen(handle, "r+b" if flags & os.O_RDWR else "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def read(path: str, limit_bytes: int = TEXT_LIMIT_BYTES) -> bytes:
    """The content of a regular file of limited size. Raises OSError."""
    with regular(path) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"it has more than {limit_bytes} bytes", path)
    return content


def text(path: str, limit_bytes: int = TEXT_LIMIT_BYTES) -> str:
    """The same as text; bytes that are not UTF-8 are replaced. Raises OSError."""
    return read(path, limit_bytes).decode("utf-8", "replace")


def find(path: str) -> Found | None:
    """The file, or None if it does not exist. Raises OperationError if it is not a regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OperationError(
                f"{path} is a symbolic link to {os.readlink(path)}; expected a regular file"
            ) from None
        raise OperationError(f"cannot read {path}: {error.strerror}") from None
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)
        raise OperationError(f"{path} is not a regular file")
    with os.fdopen(handle, "rb") as file:
        content = file.read(WHOLE_LIMIT_BYTES + 1)
    if len(content) > WHOLE_LIMIT_BYTES:
        raise OperationError(f"{path} has more than {WHOLE_LIMIT_BYTES} bytes")
    mode = stat.S_IMODE(about.st_mode)
    return Found(content, mode, about.st_uid, about.st_gid, about.st_mtime_ns)


def write(
    path: str, content: bytes, mode: int, uid: int, gid: int, modified_ns: int | None = None
) -> None:
    """Writes atomically: a temporary file beside it is synced, then renamed over it."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}{BESIDE}{os.getpid()}")
    sweep(path)
    _unlink(beside)
    handle = _create(beside)
    try:
        with os.fdopen(handle, "wb") as file:
            _fill(file, Found(content, mode, uid, gid, 0))
            _copy_labels(path, beside)
            if modified_ns is not None:
                os.utime(file.fileno(), ns=(modified_ns, modified_ns))
            os.fsync(file.fileno())
        _put_in_place(beside, path)
    except BaseException as error:
        _unlink(beside)
        if isinstance(error, OSError):
            error.filename = path
        raise
    sync_folder(folder)


def _create(beside: str) -> int:
    return os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _fill(file: BinaryIO, wanted: Found) -> None:
    file.write(wanted.content)
    file.flush()
    os.fchown(file.fileno(), wanted.uid, wanted.gid)
    os.fchmod(file.fileno(), wanted.mode)


def _put_in_place(beside: str, path: str) -> None:
    os.rename(beside, path)


def sweep(path: str) -> None:
    """Removes temporary files that killed writers of this file left beside it."""
    for each in temporary(path):
        pid = each[each.rindex(BESIDE) + len(BESIDE) :]
        if not os.path.isdir(f"/proc/{pid}"):
            with suppress(OSError):
                os.unlink(each)


def temporary(path: str) -> list[str]:
    """The temporary files of this file; their writers may still run."""
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(f".{name}{BESIDE}") + r"[1-9][0-9]*")
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return []
    return [os.path.join(folder, each) for each in sorted(names) if pattern.fullmatch(each)]


def overwrite(path: str, found: Found) -> None:
    """Writes in place: needs no new blocks, for a full disk."""
    with open(path, "r+b") as file:
        file.write(found.content)
        file.truncate()
        os.fchown(file.fileno(), found.uid, found.gid)
        os.fchmod(file.fileno(), found.mode)
        file.flush()
        os.utime(file.fileno(), ns=(found.modified_ns, found.modified_ns))
        os.fsync(file.fileno())


def remove(path: str) -> None:
    """Removes a file durably, if it exists."""
    sweep(path)
    if os.path.lexists(path):
        _unlink(path)
        sync_folder(os.path.dirname(path))


def remove_byte_code(path: str) -> None:
    """Removes the byte code that Python cached for a module that was removed."""
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name)
    if ending != ".py":
        return
    cache = os.path.join(folder, "__pycache__")
    for each in names(cache):
        if each.startswith(stem + ".") and each[len(stem) + 1 :].endswith(".pyc"):
            _unlink(os.path.join(cache, each))
    remove_folders([cache])


def make_folders(folder: str) -> None:
    os.makedirs(folder, 0o755, exist_ok=True)


def missing_folders(folder: str) -> list[str]:
    """The parent folders that do not exist yet, innermost first."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def names(folder: str) -> list[str]:
    """What is in the folder, in order; empty if it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def remove_folders(folders: list[str]) -> None:
    """Removes the folders that are empty, up to the first that is not."""
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:
            return


def remove_tree(folder: str) -> None:
    """Removes what it can of a tree, of any depth; does not follow symbolic links."""
    # Seldom needed, and slow to load.
    import shutil

    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        # Another user may have nested more folders than Python's own function can follow.
        nothing = subprocess.DEVNULL
        words = ["rm", "-rf", "--", folder]
        subprocess.run(words, stdin=nothing, stdout=nothing, stderr=nothing, check=False)


def sync_folder(folder: str) -> None:
    handle = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _copy_labels(source: str, target: str) -> None:
    """Copies SELinux labels and other extended attributes: they belong to the name."""
    labels: dict[str, bytes] = {}
    try:
        labels = {name: os.getxattr(source, name) for name in os.listxattr(source)}
        for name, value in labels.items():
            os.setxattr(target, name, value)
    except OSError:
        return
