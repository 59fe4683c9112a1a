"""Writes a file of /etc/sudoers.d; visudo checks it before, and all of sudoers after.

Touches: that file.
Undo: restores the file byte for byte, or removes it.
"""

from __future__ import annotations

import os
from typing import Any

from celeriac_host.state import aside
from celeriac_host.state.journal import StepJournal
from celeriac_host.system import files
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import Completed, System

MODE = 0o440


def check(args: dict[str, Any], host: System) -> bool:
    found = files.find(args["path"])
    return (
        found is not None
        and found.content == args["text"].encode("utf-8")
        and (found.mode, found.uid) == (MODE, 0)
    )


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    path, content = args["path"], args["text"].encode("utf-8")
    found = aside.expect(path, args["expects"], also=files.sha256(content))
    before = _visudo(host)
    if before.code != 0:
        # With an error anywhere, some versions of sudo refuse everybody.
        raise _error("sudoers on this host already has an error; nothing was written", before)
    draft = os.path.join(journal.folder, "sudoers")
    files.write(draft, content, MODE, 0, 0)
    try:
        judged = _visudo(host, draft)
    finally:
        files.remove(draft)
    if judged.code != 0:
        raise _error(f"visudo refuses the text for {path}; nothing was written", judged)
    aside.keep(journal, path, found, files.sha256(content))
    # The name of the temporary file beside it contains a dot: sudo does not read it.
    files.write(path, content, MODE, 0, 0)
    after = _visudo(host)
    if after.code != 0 or path not in after.out + after.err:
        aside.restore(journal)
        if after.code != 0:
            raise _error(f"visudo refuses sudoers with {path}; it was removed again", after)
        folder = os.path.dirname(path)
        raise OperationError(f"sudo does not read {path}: /etc/sudoers does not include {folder}")
    return f"{path} written ({MODE:04o}), and checked by visudo"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    return aside.restore(journal)


def _visudo(host: System, path: str | None = None) -> Completed:
    which = [] if path is None else ["-f", path]
    return host.run(["visudo", "-c", *which], check=False, env={"LC_ALL": "C"})


def _error(problem: str, done: Completed) -> OperationError:
    return OperationError(problem, ran=done.argv, exit_code=done.code, evidence=done.lines())
