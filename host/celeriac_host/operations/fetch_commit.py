"""Imports a commit from an uploaded Git bundle into the object store of a checkout.

Touches: objects in the checkout's .git, as the app's user; no branch, no file of the working tree.
Undo: nothing to undo: Git removes unreferenced objects later.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from celeriac_host.code import git, parcels
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import app_user
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

HEADER_LIMIT_BYTES = 1024 * 1024
SIGNATURE = b"# v2 git bundle\n"
TIMEOUT_SECONDS = 1800.0


def check(args: dict[str, Any], host: System) -> bool:
    checkout = git.require(host, app_user.named(args), args["checkout"])
    return git.has_whole(host, checkout, git.require_commit(args["commit"]))


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    checkout = git.require(host, app_user.named(args), args["checkout"])
    commit = args["commit"]
    with parcels.open_whole(args["sha256"], host) as bundle:
        needed = _read_header(bundle, commit)
        for each in needed:
            if not git.line(host, checkout, "cat-file", "-t", each, check=False):
                raise OperationError(
                    f"{checkout.path} lacks commit {each}, on which the upload is based; "
                    "run again to make a new plan"
                )
        # Only root can read the bundle; Git gets it open, positioned at its pack.
        words = ["index-pack", "--stdin", "--fix-thin"]
        git.run(host, checkout, *words, stdin=bundle, timeout=TIMEOUT_SECONDS)
    if not git.has_whole(host, checkout, commit):
        raise OperationError(
            f"commit {git.short(commit)} is incomplete in {checkout.path}: parts of its history "
            "were not uploaded; set fetch-depth: 0 for actions/checkout"
        )
    return f"commit {git.short(commit)} is in {checkout.path}"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> None:
    return None


def _read_header(bundle: BinaryIO, commit: str) -> list[str]:
    """The commits that it is based on. Leaves the file, which is unbuffered, at the pack."""
    head = bundle.read(HEADER_LIMIT_BYTES)
    end = head.find(b"\n\n")
    if not head.startswith(SIGNATURE) or end < 0:
        raise OperationError("the upload is not a Git bundle of version 2")
    lines = head[len(SIGNATURE) : end].decode("ascii", "replace").splitlines()
    if not any(each.split(" ")[0] == commit for each in lines):
        raise OperationError(f"the uploaded bundle does not contain commit {commit}")
    bundle.seek(end + 2)
    needed = [each[1:].split(" ")[0] for each in lines if each.startswith("-")]
    return [git.require_commit(each) for each in needed]
