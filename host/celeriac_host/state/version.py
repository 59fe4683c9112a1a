"""The version of everything in /var/lib/celeriac: journals, ledger, samples.

It changes when an older Celeriac would misread what a newer one writes. A folder without the mark
is of version 1, the first.
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


def mark(state: str) -> None:
    """Writes the version into a folder without one. Raises OSError, Fault."""
    require(state)
    path = os.path.join(state, NAME)
    if not os.path.lexists(path):
        files.write(path, f"{VERSION}\n".encode("ascii"), 0o600, os.geteuid(), os.getegid())
