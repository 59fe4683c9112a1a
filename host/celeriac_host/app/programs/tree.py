"""Changes files in a user's folders, as that user.

The agent's own Python runs it as the owner of the folders: text for `python -c` that imports
nothing of ours. So nothing is written as root through links that a user could have created, and
no files of root are left in the user's folders. `argv[1]` is the command, `argv[2]` its arguments
as JSON; larger lists or an archive come on stdin. The output is one JSON value: `{"value": …}` or
`{"error": …}`.
"""

import errno
import json
import os
import re
import shutil
import stat
import sys
import tarfile
from typing import Any, Callable, Dict, List

MARGIN_BYTES = 32 * 1024 * 1024
MEMBER_LIMIT = 200_000
# Suffix of the folder beside a copy into which a restore moves the replaced files.
FAILED = ".failed"
# Suffix of a copy that is being made.
PART = ".part"
# `keep` of keep_environment.
COPY = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")


class Refused(Exception):
    """Refused, with a message for people."""


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


def is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def unpack(args: Dict[str, Any]) -> Any:
    """Unpacks an archive from stdin into releases/NAME, atomically, with its shared paths."""
    base, name = args["base"], args["name"]
    releases = os.path.join(base, "releases")
    make_folder(releases)
    final, part = os.path.join(releases, name), os.path.join(releases, "." + name + ".part")
    if os.path.lexists(part):
        shutil.rmtree(part)
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
        shutil.rmtree(part, ignore_errors=True)
        raise
    return {"files": files, "made": made}


def extract(root: str) -> int:
    files, size = 0, 0
    room = shutil.disk_usage(root).free - MARGIN_BYTES
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
    target = os.path.relpath(kept, os.path.dirname(inside))
    if os.path.islink(inside):
        if os.readlink(inside) == target:
            return
        os.unlink(inside)
    elif os.path.isdir(inside):
        shutil.rmtree(inside)
    elif os.path.lexists(inside):
        os.unlink(inside)
    os.symlink(target, inside)


def make_folder(folder: str) -> None:
    os.makedirs(folder, 0o755, exist_ok=True)


def switch(args: Dict[str, Any]) -> Any:
    """Replaces a link atomically, by renaming a new one over it."""
    link, target = args["link"], args["target"]
    forget(args)
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
    beside = beside_link(args["link"])
    if os.path.islink(beside):
        os.unlink(beside)
    return None


def beside_link(link: str) -> str:
    return os.path.join(os.path.dirname(link), ".%s.celeriac" % os.path.basename(link))


def remove(args: Dict[str, Any]) -> Any:
    """Removes folders; returns those that could not be removed."""
    left: List[str] = []
    for folder in args["folders"]:
        if os.path.islink(folder):
            left.append(folder)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.lexists(folder):
            left.append(folder)
    return left


def remove_left(args: Dict[str, Any]) -> Any:
    """As root: removes what other users left in the folders, e.g. the worker's byte code."""
    handle = os.open(args["folder"], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if os.fstat(handle).st_uid != args["owner"]:
        raise Refused("%s belongs to another user" % args["folder"])
    # From here on by names in this folder only; rmtree follows no link.
    os.fchdir(handle)
    for name in args["names"]:
        if os.path.basename(name) == name and not os.path.islink(name):
            shutil.rmtree(name, ignore_errors=True)
    return None


def keep_environment(args: Dict[str, Any]) -> Any:
    """Copies an environment by hard links: installers replace files, they do not rewrite them.

    Returns what can be removed: older copies, those that were never completed, and files that
    restores replaced.
    """
    root, keep = args["root"], args["keep"]
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
            shutil.rmtree(folder, ignore_errors=True)
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


WORK: Dict[str, Callable[[Dict[str, Any]], Any]] = {
    "restore-files": restore_files,
    "unpack": unpack,
    "switch": switch,
    "forget": forget,
    "remove": remove,
    "remove-left": remove_left,
    "keep-environment": keep_environment,
    "restore-environment": restore_environment,
}


def main() -> None:
    os.umask(0o022)
    try:
        said: Dict[str, Any] = {"value": WORK[sys.argv[1]](json.loads(sys.argv[2]))}
    except Refused as error:
        said = {"error": str(error)}
    except OSError as error:
        where = "" if error.filename is None else ": " + os.fsdecode(error.filename)
        said = {"error": (error.strerror or str(error)) + where}
    except (tarfile.TarError, EOFError) as error:
        said = {"error": "cannot read the archive: %s" % error}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
