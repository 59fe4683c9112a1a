"""Modules with a folder for each version, named by the content: /usr/local/lib/celeriac/<digest>/.

A version is needed as long as a unit file, a drop-in or a process names its folder, or a rollback
can restore a file that does. Versions that nothing needs are removed.
"""

from __future__ import annotations

import os
import re
from typing import Any, Iterator

from celeriac_host.app import module_users
from celeriac_host.state.journal import BACKUPS, read_plan, remembered, transactions_folder
from celeriac_host.system import files, support
from celeriac_host.system.errors import OperationError

# Versions are here, whether or not the transactions that wrote them are still remembered.
ROOTS = (support.ROOT,)
BACKUP_LIMIT_BYTES = 1024 * 1024


def is_version(path: str) -> bool:
    """Whether the folder of this module is named by a digest."""
    return bool(re.fullmatch(support.VERSION, os.path.basename(os.path.dirname(path))))


def returning(path: str, state: str, but: str = "") -> list[str]:
    """The units that a rollback can return to this module; `but`: a transaction that is undone."""
    sought = module_users.module_at(path)
    found = set()
    for known in remembered(state):
        folder = os.path.join(transactions_folder(state), known["id"])
        if known["state"] == "undone" or known["id"] == but:
            continue
        if any(sought.is_named_in([text]) for text in _backups(folder)):
            found.add(known["unit"] or f"transaction {known['id']}")
    return sorted(found)


def _backups(folder: str) -> Iterator[str]:
    """The texts that an undo of the transaction would restore."""
    parent = os.path.join(folder, BACKUPS)
    for name in files.names(parent):
        path = os.path.join(parent, name)
        if os.path.isfile(path) and os.path.getsize(path) <= BACKUP_LIMIT_BYTES:
            with open(path, encoding="utf-8", errors="replace") as file:
                yield file.read()


def sweep(state: str) -> list[str]:
    """Removes the versions that nothing needs. Raises OSError."""
    lines = []
    for root in sorted({*ROOTS, *_written_roots(state)}):
        for path in [*_versions(root), *_shared(root, state)]:
            if not module_users.find(path) and not returning(path, state):
                files.remove(path)
                files.remove_byte_code(path)
                own = [os.path.dirname(path)] if is_version(path) else []
                files.remove_folders([*own, root])
                lines.append(f"{path} removed: no unit loads it any more")
    return lines


def _versions(root: str) -> Iterator[str]:
    """The modules in folders of their versions; what somebody else changed is not ours."""
    for name in files.names(root):
        folder = os.path.join(root, name)
        if not re.fullmatch(support.VERSION, name) or os.path.islink(folder):
            continue
        for each in files.names(folder):
            path = os.path.join(folder, each)
            if each.endswith(".py") and (_digest(path) or "").startswith(name):
                yield path


def _shared(root: str, state: str) -> Iterator[str]:
    """The module that older versions of Celeriac wrote for all units, as they wrote it."""
    for path, digest in sorted(_written(state, "committed")):
        if os.path.dirname(path) == root and _digest(path) == digest:
            yield path


def _written_roots(state: str) -> Iterator[str]:
    for path, _ in _written(state, "committed") | _written(state, "undone"):
        folder = os.path.dirname(path)
        yield os.path.dirname(folder) if is_version(path) else folder


def _written(state: str, result: str) -> set[tuple[str, str]]:
    """Path and digest of every module that transactions with this result wrote."""
    return {
        (operation["path"], files.sha256(operation["text"].encode("utf-8")))
        for _, _, operation in written_modules(state, result)
    }


def written_modules(state: str, result: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Folder, index and operation of each module that transactions with this result wrote."""
    for known in remembered(state):
        if known["state"] != result:
            continue
        folder = os.path.join(transactions_folder(state), known["id"])
        plan = read_plan(folder) or {"operations": []}
        for index, operation in enumerate(plan["operations"]):
            if operation["op"] == "write-file" and operation["path"].endswith(".py"):
                yield folder, index, operation


def _digest(path: str) -> str | None:
    try:
        found = files.find(path)
    except OperationError:
        return None
    return None if found is None else found.sha256
