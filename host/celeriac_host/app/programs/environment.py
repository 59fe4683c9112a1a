"""Copies, restores and finds a virtual environment, as its owner; see `own_folders`."""

import errno
import os
import re
import stat
from typing import Any, Dict

from celeriac_host.app.programs.own_folders import (
    Refused,
    is_folder,
    make_folder,
    remove_tree,
    require_own,
    require_private,
    require_whole,
    serve,
)

# Suffix of the folder beside a copy into which a restore moves the replaced files.
FAILED = ".failed"
# Suffix of a copy that is being made.
PART = ".part"
LOCK_LIMIT = 4 * 1024 * 1024
# The names of copies.
COPY = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


def find(args: Dict[str, Any]) -> Any:
    """The virtual environment of an interpreter, as Python itself finds it; None: it has none.

    Python is not asked: the app's own start-up files would answer.
    """
    beside = os.path.dirname(args["python"])
    for folder in (beside, os.path.dirname(beside)):
        if os.path.isfile(os.path.join(folder, "pyvenv.cfg")):
            break
    else:
        return None
    root = os.path.realpath(folder)
    require_own(root)
    require_own(os.path.join(root, "pyvenv.cfg"))
    python = os.path.join(root, os.path.relpath(args["python"], folder))
    if os.geteuid() == 0:
        require_whole(root)
        # Where its link leads.
        require_private(python)
    return {"prefix": root, "python": python}


def read_lock(args: Dict[str, Any]) -> Any:
    """The text of a lock file; None if there is none, or if it is no file of text."""
    if os.geteuid() == 0 and os.path.lexists(args["file"]):
        require_private(args["file"])
    try:
        handle = os.open(args["file"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(handle, encoding="utf-8", errors="replace") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        return file.read(LOCK_LIMIT)


def keep_environment(args: Dict[str, Any]) -> Any:
    """Copies an environment by hard links: installers replace files, they do not rewrite them.

    Returns what can be removed: older copies, those that were never completed, and files that
    restores replaced.
    """
    root, keep = args["root"], args["keep"]
    require_own(root)
    store = os.path.join(root, ".celeriac")
    make_folder(store)
    there = os.listdir(store)
    stay = sorted(filter(COPY.fullmatch, there), reverse=True)[: args["others"]]
    copy = os.path.join(store, keep)
    os.mkdir(copy + PART)
    # Now, so that a restore also works on a full disk.
    make_folder(copy + FAILED)
    try:
        for entry in os.listdir(root):
            if entry != ".celeriac":
                link_tree(os.path.join(root, entry), os.path.join(copy + PART, entry))
        os.rename(copy + PART, copy)
    except BaseException:
        for folder in (copy + PART, copy + FAILED):
            remove_tree(folder)
        raise
    return [name for name in there if is_copy(name) and name[: len(keep)] not in stay]


def is_copy(name: str) -> bool:
    """Whether the folder is of a copy: whole, unfinished, or what a restore replaced."""
    return any(
        COPY.fullmatch(name[: len(name) - len(end)])
        for end in ("", FAILED, PART)
        if name.endswith(end)
    )


def link_tree(source: str, target: str) -> None:
    about = os.lstat(source)
    if stat.S_ISDIR(about.st_mode):
        os.mkdir(target)
        for entry in os.listdir(source):
            link = link_byte_code if entry == "__pycache__" else link_tree
            link(os.path.join(source, entry), os.path.join(target, entry))
        os.chmod(target, stat.S_IMODE(about.st_mode))
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    elif stat.S_ISLNK(about.st_mode):
        os.symlink(os.readlink(source), target)
    elif about.st_uid != os.geteuid():
        raise Refused("%s belongs to another user than its environment; fix it with chown" % source)
    else:
        os.link(source, target)


def link_byte_code(source: str, target: str) -> None:
    """Links the owner's files, and always creates the folder.

    Whoever runs the app writes missing byte code again; if they had to create the folder, it would
    belong to them, and the owner's installer could never remove anything from it.
    """
    os.mkdir(target)
    for entry in os.listdir(source):
        path = os.path.join(source, entry)
        about = os.lstat(path)
        if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
            os.link(path, os.path.join(target, entry))


def restore_environment(args: Dict[str, Any]) -> Any:
    """Moves entry by entry, so that an interrupted restore can continue where it was."""
    root, keep = args["root"], args["keep"]
    require_own(root)
    copy = os.path.join(root, ".celeriac", keep)
    failed = copy + FAILED
    make_folder(failed)
    for entry in sorted(os.listdir(copy)):
        present, away = os.path.join(root, entry), os.path.join(failed, entry)
        if os.path.lexists(present):
            move(present, away)
        os.rename(os.path.join(copy, entry), present)
    os.rmdir(copy)
    return None


def move(source: str, target: str) -> None:
    """Renames; entry by entry if a folder cannot be renamed, or was partly moved before."""
    try:
        os.rename(source, target)
        return
    except OSError as error:
        # A container's overlay file system does not rename the folders of its image.
        if error.errno not in (errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not is_folder(source):
            raise
    make_folder(target)
    for entry in os.listdir(source):
        move(os.path.join(source, entry), os.path.join(target, entry))
    os.rmdir(source)


WORK: Dict[str, Any] = {
    "find": find,
    "read-lock": read_lock,
    "keep": keep_environment,
    "restore": restore_environment,
}


if __name__ == "__main__":
    serve(WORK)
