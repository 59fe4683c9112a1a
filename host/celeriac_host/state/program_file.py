"""Where this agent is as a file on the host (`transaction/program.py`), and how it is started."""

from __future__ import annotations

import os
import sys
from typing import Sequence

NAME = "program.py"
# Its modules, compiled.
COMPILED = "program.bin"


def path(state: str) -> str:
    return os.path.join(state, NAME)


def compiled_path(state: str) -> str:
    return os.path.join(state, COMPILED)


def command(state: str, words: Sequence[str]) -> list[str]:
    return [sys.executable or "/usr/bin/python3", "-I", "-S", "-u", path(state), *words]
