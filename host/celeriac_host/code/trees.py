"""Works in the folders of an app, by a process of the app's user (`app/programs`)."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any, BinaryIO, NamedTuple, Sequence

from celeriac_host.app import app_process
from celeriac_host.system import owned
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.system import System

TIMEOUT_SECONDS = 600.0
SHARED = "own_folders"
SYSTEMS_PYTHON = "/usr/bin/python3"


class NotOwn(OperationError):
    """A path belongs to somebody else than the app's user; `problem` and `fix` are for people."""

    def __init__(self, path: str, problem: str, fix: str) -> None:
        super().__init__(f"{problem}; {fix}")
        self.path = path
        self.problem = problem
        self.fix = fix

    def fact(self, user: str) -> dict[str, Any]:
        """What a look says of it; `user` is the app's."""
        return {
            "kind": "not-own",
            "path": self.path,
            "user": user,
            "problem": self.problem,
            "fix": self.fix,
        }


def work(
    host: System,
    whom: Identity,
    program: str,
    what: str,
    args: dict[str, Any],
    payload: Any = None,
    stdin: BinaryIO | None = None,
    timeout: float = TIMEOUT_SECONDS,
    cwd: str = "/",
) -> Any:
    """Runs a command of a program; returns its value. Raises NotOwn, OperationError, RunnerGone."""
    imports = app_process.IMPORTS.get(program, ())
    text = app_process.assembled(program, (SHARED, *imports))
    done = host.run(
        [_python(whom), "-I", "-S", "-c", text, what, json.dumps(args)],
        timeout=timeout,
        input=None if payload is None else json.dumps(payload).encode("ascii"),
        stdin=stdin,
        user=whom,
        cwd=cwd,
        check=False,
    )
    try:
        said = json.loads(done.out)
        if "notOwn" in said:
            about = said["notOwn"]
            raise NotOwn(str(about["path"]), str(about["problem"]), str(about["fix"]))
        if "error" in said:
            raise OperationError(str(said["error"]))
        return said["value"]
    except (ValueError, KeyError, TypeError, RecursionError):
        lines = done.lines()
        why = lines[-1] if lines else f"exit code {done.code}"
        raise OperationError(f"{what} as {whom.name} failed: {why}", evidence=lines) from None


def _python(whom: Identity) -> str:
    """The agent's own; if that is in a folder that only root may enter, the system's."""
    mine = sys.executable
    ways = [mine, os.path.realpath(mine)]
    if whom.uid == os.geteuid() or all(map(_is_for_everybody, ways)):
        return mine
    return SYSTEMS_PYTHON


def _is_for_everybody(path: str) -> bool:
    while path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return False
        path = os.path.dirname(path)
    return True


class Releases(NamedTuple):
    """A folder with code folders: the target of its link `current`, as written, and their names."""

    current: str | None
    current_name: str | None
    names: list[str]


def releases(host: System, whom: Identity, base: str) -> Releases | None:
    """None if the folder does not exist. Raises NotOwn, OperationError."""
    found = work(host, whom, "tree", "look", {"base": base})
    return found and Releases(found["current"], found["currentName"], found["names"])


def current(host: System, whom: Identity, base: str) -> str | None:
    """The target of the link `current`, as written; None if missing. Raises OperationError."""
    found = work(host, whom, "tree", "look", {"base": base})
    if found is None:
        raise OperationError(f"{base} is not a folder")
    if not found["isLink"]:
        raise OperationError(f"{base}/current is not a link; move it away")
    target: str | None = found["current"]
    return target


def remove(host: System, whom: Identity, folder: str, names: Sequence[str]) -> list[str]:
    """Removes folders in a folder of the user; returns the names of those that are left."""
    if not names:
        return []
    asked = {"folder": folder, "names": list(names)}
    left: list[str] = work(host, whom, "tree", "remove", asked)
    if left and os.geteuid() == 0 and whom.uid != 0:
        _remove_byte_code(host, whom, folder, left)
        left = work(host, whom, "tree", "remove", {**asked, "names": left})
    return left


def _remove_byte_code(host: System, whom: Identity, folder: str, names: list[str]) -> None:
    """As root, from an open folder: the byte code of a worker that ran as another user."""
    with owned.opened(folder, os.O_RDONLY | os.O_DIRECTORY) as found:
        owned.require_owner(found, whom, "the app")
        work(host, identity("0"), "tree", "remove-left", {"names": names}, cwd=found.proc)


def parsed(text: str) -> dict[str, str]:
    """A JSON object of strings; empty if it is invalid."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in pairs if isinstance(value, str)}
