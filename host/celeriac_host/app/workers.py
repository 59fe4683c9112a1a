"""What the command line of a Celery worker looks like."""

from __future__ import annotations

import os
import re
from typing import Sequence

INTERPRETER = re.compile(r"(python|pypy)[0-9.]*[a-z]*")
MODULE = re.compile(r"celery(\.__main__|\.bin\.(celery|worker))?")
# What setproctitle makes of a worker: `[celeryd: celery@host:MainProcess] -active- (…)`.
TITLE = re.compile(r"\[celeryd: .+\]")
# Options that stand before the sub-command and take the next word as their value.
INTERPRETER_VALUES = ("-W", "-X", "-Q", "--check-hash-based-pycs")
CELERY_VALUES = (
    "-A",
    "--app",
    "-b",
    "--broker",
    "--result-backend",
    "--loader",
    "--config",
    "--workdir",
)


def is_worker(argv: Sequence[str]) -> bool:
    """By its words alone: Celery as the program, `worker` as its sub-command.

    A shell, sudo or ssh that carries such a line is another program and does not match.
    """
    if not argv:
        return False
    if TITLE.match(argv[0]):
        return True
    program = os.path.basename(argv[0])
    rest = list(argv[1:])
    if INTERPRETER.fullmatch(program):
        program, rest = _script(rest)
    if program == "celeryd":
        return True
    return program == "celery" and _sub_command(rest) == "worker"


def _script(words: list[str]) -> tuple[str, list[str]]:
    """What an interpreter runs, and the words after it; `-c` text is nobody's worker."""
    at = 0
    while at < len(words):
        word = words[at]
        if word == "-m" and at + 1 < len(words):
            known = MODULE.fullmatch(words[at + 1])
            return ("celery" if known else ""), words[at + 2 :]
        if word in ("-c", "-"):
            return "", []
        if not word.startswith("-"):
            return os.path.basename(word), words[at + 1 :]
        at += 2 if word in INTERPRETER_VALUES else 1
    return "", []


def _sub_command(words: list[str]) -> str:
    at = 0
    while at < len(words):
        if not words[at].startswith("-"):
            return words[at]
        at += 2 if words[at] in CELERY_VALUES else 1
    return ""
