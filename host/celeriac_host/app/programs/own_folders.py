"""What the programs that work in a user's folders share: whose a folder is, and the answer.

The agent's own Python runs them as that user (`code/trees.py`): text for `python -c`. So nothing is
written as root through links that a user could have created, and no files of root are left in the
user's folders. Where that user is root, it works only where nobody else can change anything.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import sys
from collections import deque

# Not loaded when it runs: a look waits for it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator

ENTRY_LIMIT = 1_000_000
LINK_LIMIT = 40


class Refused(Exception):
    """Refused, with a message for people."""


class NotOwn(Refused):
    """A path belongs to somebody else, or others may change it; `fix` says what to do."""

    def __init__(self, path: str, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.path = path
        self.fix = fix


def require_own(path: str) -> None:
    """Raises NotOwn unless this user owns the path; root's must also be out of others' reach."""
    require_owner(path, os.stat(path))
    if os.geteuid() == 0:
        require_private(path)


def require_owner(path: str, about: os.stat_result) -> None:
    me = os.geteuid()
    if about.st_uid == me:
        return
    name, owner = user_name(me), user_name(about.st_uid)
    raise NotOwn(
        path,
        "%s belongs to %s, and the app's user is %s" % (path, owner, name),
        "`sudo chown -R %s: %s`, or name %s in the input `app-user`" % (name, path, owner),
    )


def require_private(path: str) -> str:
    """The path without links. Raises NotOwn if anybody but root may change where it leads."""
    done, hops = "/", 0
    waiting = deque(os.path.abspath(path).split("/"))
    while waiting:
        name = waiting.popleft()
        if name in ("", "."):
            continue
        if name == "..":
            done = os.path.dirname(done)
            continue
        whole = os.path.join(done, name)
        about = os.lstat(whole)
        refuse_others(whole, about, is_last=not waiting)
        if not stat.S_ISLNK(about.st_mode):
            done = whole
            continue
        hops += 1
        if hops > LINK_LIMIT:
            raise Refused("%s: too many links" % path)
        target = os.readlink(whole)
        done = "/" if target.startswith("/") else done
        waiting.extendleft(reversed(target.split("/")))
    return done


def require_whole(folder: str) -> None:
    """As root: like `require_private`, for everything in a folder; follows no link."""
    top = require_private(folder)
    for path, about in entries(top):
        refuse_others(path, about, whole=top)


def entries(folder: str) -> "Iterator[Any]":
    count = 0
    for where, folders, names in os.walk(folder):
        for name in folders + names:
            count += 1
            if count > ENTRY_LIMIT:
                raise Refused("%s has more than %d files" % (folder, ENTRY_LIMIT))
            path = os.path.join(where, name)
            try:
                yield path, os.lstat(path)
            except FileNotFoundError:
                continue


def refuse_others(path: str, about: os.stat_result, is_last: bool = True, whole: str = "") -> None:
    """Raises NotOwn unless the entry is root's, and nobody else may change it.

    `whole` is the folder to mend, if it is not the entry alone.

    In a folder with the sticky bit others create entries, but do not rename those of root.
    """
    deep = "-R " if whole or is_last else ""
    if about.st_uid != 0:
        owner = user_name(about.st_uid)
        raise NotOwn(
            path,
            "%s belongs to %s, and the app's user is root" % (path, owner),
            "`sudo chown %sroot: %s`, or name %s in the input `app-user`"
            % (deep, whole or path, owner),
        )
    if stat.S_ISLNK(about.st_mode) or not open_to_others(path, about):
        return
    if not is_last and about.st_mode & stat.S_ISVTX:
        return
    who = "everybody" if about.st_mode & stat.S_IWOTH else "group %s" % group_name(about.st_gid)
    raise NotOwn(
        path,
        "%s may write to %s, where root would work for the app" % (who, path),
        "`sudo chmod %sgo-w %s`, or name the app's user in the input `app-user`"
        % (deep, whole or path),
    )


def open_to_others(path: str, about: os.stat_result) -> bool:
    """Whether its mode lets others write; an access list shows in the bits of the group."""
    if about.st_mode & stat.S_IWOTH:
        return True
    if not about.st_mode & stat.S_IWGRP:
        return False
    if about.st_gid != 0:
        return True
    try:
        return bool(os.getxattr(path, "system.posix_acl_access", follow_symlinks=False))
    except OSError:
        return False


def is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def exists(path: str) -> bool:
    """Raises PermissionError where this user cannot tell."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def make_folder(folder: str) -> None:
    """Creates it with its parents; as root only in folders that nobody else may change."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    make_folder(parent)
    if os.geteuid() == 0:
        require_private(parent)
    os.mkdir(folder, 0o755)


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def remove_tree(path: str) -> None:
    """Removes what is there, if it can; of any depth, unlike `shutil.rmtree`. Follows no link."""
    import subprocess

    nothing = subprocess.DEVNULL
    words = ["rm", "-rf", "--", path]
    subprocess.run(words, stdin=nothing, stdout=nothing, stderr=nothing, check=False)


def serve(work: "Dict[str, Callable[[Dict[str, Any]], Any]]") -> None:
    """`argv[1]` is the command, `argv[2]` its arguments as JSON; larger ones come on stdin.

    Prints one JSON value: `{"value": …}`, `{"error": …}` or `{"notOwn": …}`.
    """
    os.umask(0o022)
    said: Dict[str, Any]
    try:
        said = {"value": work[sys.argv[1]](json.loads(sys.argv[2]))}
    except NotOwn as error:
        said = {"notOwn": {"path": error.path, "problem": str(error), "fix": error.fix}}
    except Refused as error:
        said = {"error": str(error)}
    except RecursionError:
        said = {"error": "there are too many folders inside each other"}
    except PermissionError as error:
        where = "a file" if error.filename is None else os.fsdecode(error.filename)
        said = {"error": "user %s has no access to %s" % (user_name(os.geteuid()), where)}
    except OSError as error:
        where = "" if error.filename is None else ": " + os.fsdecode(error.filename)
        said = {"error": (error.strerror or str(error)) + where}
    print(json.dumps(said))
