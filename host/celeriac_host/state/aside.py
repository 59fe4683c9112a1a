"""Backs a file up before it is changed, and restores it from the journal."""

from __future__ import annotations

import errno
import os
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError


def expect(path: str, expects: str | None, also: str = "") -> files.Found | None:
    """The file as it is now. Raises OperationError unless it is as the plan saw it (or `also`)."""
    found = files.find(path)
    seen = None if found is None else found.sha256
    if seen != expects and (seen is None or seen != also):
        was = "no file" if expects is None else "the text that the plan saw"
        now = "no file" if seen is None else "another text"
        raise OperationError(
            f"{path} changed after the plan was made: expected {was}, found {now}; "
            "run again to make a new plan"
        )
    return found


def keep(journal: StepJournal, path: str, found: files.Found | None, wrote: str | None) -> None:
    """Called before the change. `wrote`: SHA-256 of the new content, None if removed."""
    was = None
    if found is not None:
        was = {
            "backup": journal.back_up(found.content),
            "sha256": found.sha256,
            "mode": found.mode,
            "uid": found.uid,
            "gid": found.gid,
            "modifiedNs": found.modified_ns,
        }
    folders = files.missing_folders(os.path.dirname(path))
    journal.keep("file", {"path": path, "was": was, "wrote": wrote, "folders": folders})


def change(
    journal: StepJournal, path: str, found: files.Found | None, text: str, mode: int
) -> None:
    """Backs the file up and writes the text; owner and group stay."""
    content = text.encode("utf-8")
    keep(journal, path, found, files.sha256(content))
    files.make_folders(os.path.dirname(path))
    uid, gid = (os.geteuid(), os.getegid()) if found is None else (found.uid, found.gid)
    files.write(path, content, mode, uid, gid)


def restore(journal: StepJournal) -> str | None:
    """None if nothing was backed up, so nothing changed. Raises OperationError, OSError."""
    kept = journal.get("file")
    if kept is None:
        return None
    path, was = kept["path"], kept["was"]
    files.sweep(path)
    now = files.find(path)
    if not _ours(kept, now):
        copy = f"; its earlier content is in {was['backup']}" if was else ""
        raise OperationError(f"{path} not restored: somebody else changed it since{copy}")
    if was is None:
        if now is not None:
            files.remove(path)
        files.remove_byte_code(path)
        files.remove_folders(kept["folders"])
        return f"{path} removed again"
    before = files.Found(
        _backup(was["backup"]), was["mode"], was["uid"], was["gid"], was["modifiedNs"]
    )
    if now != before:
        _write_back(path, before)
    return f"{path} restored"


def changed(kept: dict[str, Any]) -> bool:
    """Whether a file is no longer as the transaction left it."""
    try:
        now = files.find(kept["path"])
    except OperationError:
        return True
    return bool((None if now is None else now.sha256) != kept["wrote"])


def _ours(kept: dict[str, Any], now: files.Found | None) -> bool:
    was = kept["was"]["sha256"] if kept["was"] else None
    return (None if now is None else now.sha256) in (was, kept["wrote"])


def _backup(path: str) -> bytes:
    found = files.find(path)
    if found is None:
        raise OperationError(f"cannot restore the file: its backup {path} is missing")
    return found.content


def _write_back(path: str, before: files.Found) -> None:
    try:
        files.make_folders(os.path.dirname(path))
        files.write(path, *before)
    except OSError as error:
        if error.errno != errno.ENOSPC or not os.path.lexists(path):
            raise
        files.overwrite(path, before)
