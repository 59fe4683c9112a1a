"""Makes a swap file of the given size, without holes, mode 600. Refuses an active one.

A present swap file grows or shrinks where it is: that needs no more space than what is added, and
while it grows, its old size can be restored without any. One that is copied on write cannot be
used and is replaced.

Touches: the swap file.
Undo: restores the file as it was, or removes it.
"""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files, swaps
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import group_name, user_name
from celeriac_host.system.system import System

MODE = 0o600
PIECE_BYTES = 8 * 1024 * 1024
NOTE_PIECES = 8
# In pieces, to notice between them that the runner is gone.
FALLOCATE_BYTES = 256 * 1024 * 1024


class Seen(NamedTuple):
    """A regular file that is a swap file, or could become one."""

    size_bytes: int
    held_bytes: int
    mode: int
    uid: int
    gid: int
    header: swaps.Header | None
    nocow: bool | None

    @property
    def whole(self) -> bool:
        return self.held_bytes >= self.size_bytes


def check(args: dict[str, Any], host: System) -> bool:
    seen = _see(args["path"])
    return (
        seen is not None
        and seen.header is not None
        and seen.size_bytes == args["sizeBytes"]
        and seen.whole
        and not _copied(seen, args)
        and (seen.mode, seen.uid) == (MODE, 0)
    )


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path, size = args["path"], args["sizeBytes"]
    if swaps.active(path) is not None:
        raise OperationError(f"{path} is in use as swap; disable it first")
    seen = _see(path)
    if seen is not None and seen.header is None:
        _refuse_content(path, host)
    journal.keep("was", _remembered(seen))
    copied = seen is not None and _copied(seen, args)
    if seen is not None and seen.size_bytes == size and seen.whole and not copied:
        os.chown(path, 0, 0)
        os.chmod(path, MODE)
        if seen.header is None:
            host.run(["mkswap", path])
        files.sync_folder(os.path.dirname(path))
        return f"{path} is now mode 600 and formatted as swap"
    _refuse_another_filesystem(path, args["filesystem"])
    _refuse_full_disk(path, size, seen)
    if seen is None or copied:
        if seen is not None:
            # The kernel refuses it as swap, so it holds nothing that is worth its disk space.
            files.remove(path)
        how = _build(args, host, size, [])
    else:
        how = _resize(args, host, seen, size)
        host.run(["mkswap", *_same(seen.header), path])
        files.sync_folder(os.path.dirname(path))
    return f"{path} is {how}, mode 600 and formatted as swap"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    path, was = args["path"], journal.get("was")
    if was is None:
        return None
    if swaps.active(path) is not None:
        raise OperationError(f"{path} is in use as swap, so it cannot be restored")
    files.remove(_new(path))
    now = _see(path)
    if was == "absent":
        if now is not None:
            files.remove(path)
        return f"{path} removed again"
    named = _named(was["uuid"], was["label"])
    if now is None:
        _build(args, host, was["sizeBytes"], named)
    elif now.size_bytes != was["sizeBytes"]:
        _resize(args, host, now, was["sizeBytes"])
        if named is None:
            _clear_header(path)
        else:
            host.run(["mkswap", *named, path])
    elif was["uuid"] is not None and (now.header is None or now.header.uuid != was["uuid"]):
        host.run(["mkswap", *(named or []), path])
    elif was["uuid"] is None:
        _clear_header(path)
    os.chown(path, was["uid"], was["gid"])
    os.chmod(path, was["mode"])
    owner = f"{user_name(was['uid'])}:{group_name(was['gid'])}"
    return (
        f"{path} has {swaps.mebibytes(was['sizeBytes'])} MiB again, mode {was['mode']:o}, {owner}"
    )


def _see(path: str) -> Seen | None:
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(about.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "not a regular file"
        raise OperationError(f"{path} is {kind}; expected a regular file or no file")
    mode = stat.S_IMODE(about.st_mode)
    held = about.st_blocks * 512
    return Seen(
        about.st_size, held, mode, about.st_uid, about.st_gid, swaps.header(path), swaps.nocow(path)
    )


def _copied(seen: Seen, args: dict[str, Any]) -> bool:
    """Whether it is copied on write where that must be off."""
    return bool(args.get("nocow")) and seen.nocow is False


def _remembered(seen: Seen | None) -> Any:
    if seen is None:
        return "absent"
    return {
        "sizeBytes": seen.size_bytes,
        "mode": seen.mode,
        "uid": seen.uid,
        "gid": seen.gid,
        "uuid": seen.header.uuid if seen.header else None,
        "label": seen.header.label if seen.header else "",
    }


def _refuse_content(path: str, host: System) -> None:
    """Zeros are a swap file that is not formatted yet; any other content must be kept."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        at = 0
        while at < size:
            host.heed()
            try:
                at = os.lseek(handle, at, os.SEEK_DATA)
            except OSError:
                # Only a hole is left.
                return
            piece = os.pread(handle, PIECE_BYTES, at)
            if piece.count(0) != len(piece):
                raise OperationError(
                    f"{path} exists and is not a swap file; move it away or choose another path"
                )
            at += len(piece)
    finally:
        os.close(handle)


def _refuse_another_filesystem(path: str, expected: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise OperationError(f"{folder} is not a folder, so {path} cannot be created")
    _, found = swaps.mount_of(os.path.realpath(folder))
    if found != expected:
        raise OperationError(
            f"{path} would be on {found}; it was {expected} when the plan was made; run again"
        )


def _refuse_full_disk(path: str, size: int, seen: Seen | None) -> None:
    free = files.free_bytes(os.path.dirname(path)) + (seen.held_bytes if seen is not None else 0)
    if free < size:
        raise OperationError(
            f"{path} needs {swaps.mebibytes(size)} MiB, but the disk has only "
            f"{swaps.mebibytes(free)} MiB free"
        )


def _new(path: str) -> str:
    return path + files.UNFINISHED


def _build(args: dict[str, Any], host: System, size: int, name: list[str] | None) -> str:
    """Writes a new file, then renames it; returns how it was filled. `name` None: not formatted."""
    path = args["path"]
    new = _new(path)
    files.remove(new)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        os.fchmod(handle, MODE)
        os.fchown(handle, 0, 0)
        _switch_off_copy_on_write(args, host, new)
        fills = args.get("fill") == "allocate"
        how = "allocated" if fills and _allocate(host, handle, size) else ""
        if not how:
            how = "written"
            _fill(host, handle, path, size)
        os.fsync(handle)
    finally:
        os.close(handle)
    if name is not None:
        host.run(["mkswap", *name, new])
    os.rename(new, path)
    files.sync_folder(os.path.dirname(path))
    return how


def _resize(args: dict[str, Any], host: System, seen: Seen, size: int) -> str:
    """Gives an inactive swap file another size, and fills its holes; returns how.

    If it cannot grow, it has its old size again.
    """
    path = args["path"]
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchmod(handle, MODE)
        os.fchown(handle, 0, 0)
        try:
            if size < seen.size_bytes:
                os.ftruncate(handle, size)
            how = _fill_up(args, host, handle, path, size)
        except BaseException:
            os.ftruncate(handle, min(seen.size_bytes, os.fstat(handle).st_size))
            raise
        os.fsync(handle)
    finally:
        os.close(handle)
    return how


def _fill_up(args: dict[str, Any], host: System, handle: int, path: str, size: int) -> str:
    about = os.fstat(handle)
    if about.st_blocks * 512 >= size == about.st_size:
        return "shortened"
    if args.get("fill") == "allocate" and _allocate(host, handle, size):
        return "allocated"
    # Zeros from the start if it has holes: an inactive swap file has no content to keep.
    whole = about.st_blocks * 512 >= about.st_size
    _fill(host, handle, path, size, about.st_size if whole else 0)
    return "written"


def _switch_off_copy_on_write(args: dict[str, Any], host: System, new: str) -> None:
    """Possible only while the file is empty."""
    wanted = args.get("nocow")
    if wanted is None:
        # An older plan does not say. chattr fails where the attribute has no meaning.
        host.run(["chattr", "+C", new], check=False)
    elif wanted:
        host.run(["chattr", "+C", new])


def _same(header: swaps.Header | None) -> list[str]:
    """Options of mkswap that keep the UUID and the label, which /etc/fstab may name."""
    return [] if header is None else _named(header.uuid, header.label) or []


def _named(uuid: str | None, label: str) -> list[str] | None:
    """Options of mkswap for the former UUID and label; None when it was not formatted."""
    if uuid is None:
        return None
    return ["-U", uuid, *(["-L", label] if label else [])]


def _allocate(host: System, handle: int, size: int) -> bool:
    """False when the file system cannot, or leaves holes."""
    before = os.fstat(handle).st_size
    try:
        for at in range(0, size, FALLOCATE_BYTES):
            host.heed()
            os.posix_fallocate(handle, at, min(FALLOCATE_BYTES, size - at))
    except OSError:
        os.ftruncate(handle, before)
        return False
    return os.fstat(handle).st_blocks * 512 >= size


def _fill(host: System, handle: int, path: str, size: int, start: int = 0) -> None:
    zeros = memoryview(bytes(PIECE_BYTES))
    os.lseek(handle, start, os.SEEK_SET)
    written, pieces = start, 0
    while written < size:
        host.heed()
        written += os.write(handle, zeros[: min(PIECE_BYTES, size - written)])
        pieces += 1
        if pieces % NOTE_PIECES == 0:
            os.fdatasync(handle)
            done, all_of_it = swaps.mebibytes(written), swaps.mebibytes(size)
            host.note(f"{path}: {done} MiB of {all_of_it} MiB written")


def _clear_header(path: str) -> None:
    size = min(swaps.PAGE_BYTES, os.path.getsize(path))
    with files.regular(path, os.O_RDWR | os.O_NOFOLLOW) as file:
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())
