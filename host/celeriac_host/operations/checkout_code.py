"""Moves a Git checkout, and the branch it is on, to another commit.

Touches: tracked files of the checkout, its index, its branch, as the app's user; no untracked file.
Undo: restores the previous commit on the same branch, its files, their times and stashed changes.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celeriac_host.code import git, trees, undo_user
from celeriac_host.code.git import Change, Checkout
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import app_user, files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

LISTED = 20
# Git holds its lock only while it writes: an older lock belongs to a killed process.
LOCK_SECONDS = 10.0
TIMEOUT_SECONDS = 900.0
NOTHING = "000000"
SUBMODULE = "160000"


def check(args: dict[str, Any], host: System) -> bool:
    checkout = git.require(host, app_user.named(args), args["checkout"])
    return git.head(host, checkout) == git.require_commit(args["commit"])


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    checkout, new = git.require(host, app_user.named(args), args["checkout"]), args["commit"]
    old, branch = git.head(host, checkout), git.branch(host, checkout)
    if old != args["expects"]:
        raise OperationError(
            f"{checkout.path} is at {git.short(old)}; it was at {git.short(args['expects'])} when "
            "the plan was made; run again"
        )
    locks = git.locks(host, checkout)
    if locks:
        raise OperationError(
            f"another git process is running in {checkout.path}, or was killed: {locks[0]} exists; "
            "remove it if no git is running"
        )
    dirty = git.dirty(host, checkout)
    changes = git.changes(host, checkout, old, new)
    seen = _examine(host, checkout, changes, dirty)
    _refuse_dirty(checkout, dirty, seen, args["stash"])
    _judge_changes(host, checkout, changes, seen, new)
    journal.keep("was", _before(old, branch, changes, dirty, seen))
    if dirty:
        _stash(host, checkout, old, new, journal)
    where = ["--no-track", "-B", branch, new] if branch else ["--detach", new]
    words = ["checkout", "-q", "--no-overwrite-ignore", *where, "--"]
    git.run(host, checkout, *words, timeout=TIMEOUT_SECONDS)
    if git.head(host, checkout) != new:
        raise OperationError(f"{checkout.path} is not at {git.short(new)} after its checkout")
    # The files must be on disk before the journal says so.
    os.sync()
    journal.keep("moved", new)
    on = f" on {branch}" if branch else ""
    aside = f"; {_listed(dirty)} stashed" if dirty else ""
    return f"{checkout.path} is at {git.short(new)}{on}, was at {git.short(old)}{aside}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    was = journal.get("was")
    if was is None:
        return None
    user = undo_user.of_step(args, host, journal)
    checkout, moved = git.require(host, user, args["checkout"]), journal.get("moved")
    if moved is None:
        _restore(host, checkout, was)
    else:
        _move_back(host, checkout, was, moved)
    _unstash(host, checkout, journal, whether_stored=moved is not None)
    _restore_files(host, checkout, checkout.path, {"times": was["times"]})
    _refresh_index(host, checkout)
    return f"{checkout.path} is at {git.short(was['head'])} again"


def _examine(
    host: System, checkout: Checkout, changes: list[Change], dirty: list[str]
) -> dict[str, Any]:
    """What the change would meet in the working tree: see `app/programs/checkout.py`."""
    pairs = [[each.path, each.old_mode != NOTHING] for each in changes]
    payload = {"changes": pairs, "dirty": dirty}
    asked = {"root": checkout.path}
    seen: dict[str, Any] = trees.work(host, checkout.user, "checkout", "examine", asked, payload)
    return seen


def _refuse_dirty(checkout: Checkout, dirty: list[str], seen: dict[str, Any], stash: bool) -> None:
    databases = seen["dirtyDatabases"]
    if databases:
        raise OperationError(
            f"{checkout.path}: {_listed(databases)} is tracked by Git and has changed; "
            "remove the database from Git (git rm --cached, .gitignore)",
            evidence=databases[:LISTED],
        )
    if dirty and not stash:
        raise OperationError(
            f"{checkout.path} has changes that the plan did not see: {_listed(dirty)}; run again",
            evidence=dirty[:LISTED],
        )


def _judge_changes(
    host: System, checkout: Checkout, changes: list[Change], seen: dict[str, Any], new: str
) -> None:
    """Refuses commits that would change more than code."""
    modules = [each.path for each in changes if SUBMODULE in (each.old_mode, each.new_mode)]
    if modules:
        raise OperationError(
            f"{checkout.path}: the submodule {modules[0]} changes, which is not supported: use "
            "source: upload, or a repository without submodules"
        )
    attributes = git.run(host, checkout, "cat-file", "-p", new + ":.gitattributes", check=False)
    if attributes.code == 0 and "filter=lfs" in attributes.out:
        raise OperationError(
            f"{checkout.path}: commit {git.short(new)} has files in Git LFS, which are not "
            "supported: deploy the code by other means"
        )
    databases = seen["databases"]
    if databases:
        raise OperationError(
            f"{checkout.path}: commit {git.short(new)} would overwrite or delete the database "
            f"{_listed(databases)}; remove it from Git (git rm --cached, .gitignore)",
            evidence=databases[:LISTED],
        )
    in_the_way = seen["inTheWay"]
    if in_the_way:
        raise OperationError(
            f"{checkout.path}: commit {git.short(new)} brings {_listed(in_the_way)}, which "
            "exists there and is not tracked by Git; move it away or remove it from the commit",
            evidence=in_the_way[:LISTED],
        )
    _require_room(host, checkout, changes, seen["freeBytes"])


def _require_room(host: System, checkout: Checkout, changes: list[Change], free: int) -> None:
    objects = [each.new for each in changes if each.new_mode not in (NOTHING, SUBMODULE)]
    words = ["cat-file", "--batch-check=%(objectsize)"]
    asked = "".join(f"{each}\n" for each in objects).encode("ascii")
    most = git.LIST_LIMIT_BYTES
    done = git.run(host, checkout, *words, input=asked, limit_bytes=most) if objects else None
    told = done.out.split() if done else []
    needed = sum(int(each) for each in told if each.isdigit()) + files.MARGIN_BYTES
    if free < needed:
        raise OperationError(
            f"No space left on device: {checkout.path} has {free // 2**20} MiB free, and "
            f"{needed // 2**20} MiB are needed for the new files and the rest of the host"
        )


def _before(
    old: str, branch: str | None, changes: list[Change], dirty: list[str], seen: dict[str, Any]
) -> dict[str, Any]:
    return {
        "head": old,
        "branch": branch,
        "kept": sorted({*(each.path for each in changes if each.old_mode != NOTHING), *dirty}),
        "added": sorted(each.path for each in changes if each.old_mode == NOTHING),
        "times": seen["times"],
    }


def _stash(host: System, checkout: Checkout, old: str, new: str, journal: StepJournal) -> None:
    name = git.line(host, checkout, "stash", "create")
    # Before the tree is reset.
    journal.keep("stash", git.require_commit(name))
    said = f"Celeriac: before {git.short(old)} became {git.short(new)}"
    git.run(host, checkout, "stash", "store", "-q", "-m", said, name)
    git.run(host, checkout, "reset", "-q", "--hard", old)


def _restore(host: System, checkout: Checkout, was: dict[str, Any]) -> None:
    """After a checkout that was interrupted anywhere: these paths hold only what it wrote."""
    end = time.monotonic() + LOCK_SECONDS
    while git.locks(host, checkout) and time.monotonic() < end:
        host.sleep(0.5)
    for lock in git.locks(host, checkout):
        folder, name = os.path.split(os.path.realpath(lock))
        _restore_files(host, checkout, folder, {"remove": [name]})
    _restore_files(host, checkout, checkout.path, {"remove": was["added"]})
    git.run(host, checkout, "read-tree", was["head"])
    names = "".join(f"{path}\0" for path in was["kept"]).encode("utf-8")
    if names:
        words = ["checkout-index", "-f", "-q", "-u", "-z", "--stdin"]
        git.run(host, checkout, *words, input=names, timeout=TIMEOUT_SECONDS)
    if git.head(host, checkout) != was["head"]:
        git.run(host, checkout, "update-ref", "-m", "celeriac: undo", "HEAD", was["head"])
    _refresh_index(host, checkout)


def _refresh_index(host: System, checkout: Checkout) -> None:
    """Records the times of unchanged files; exits with 1 if others have changed."""
    git.run(host, checkout, "update-index", "-q", "--refresh", check=False)


def _restore_files(host: System, checkout: Checkout, root: str, what: dict[str, Any]) -> None:
    trees.work(host, checkout.user, "checkout", "restore-files", {"root": root}, what)


def _move_back(host: System, checkout: Checkout, was: dict[str, Any], moved: str) -> None:
    """Returns to the earlier commit, without overwriting later changes by others."""
    now, branch = git.head(host, checkout), git.branch(host, checkout)
    if now == was["head"]:
        return
    if now != moved or branch != was["branch"]:
        raise OperationError(
            f"{checkout.path} was moved to {git.short(now)} since; left unchanged,"
            f" not moved back to {git.short(was['head'])}"
        )
    locks = git.locks(host, checkout)
    if locks:
        raise OperationError(
            f"another git process is running in {checkout.path}: {locks[0]} exists"
        )
    back = git.changes(host, checkout, now, was["head"])
    in_the_way = _examine(host, checkout, back, [])["inTheWay"]
    if in_the_way:
        raise OperationError(
            f"{checkout.path}: {_listed(in_the_way)} was added since and would be overwritten"
        )
    # `reset --keep` takes a file with another time, which an earlier undo may have restored, for a
    # changed one.
    _refresh_index(host, checkout)
    git.run(host, checkout, "reset", "-q", "--keep", was["head"], timeout=TIMEOUT_SECONDS)


def _unstash(host: System, checkout: Checkout, journal: StepJournal, whether_stored: bool) -> None:
    """With `whether_stored`, only if the stash still exists: otherwise it was already applied."""
    stash = journal.get("stash")
    if stash is None:
        return
    entries = git.run(host, checkout, "stash", "list", "--format=%H").out.split()
    if whether_stored and stash not in entries:
        return
    git.run(host, checkout, "stash", "apply", "-q", "--index", stash)
    if stash in entries:
        git.run(host, checkout, "stash", "drop", "-q", f"stash@{{{entries.index(stash)}}}")


def _listed(paths: list[str]) -> str:
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
