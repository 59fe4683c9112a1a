"""Finds, inspects and restores files of a Git checkout, as its owner; see `own_folders`."""

import json
import os
import shutil
import stat
import sys
from contextlib import suppress
from typing import Any, Dict, List, Set

from celeriac_host.app.programs.own_folders import (
    exists,
    is_folder,
    refuse_others,
    require_own,
    require_private,
    require_whole,
    serve,
)

TIMES_LIMIT = 20_000
LINE_LIMIT = 64 * 1024
DATABASE_MAGIC = b"SQLite format 3\0"
DATABASE_NAMES = (".db", ".sqlite", ".sqlite3")


def find(args: Dict[str, Any]) -> Any:
    """The top folder of the working tree that contains a folder, or None."""
    path = args["directory"]
    if not exists(path) or not os.path.isdir(path):
        return None
    path = require_private(path) if os.geteuid() == 0 else os.path.realpath(path)
    while not os.path.lexists(os.path.join(path, ".git")):
        if path == os.path.dirname(path):
            return None
        path = os.path.dirname(path)
    require_own(path)
    require_own(os.path.join(path, ".git"))
    if os.geteuid() == 0:
        require_repository(os.path.join(path, ".git"))
    return path


def require_repository(git: str) -> None:
    """As root: what Git reads to decide which programs it runs, and what it writes, is root's."""
    if not os.path.isdir(git):
        # A working tree beside its repository.
        git = beside(git, first_line(git)[len("gitdir:") :].strip())
    require_whole(git)
    common = os.path.join(git, "commondir")
    if os.path.lexists(common):
        git = beside(common, first_line(common))
        require_whole(git)
    require_alternates(os.path.join(git, "objects"), set())


def require_alternates(objects: str, seen: "Set[str]") -> None:
    seen.add(objects)
    with suppress(FileNotFoundError):
        for line in text_of(os.path.join(objects, "info", "alternates")).splitlines():
            other = os.path.normpath(os.path.join(objects, line.strip('"')))
            if line and not line.startswith("#") and other not in seen and os.path.isdir(other):
                require_whole(other)
                require_alternates(other, seen)


def beside(file: str, path: str) -> str:
    return os.path.join(os.path.dirname(file), path)


def first_line(path: str) -> str:
    return (text_of(path).splitlines() or [""])[0]


def text_of(path: str) -> str:
    require_private(path)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(LINE_LIMIT)


def require_folders(args: Dict[str, Any]) -> Any:
    """As root: the folders of tracked files, and the files of Git's settings, are root's."""
    asked = json.load(sys.stdin.buffer)
    for path in asked["files"]:
        require_private(os.path.join(args["root"], path))
    for path in asked["folders"]:
        require_folder(args["root"], path)
    return None


def require_folder(root: str, path: str) -> None:
    whole = os.path.join(root, path)
    with suppress(FileNotFoundError, NotADirectoryError):
        refuse_others(whole, os.lstat(whole))


def existing(args: Dict[str, Any]) -> Any:
    return [path for path in args["paths"] if os.path.lexists(path)]


def examine(args: Dict[str, Any]) -> Any:
    """What a change of commits would meet in the working tree.

    stdin: `changes`, pairs of a path and whether the old commit has it, and `dirty`, paths.
    """
    asked = json.load(sys.stdin.buffer)
    root, dirty = args["root"], asked["dirty"]
    tracked = {path for path, was in asked["changes"] if was}
    if os.geteuid() == 0:
        for folder in {each for path, _ in asked["changes"] for each in parents(path)}:
            require_folder(root, folder)
    times = {}
    for path in sorted(tracked | set(dirty))[:TIMES_LIMIT]:
        with suppress(OSError):
            times[path] = os.lstat(os.path.join(root, path)).st_mtime_ns
    return {
        "dirtyDatabases": [path for path in dirty if is_database(root, path)],
        "databases": [path for path, was in asked["changes"] if was and is_database(root, path)],
        "inTheWay": in_the_way(root, [path for path, was in asked["changes"] if not was], tracked),
        "freeBytes": shutil.disk_usage(root).free,
        "times": times,
    }


def parents(path: str) -> List[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def is_database(root: str, path: str) -> bool:
    whole = os.path.join(root, path)
    try:
        handle = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return path.endswith(DATABASE_NAMES) and os.path.isfile(whole)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return False
        if path.endswith(DATABASE_NAMES):
            return True
        return file.read(len(DATABASE_MAGIC)) == DATABASE_MAGIC


def in_the_way(root: str, added: "List[str]", tracked: "Set[str]") -> List[str]:
    """Paths that Git does not track and the new commit would overwrite."""
    found = set()
    for path in added:
        for part in [*parents(path), path]:
            whole = os.path.join(root, part)
            if part in tracked or not os.path.lexists(whole):
                break
            if part != path and is_folder(whole):
                continue
            if is_folder(whole) and holds_only(root, part, tracked):
                break
            found.add(part)
            break
    return sorted(found)


def holds_only(root: str, folder: str, tracked: "Set[str]") -> bool:
    """Whether the old commit tracks all of the folder, so that a file may replace it."""
    for where, _, names in os.walk(os.path.join(root, folder)):
        relative = os.path.relpath(where, root)
        if any("%s/%s" % (relative, name) not in tracked for name in names):
            return False
    return True


def restore_files(args: Dict[str, Any]) -> Any:
    """Removes added files and the folders that are then empty; restores the times of others."""
    asked = json.load(sys.stdin.buffer)
    root = args["root"]
    for path in asked.get("remove", []):
        whole = os.path.join(root, path)
        if is_inside(root, whole) and os.path.lexists(whole) and not is_folder(whole):
            os.unlink(whole)
            remove_empty(root, os.path.dirname(whole))
    for path, times in asked.get("times", {}).items():
        whole = os.path.join(root, path)
        if is_inside(root, whole) and os.path.lexists(whole):
            os.utime(whole, ns=(times, times), follow_symlinks=False)
    return None


def remove_empty(root: str, folder: str) -> None:
    while folder != root:
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)


def is_inside(root: str, path: str) -> bool:
    """Whether the path is inside, with no link on the way."""
    folder = os.path.dirname(path)
    return os.path.realpath(folder) == folder and (folder + "/").startswith(root + "/")


WORK: Dict[str, Any] = {
    "find": find,
    "require-folders": require_folders,
    "existing": existing,
    "examine": examine,
    "restore-files": restore_files,
}


if __name__ == "__main__":
    serve(WORK)
