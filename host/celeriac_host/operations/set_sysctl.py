"""Sets one kernel setting in the running kernel.

Touches: that setting, until the next boot.
Undo: restores the value.
"""

from __future__ import annotations

import re
from typing import Any

from celeriac_host.state.journal import StepJournal
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def check(args: dict[str, Any], host: System) -> bool:
    wanted: list[str] = args["value"].split()
    return _read(args["name"]) == wanted


def do(args: dict[str, Any], host: System, journal: StepJournal) -> str:
    name, value = args["name"], args["value"]
    before = _read(name)
    journal.keep("value", " ".join(before))
    _write(name, value)
    if _read(name) != value.split():
        raise OperationError(
            f"the kernel did not accept {name} = {value}: its value is {' '.join(_read(name))}"
        )
    return f"{name} = {value} (was {' '.join(before)})"


def undo(args: dict[str, Any], host: System, journal: StepJournal) -> str | None:
    before = journal.get("value")
    if before is None:
        return None
    if _read(args["name"]) != before.split():
        _write(args["name"], before)
    return f"{args['name']} = {before} again"


def _path(name: str) -> str:
    # Dots separate words; a dot within a word is written as a slash (interface `eth0.1`).
    words = [word.replace("/", ".") for word in name.split(".")]
    if not all(re.fullmatch(r"[A-Za-z0-9_:*-]+(\.[A-Za-z0-9_:*-]+)*", word) for word in words):
        raise OperationError(f"invalid name of a kernel setting: {name!r}")
    return "/proc/sys/" + "/".join(words)


def _read(name: str) -> list[str]:
    try:
        with open(_path(name), encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        raise OperationError(f"this kernel has no setting {name}") from None
    except OSError as error:
        raise OperationError(f"cannot read {name}: {error.strerror}") from None


def _write(name: str, value: str) -> None:
    try:
        with open(_path(name), "w", encoding="utf-8") as file:
            file.write(value + "\n")
    except OSError as error:
        raise OperationError(
            f"cannot set {name} to {value}: {error.strerror} "
            "(in a container, only the outer host can set it)"
        ) from None
