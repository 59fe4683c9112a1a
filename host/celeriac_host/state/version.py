"""The version of everything in /var/lib/celeriac: journals, ledger, samples.

It rises when an older Celeriac would misread what a newer one writes, and with each new operation,
which an older one could not undo. A folder without the mark is of version 1, the first.
"""

from __future__ import annotations

import os

from celeriac_host.system import files
from celeriac_host.system.errors import Fault

VERSION = 1
# Those before it, too.
READABLE = tuple(str(each) for each in range(1, VERSION + 1))
NAME = "version"


def require(state: str) -> None:
    """Raises Fault if the state is of a version that this program cannot read."""
    path = os.path.join(state, NAME)
    try:
        found = files.text(path).strip()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # Whoever may not enter the folder reads nothing in it either.
        return
    except OSError as error:
        raise Fault(f"cannot read {path}: {error.strerror}; nothing was changed") from None
    if found not in READABLE:
        raise Fault(
            f"the state in {state} has version {found[:20]!r}, and this Celeriac reads version"
            f" {VERSION}; nothing was changed",
            next="use the version of Celeriac that wrote it, or a newer one, in every workflow of"
            " this host; to go back to this one, see docs/reference/releases.md",
        )


def claim(state: str) -> None:
    """Marks the folder as of this version, before it is written to. Raises OSError, Fault.

    The caller holds the host's lock: an older Celeriac that is at work finishes first.
    """
    require(state)
    path = os.path.join(state, NAME)
    try:
        found = files.text(path).strip()
    except FileNotFoundError:
        found = ""
    if found != str(VERSION):
        content = f"{VERSION}\n".encode("ascii")
        files.write(path, content, 0o600, os.geteuid(), os.getegid())
