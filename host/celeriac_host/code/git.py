"""Runs Git on a checkout, as the app's user, without hooks, network or permanent settings.

Filters of the checkout run as that user, too. Where it is root, Git only runs in checkouts that
nobody else can change, settings and alternates included (`app/programs/checkout.py`).
"""

from __future__ import annotations

import os
import re
from typing import Any, BinaryIO, Mapping, NamedTuple, Sequence

from celeriac_host.code import trees
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.system import Completed, System, Tick

# They override the configuration of repository, owner and host.
SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
)
# Commands get a small environment of ours, without any other GIT_* variable.
ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    # A commit is what its hash says.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_EDITOR": "true",
    "GIT_AUTHOR_NAME": "Celeriac",
    "GIT_AUTHOR_EMAIL": "celeriac@localhost",
    "GIT_COMMITTER_NAME": "Celeriac",
    "GIT_COMMITTER_EMAIL": "celeriac@localhost",
}
# Of commits, settings and the like.
OUTPUT_LIMIT_BYTES = 1024 * 1024
# Of lists with a line for each file: some 100 000 of them.
LIST_LIMIT_BYTES = 16 * 1024 * 1024
NOTE_SECONDS = 5.0
FULL_BYTES = 1024 * 1024
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Checkout(NamedTuple):
    """A working tree; `user` is the app's, who owns it."""

    path: str
    user: Identity


class Change(NamedTuple):
    """A path that differs between two commits; an object of zeros means that it is missing."""

    path: str
    status: str
    old_mode: str
    new_mode: str
    old: str
    new: str


def find(host: System, user: Identity, directory: str) -> Checkout | None:
    """The working tree that contains a folder, or None. Raises NotOwn, OperationError."""
    asked = {"directory": directory}
    path = trees.work(host, user, "checkout", "find", asked) if directory else None
    if not isinstance(path, str):
        return None
    found = Checkout(path, user)
    if user.uid == 0:
        _require_private(host, found)
    return found


def require(host: System, user: Identity, path: str) -> Checkout:
    """The working tree whose top folder this is. Raises NotOwn, OperationError."""
    found = find(host, user, path)
    if found is None or found.path != os.path.realpath(path):
        raise OperationError(f"{path} is not the top folder of a Git checkout")
    return found


def _require_private(host: System, checkout: Checkout) -> None:
    """Before anything else runs as root: Git's settings, and the folders of tracked files."""
    words = ["config", "--list", "--show-origin", "--includes", "-z"]
    fields = run(host, checkout, *words).out.split("\0")
    files = {each[len("file:") :] for each in fields[::2] if each.startswith("file:")}
    words = ["ls-tree", "-r", "-d", "-z", "--name-only", "HEAD"]
    done = run(host, checkout, *words, check=False, limit_bytes=LIST_LIMIT_BYTES)
    folders = [each for each in done.out.split("\0") if each] if done.code == 0 else []
    payload = {"files": sorted(files), "folders": folders}
    trees.work(host, checkout.user, "checkout", "require-folders", {"root": checkout.path}, payload)


def run(
    host: System,
    checkout: Checkout,
    *words: str,
    timeout: float = 120.0,
    check: bool = True,
    input: bytes | None = None,
    stdin: BinaryIO | None = None,
    env: Mapping[str, str] | None = None,
    limit_bytes: int = OUTPUT_LIMIT_BYTES,
) -> Completed:
    """`git WORDS` in the checkout, as the app's user. Raises OperationError, RunnerGone."""
    argv = command(checkout, words)
    told = f"{checkout.path}: git {words[0]}"
    try:
        done = host.run(
            argv,
            timeout=timeout,
            input=input,
            stdin=stdin,
            user=checkout.user,
            cwd="/",
            env={**ENVIRONMENT, **(env or {})},
            check=False,
            limit_bytes=limit_bytes,
            tick=Tick(NOTE_SECONDS, lambda: host.note(f"{told} is running")),
        )
    except OperationError as error:
        raise OperationError(f"{told}: {error.message}", evidence=error.evidence) from None
    short = ["git", *words[:6]]
    if done.truncated:
        raise OperationError(f"{told} printed more than {limit_bytes} bytes", ran=short)
    if check and done.code != 0:
        lines = done.lines()
        # On a full disk, Git reports only that it could not write.
        full = files.free_bytes(checkout.path) < FULL_BYTES
        raise OperationError(
            f"{told} failed: {'No space left on device: ' if full else ''}"
            f"{_essence(lines, done.code)}",
            ran=short,
            exit_code=done.code if done.code >= 0 else None,
            evidence=lines,
        )
    return done


def command(checkout: Checkout, words: Sequence[str]) -> list[str]:
    """Git itself enters the checkout: root would pass folders that the user may not enter."""
    settings = [part for each in SETTINGS for part in ("-c", each)]
    return ["git", "-C", checkout.path, *settings, *words]


def line(host: System, checkout: Checkout, *words: str, check: bool = True) -> str:
    """The one line that a command prints; empty if it fails and `check` is False."""
    done = run(host, checkout, *words, check=check)
    return done.out.strip() if done.code == 0 else ""


def head(host: System, checkout: Checkout) -> str:
    """The commit that is checked out. Raises OperationError for a repository without one."""
    found = line(host, checkout, "rev-parse", "--verify", "-q", "HEAD^{commit}", check=False)
    if not found:
        # Raises with Git's own reason, if there is one.
        run(host, checkout, "rev-parse", "--git-dir")
        raise OperationError(f"{checkout.path} has no commit checked out")
    return found


def branch(host: System, checkout: Checkout) -> str | None:
    return line(host, checkout, "symbolic-ref", "-q", "--short", "HEAD", check=False) or None


def has_whole(host: System, checkout: Checkout, commit: str) -> bool:
    """Whether the commit exists with all its objects."""
    known = run(host, checkout, "cat-file", "-e", commit + "^{commit}", check=False)
    if known.code != 0:
        return False
    walk = ["rev-list", "--objects", "--quiet", commit, "--not", "--all"]
    return run(host, checkout, *walk, check=False, timeout=600).code == 0


def dirty(host: System, checkout: Checkout) -> list[str]:
    """Tracked files that differ from the commit."""
    words = ["status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames"]
    # Read only: do not refresh the index.
    no_locks = {"GIT_OPTIONAL_LOCKS": "0"}
    done = run(host, checkout, *words, env=no_locks, timeout=300, limit_bytes=LIST_LIMIT_BYTES)
    return sorted(entry[3:] for entry in done.out.split("\0") if entry)


def changes(host: System, checkout: Checkout, old: str, new: str) -> list[Change]:
    words = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new]
    done = run(host, checkout, *words, timeout=300, limit_bytes=LIST_LIMIT_BYTES)
    fields = done.out.split("\0")
    found = []
    for about, path in zip(fields[::2], fields[1::2]):
        old_mode, new_mode, old_object, new_object, status = about.lstrip(":").split(" ")
        if "\ufffd" in path:
            raise OperationError(f"{checkout.path}: a file name is not UTF-8: {path}")
        found.append(Change(path, status[0], old_mode, new_mode, old_object, new_object))
    return found


def locks(host: System, checkout: Checkout) -> list[str]:
    """Lock files of a Git process that writes; a killed one leaves them behind."""
    name = branch(host, checkout)
    words = ["index.lock", "HEAD.lock", *([f"refs/heads/{name}.lock"] if name else [])]
    found = [line(host, checkout, "rev-parse", "--git-path", each) for each in words]
    paths = [os.path.join(checkout.path, each) for each in found]
    there: list[str] = trees.work(host, checkout.user, "checkout", "existing", {"paths": paths})
    return there


def require_commit(value: Any) -> str:
    if not isinstance(value, str) or not COMMIT.fullmatch(value):
        raise OperationError(f"invalid commit {value!r}: expected its full hash")
    return value


def short(commit: str) -> str:
    return commit[:7]


def _essence(lines: list[str], code: int) -> str:
    """The first line with an error: advice follows it."""
    said = [each for each in lines if each.startswith(("fatal: ", "error: "))]
    return (said or lines or [f"exit code {code}"])[0]
