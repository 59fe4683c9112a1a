"""Unpacks, switches and removes code folders in a user's folder; see `own_folders`."""

import os
import shutil
import sys
import tarfile
from typing import Any, Dict, List

from celeriac_host.app.programs.own_folders import (
    Refused,
    exists,
    is_folder,
    make_folder,
    remove_tree,
    require_own,
    require_private,
    serve,
)

MARGIN_BYTES = 32 * 1024 * 1024
MEMBER_LIMIT = 200_000
# Of Python, for its byte code.
CACHE = "__pycache__"


def look(args: Dict[str, Any]) -> Any:
    """The link `current` and the code folders of a folder, newest first; None if it is missing."""
    base = args["base"]
    if not exists(base):
        return None
    require_own(base)
    link, releases = os.path.join(base, "current"), os.path.join(base, "releases")
    target = os.readlink(link) if os.path.islink(link) else None
    leads = os.path.realpath(link)
    is_release = os.path.dirname(leads) == os.path.realpath(releases)
    names = os.listdir(releases) if os.path.isdir(releases) else []
    return {
        "current": target,
        "isLink": target is not None or not os.path.lexists(link),
        "currentName": os.path.basename(leads) if is_release else None,
        "names": sorted(names, key=lambda each: changed(releases, each), reverse=True),
    }


def changed(folder: str, name: str) -> int:
    try:
        return os.lstat(os.path.join(folder, name)).st_ctime_ns
    except FileNotFoundError:
        return 0


def is_unpacked(args: Dict[str, Any]) -> Any:
    release = os.path.join(args["base"], "releases", args["name"])
    if not exists(release):
        return False
    require_own(release)
    linked = all(os.path.islink(os.path.join(release, each)) for each in args["shared"])
    return os.path.isdir(release) and linked


def unpack(args: Dict[str, Any]) -> Any:
    """Unpacks an archive from stdin into releases/NAME, atomically, with its shared paths."""
    base, name = args["base"], args["name"]
    require_own(base)
    releases = os.path.join(base, "releases")
    make_folder(releases)
    require_own(releases)
    final, part = os.path.join(releases, name), os.path.join(releases, "." + name + ".part")
    remove_tree(part)
    made = not os.path.lexists(final)
    files = 0
    try:
        if made:
            os.mkdir(part)
            files = extract(part)
            refuse_escapes(part)
        for shared in args["shared"]:
            link_shared(base, part if made else final, shared)
        if made:
            os.sync()
            os.rename(part, final)
    except BaseException:
        remove_tree(part)
        raise
    return {"files": files, "made": made}


def extract(root: str) -> int:
    files, size = 0, 0
    room = shutil.disk_usage(root).free - MARGIN_BYTES
    try:
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|gz") as archive:
            for member in archive:
                files += 1
                size += member.size
                if size > room:
                    raise Refused(
                        "no room for the release: %d MiB are free on the disk of %s, and 32 MiB "
                        "must stay free" % (room // 2**20 + 32, root)
                    )
                if files > MEMBER_LIMIT:
                    raise Refused("the archive has more than %d files" % MEMBER_LIMIT)
                take(archive, member, root)
    except (tarfile.TarError, EOFError) as error:
        raise Refused("cannot read the archive: %s" % error) from None
    return files


def take(archive: Any, member: Any, root: str) -> None:
    path = member.name.rstrip("/")
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise Refused(
            "the archive contains the path %r, which is outside the release" % member.name
        )
    folder = root
    for part in parts[:-1]:
        folder = os.path.join(folder, part)
        if not os.path.lexists(folder):
            os.mkdir(folder)
        elif not is_folder(folder):
            raise Refused("the archive contains %r below a path that is not a folder" % member.name)
    whole = os.path.join(root, path)
    if member.isdir():
        if not os.path.lexists(whole):
            os.mkdir(whole)
        elif not is_folder(whole):
            raise Refused("the archive contains %r twice" % member.name)
        return
    if os.path.lexists(whole):
        raise Refused("the archive contains %r twice" % member.name)
    if member.issym():
        os.symlink(member.linkname, whole)
    elif member.isreg():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        mode = 0o755 if member.mode & 0o100 else 0o644
        with os.fdopen(os.open(whole, flags, mode), "wb") as file:
            shutil.copyfileobj(archive.extractfile(member), file)
            os.fchmod(file.fileno(), mode)
        os.utime(whole, (member.mtime, member.mtime))
    else:
        raise Refused("the archive contains %r, which is not a file, folder or link" % member.name)


def refuse_escapes(root: str) -> None:
    """Refuses links that lead out of the archive, once all of them exist."""
    for folder, folders, names in os.walk(root):
        for each in folders + names:
            whole = os.path.join(folder, each)
            if not os.path.islink(whole):
                continue
            target = os.readlink(whole)
            leads = os.path.realpath(whole)
            if target.startswith("/") or not (leads + "/").startswith(root + "/"):
                raise Refused(
                    "the archive's link %s leads out of the release, to %s"
                    % (os.path.relpath(whole, root), target)
                )


def link_shared(base: str, release: str, shared: Dict[str, Any]) -> None:
    path, kept = shared["path"], os.path.join(base, "shared", shared["path"])
    if not os.path.lexists(kept):
        if not shared["folder"]:
            raise Refused(
                "%s does not exist: create the file, or end the name with / for a folder" % kept
            )
        make_folder(kept)
    inside = os.path.join(release, path)
    make_folder(os.path.dirname(inside))
    if os.geteuid() == 0:
        require_private(os.path.dirname(inside))
    target = os.path.relpath(kept, os.path.dirname(inside))
    if os.path.islink(inside):
        if os.readlink(inside) == target:
            return
        os.unlink(inside)
    elif os.path.isdir(inside):
        remove_tree(inside)
    elif os.path.lexists(inside):
        os.unlink(inside)
    os.symlink(target, inside)


def switch(args: Dict[str, Any]) -> Any:
    """Replaces a link atomically, by renaming a new one over it."""
    link, target = args["link"], args["target"]
    forget(args)
    if target is not None and not os.path.isdir(os.path.join(os.path.dirname(link), target)):
        raise Refused(
            "%s cannot point to %s: it does not exist, or was removed since; deploy that commit "
            "again" % (link, target)
        )
    beside = beside_link(link)
    if target is None:
        os.unlink(link)
        return None
    os.symlink(target, beside)
    try:
        os.rename(beside, link)
    except BaseException:
        os.unlink(beside)
        raise
    handle = os.open(os.path.dirname(link), os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(handle)
    os.close(handle)
    return None


def forget(args: Dict[str, Any]) -> Any:
    """Removes the new link that an interrupted switch left beside the link."""
    require_own(os.path.dirname(args["link"]))
    beside = beside_link(args["link"])
    if os.path.islink(beside):
        os.unlink(beside)
    return None


def beside_link(link: str) -> str:
    return os.path.join(os.path.dirname(link), ".%s.celeriac" % os.path.basename(link))


def remove(args: Dict[str, Any]) -> Any:
    """Removes folders in a folder; returns the names of those that could not be removed."""
    folder = args["folder"]
    left: List[str] = []
    if not os.path.isdir(folder):
        return left
    require_own(folder)
    for name in args["names"]:
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            remove_tree(path)
        if os.path.lexists(path):
            left.append(name)
    return left


def remove_left(args: Dict[str, Any]) -> Any:
    """As root: removes the byte code that a worker of another user left in folders, nothing else.

    What else is there may be anything: the user can rename a folder of its own to one of the names.
    It is started in their folder. From there on by open folders alone, and through no link.
    """
    for name in args["names"]:
        if os.path.basename(name) == name and name not in ("", ".", ".."):
            try:
                _remove_byte_code(name)
            except (OSError, RecursionError):
                continue
    return None


def _remove_byte_code(top: str) -> None:
    for path, folders, names, folder in os.fwalk(top, topdown=False):
        if os.path.basename(path) == CACHE:
            for name in names:
                if name.endswith(".pyc"):
                    os.unlink(name, dir_fd=folder)
        if CACHE in folders:
            try:
                os.rmdir(CACHE, dir_fd=folder)
            except OSError:
                continue


WORK: Dict[str, Any] = {
    "look": look,
    "is-unpacked": is_unpacked,
    "unpack": unpack,
    "switch": switch,
    "forget": forget,
    "remove": remove,
    "remove-left": remove_left,
}


if __name__ == "__main__":
    serve(WORK)
