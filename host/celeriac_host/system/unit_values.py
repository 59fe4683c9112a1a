"""What values of `systemctl show`, and of control groups, mean."""

from __future__ import annotations

import re

# ActiveState of a unit that runs, and of one that neither runs nor is on its way.
SERVING = ("active", "reloading", "refreshing")
RESTING = ("inactive", "failed")
# cgroup v1 has a number near 2^63 for "no limit": the largest number of whole pages.
NO_LIMIT_BYTES = 1 << 62


def split_words(text: str) -> list[str]:
    """Splits a list of strings as systemctl prints it: bare, "…" or $'…'."""
    found = re.findall(r"(?:\$'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S)+", text, re.DOTALL)
    return [unquoted(word) for word in found]


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def unquoted(word: str) -> str:
    """One word of such a list."""
    # `show-environment` prints NAME=$'…', `show` prints $'NAME=…'.
    match = re.fullmatch(r"((?:\w+=)?)(?:\$'(.*)'|\"(.*)\")", word, re.DOTALL)
    if match is None:
        return word
    inner = match.group(2) if match.group(2) is not None else match.group(3)
    return match.group(1) + re.sub(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|.)", _unescaped, inner)


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] == "x" and len(code) == 3:
        return chr(int(code[1:], 16))
    if code.isdigit() and len(code) == 3:
        return chr(int(code, 8))
    return ESCAPES.get(code, code)
