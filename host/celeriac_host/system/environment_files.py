"""EnvironmentFile= as systemd reads it (src/basic/env-file.c)."""

from __future__ import annotations

import itertools
import re
from typing import Callable, Iterator

from celeriac_host.system.errors import OperationError

MOST_FILES = 100
NEWLINES = "\n\r"
BLANKS = " \t\n\r"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A comment that ends with a backslash: until version 253 the next line belongs to it.
GOES_ON = re.compile(r"^[ \t]*[#;].*\\$", re.MULTILINE)


def parse(text: str, comments_go_on: bool = False) -> dict[str, str]:
    """The variables of a file; systemd ignores assignments with an invalid name.

    comments_go_on: as before systemd 254, see `version_matters`.
    """
    found = _Reader(text, comments_go_on).assignments()
    return {name: value for name, value in found if NAME.fullmatch(name)}


def matching(pattern: str) -> list[str]:
    """The files of `EnvironmentFile=` with wildcards, in systemd's order; bounded."""
    import glob

    found = sorted(itertools.islice(glob.iglob(pattern), MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise OperationError(f"EnvironmentFile={pattern} matches more than {MOST_FILES} files")
    return found


def version_matters(text: str) -> bool:
    """Whether versions of systemd read this text differently."""
    return GOES_ON.search(text) is not None


class _Reader:
    def __init__(self, text: str, comments_go_on: bool) -> None:
        self.text = text
        self.at = 0
        self.comments_go_on = comments_go_on

    def assignments(self) -> Iterator[tuple[str, str]]:
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in BLANKS:
                self.at += 1
            elif char in "#;":
                self._skip_comment()
            else:
                name = self._upto(lambda each: each in NEWLINES + "=")
                if self._next() == "=":
                    yield name.rstrip(BLANKS), self._value()

    def _next(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return char

    def _upto(self, ends: Callable[[str], bool]) -> str:
        start = self.at
        while self.at < len(self.text) and not ends(self.text[self.at]):
            self.at += 1
        return self.text[start : self.at]

    def _skip_comment(self) -> None:
        while True:
            self._upto(lambda each: each in NEWLINES + "\\")
            if self._next() != "\\":
                return
            if self._next() in NEWLINES and not self.comments_go_on:
                return

    def _value(self) -> str:
        """A quote counts only at the beginning of the value, or right after a quoted part.

        In `it's` and `{"a": 1}` it is an ordinary character.
        """
        out = ""
        while True:
            char = self._next()
            if char == "" or char in NEWLINES:
                return out
            if char == "'":
                out += self._upto(lambda each: each == "'")
                self.at += 1
            elif char == '"':
                out += self._double_quoted()
            elif char not in BLANKS:
                self.at -= 1
                return out + self._unquoted()

    def _double_quoted(self) -> str:
        out = ""
        while True:
            char = self._next()
            if char in ('"', ""):
                return out
            if char == "\\":
                char = self._next()
                if char in NEWLINES:
                    continue
                if char not in '"\\`$':
                    out += "\\"
            out += char

    def _unquoted(self) -> str:
        out = ""
        # How much of `out` stays: only blanks behind an escaped character are removed.
        firm = 0
        while True:
            char = self._next()
            if char == "" or char in NEWLINES:
                return out[:firm] + out[firm:].rstrip(BLANKS)
            if char == "\\":
                char = self._next()
                out += "" if char in NEWLINES else char
                firm = len(out)
            else:
                out += char
