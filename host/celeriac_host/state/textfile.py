"""Where Prometheus' node_exporter finds the metrics of the sampler: opt-in, by the owner's file.

`/etc/celeriac/textfile-collector` names the folder of its textfile collector. It and every folder
above it must be root's: another user could put anything in the place of the file.
"""

from __future__ import annotations

import os
import stat

from celeriac_host.system import files, owned
from celeriac_host.system.errors import OperationError

SETTING = "/etc/celeriac/textfile-collector"
NAME = "celeriac.prom"
SETTING_LIMIT_BYTES = 4096


def folder() -> str | None:
    """The folder; None if the owner wants no metrics. Raises OperationError."""
    try:
        text = owned.read(SETTING, SETTING_LIMIT_BYTES).decode("utf-8", "replace")
    except owned.Absent:
        return None
    require_root(os.path.dirname(SETTING))
    with owned.opened(SETTING) as found:
        _require(found)
    path = os.path.normpath(text.strip())
    if not path.startswith("/") or "\n" in path:
        raise OperationError(f"{SETTING} does not name a folder by its absolute path")
    require_root(path)
    return path


def write(text: str) -> None:
    """Atomically, as the collector demands; nothing if nobody wants it. Raises OperationError."""
    where = folder()
    if where is None:
        return
    try:
        files.write(os.path.join(where, NAME), text.encode("utf-8"), 0o644, 0, 0)
    except OSError as error:
        raise OperationError(f"cannot write {where}/{NAME}: {error.strerror}") from None


def remove() -> None:
    """What is not updated any more would be read as the present. Raises OperationError, OSError."""
    where = folder()
    if where is not None:
        files.remove(os.path.join(where, NAME))


def require_root(path: str) -> None:
    """Raises OperationError unless only root can change what is at the path of a folder."""
    place = path
    while True:
        with owned.opened(place) as found:
            if not stat.S_ISDIR(found.about.st_mode):
                raise OperationError(f"{place} is not a folder")
            _require(found)
        if place == "/":
            return
        place = os.path.dirname(place)


def _require(found: owned.Opened) -> None:
    if not owned.only_root_writes(found.about):
        raise OperationError(f"{found.path} can be changed by users other than root")
