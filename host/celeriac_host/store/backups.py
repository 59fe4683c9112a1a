"""Backups of SQLite databases: their names in /var/lib/celeriac/backups."""

from __future__ import annotations

import hashlib
import os
import re
import time

# In the name of a backup that a restore makes of the content that it replaces.
BEFORE_RESTORE = "-before-restore"


def folder_of(state: str) -> str:
    return os.path.join(state, "backups")


def listed(state: str, path: str) -> list[str]:
    """Backups of this database, oldest first."""
    folder = folder_of(state)
    pattern = re.compile(
        re.escape(_stem(path)) + rf"-\d{{8}}T\d{{6}}Z(-\d+)?({BEFORE_RESTORE})?\.db"
    )
    ours = [os.path.join(folder, name) for name in os.listdir(folder) if pattern.fullmatch(name)]
    return sorted(ours, key=lambda each: (os.lstat(each).st_mtime_ns, each))


def chosen(state: str, path: str, wanted: str) -> str | None:
    """Path of the wanted backup; None if there is no such backup of this database.

    `latest` is not what a restore saved: it would bring back what was just replaced.
    """
    ours = listed(state, path)
    if wanted != "latest":
        return wanted if wanted in ours else None
    usual = [each for each in ours if not each.endswith(f"{BEFORE_RESTORE}.db")]
    return usual[-1] if usual else None


def free_name(folder: str, path: str, mark: str) -> str:
    stem = os.path.join(folder, f"{_stem(path)}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    candidates = [f"{stem}{mark}.db", *(f"{stem}-{n}{mark}.db" for n in range(2, 100))]
    return next(name for name in candidates if not os.path.lexists(name))


def _stem(path: str) -> str:
    """The file's name and a hash of its path: two apps may use the same file name."""
    name = os.path.basename(path)
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", os.path.splitext(name)[0])[:80]
    return f"{plain}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"
