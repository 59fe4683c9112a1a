"""The lasting findings that runs have told: the next run shows only those that are new.

A run replaces what the last one told about the same thing, so a finding that went away and comes
back is told again. Forgetting one costs no more than telling it again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from celeriac_host.system import files

NOTICES = "notices.json"
LIMIT_BYTES = 256 * 1024
# Things, findings about one of them, characters of one.
KEEP, EACH, LONG = 100, 50, 2000


def told(state: str) -> dict[str, list[str]]:
    """What each thing's last run told; empty if that is unknown."""
    try:
        with open(os.path.join(state, NOTICES), "rb") as file:
            found = json.loads(file.read(LIMIT_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and all(map(_is_texts, found.values())) else {}


def remember(state: str, about: str, messages: list[str]) -> None:
    """Records what a run told about a thing. Never fails: a full disk is no reason for it."""
    known = told(state)
    known.pop(about, None)
    if messages:
        known[about] = [message[:LONG] for message in messages[:EACH]]
    kept = dict(list(known.items())[-KEEP:])
    content = json.dumps(kept, indent=1).encode("ascii")
    while len(content) > LIMIT_BYTES:
        del kept[next(iter(kept))]
        content = json.dumps(kept, indent=1).encode("ascii")
    with suppress(OSError):
        os.makedirs(state, 0o700, exist_ok=True)
        path = os.path.join(state, NOTICES)
        files.write(path, content, 0o600, os.geteuid(), os.getegid())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
