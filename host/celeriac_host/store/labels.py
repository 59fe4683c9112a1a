"""The only words that a column takes, by the CHECKs of its table.

A CHECK is read only where it says nothing else: `status IN ('a', 'b')`, `status = 'a' OR status =
'b'`, `status = ANY (ARRAY['a', 'b'])`, alone or joined to others by AND, or by OR to `status IS
NULL`. A word wrongly missing would keep a table from repair; of any other CHECK nothing is told.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

# A list that is longer, or a word that is, is none of statuses.
WORDS_LIMIT = 100
WORD_LIMIT = 100
# Every alternative ends with the text at the latest: no character is read twice.
TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*(?:'|\Z)|"(?:[^"]|"")*(?:"|\Z)|`[^`]*(?:`|\Z)"""
    r"""|\bARRAY\s?\[|\[[^\]]*(?:\]|\Z)|\w+|::|[^\s\w]""",
    re.S | re.I,
)
TYPE_WORDS = ("varying", "precision", "with", "without", "time", "zone")


class _Check(NamedTuple):
    # Of all CHECKs of the table.
    tokens: List[str]
    # The place of an opening bracket → that of its closing one.
    closing: Dict[int, int]
    # What stands between the brackets of this one.
    start: int
    end: int


def find(column: str, checks: str) -> list[str] | None:
    """The words; None: the CHECKs do not tell. `checks`: SQL that holds them; a domain's VALUE."""
    found: list[str] | None = None
    for check in _read(checks):
        for start, end in _joined_by_and(check):
            words = _words_of(column, check, start, end)
            if words is not None:
                found = words if found is None else [word for word in found if word in words]
    if not found or len(found) > WORDS_LIMIT or any(len(word) > WORD_LIMIT for word in found):
        return None
    return found


@lru_cache(maxsize=4)
def _read(text: str) -> Tuple[_Check, ...]:
    """Each CHECK of a table; the columns of one table ask one after another."""
    all_tokens = [each for each in TOKEN.findall(text) if not each.startswith(("--", "/*"))]
    tokens = list(_without_casts(all_tokens))
    closing: Dict[int, int] = {}
    opened: List[int] = []
    for at, token in enumerate(tokens):
        if token == "(":
            opened.append(at)
        elif token == ")" and opened:
            closing[opened.pop()] = at
    checks = []
    at = 0
    while at < len(tokens):
        end = closing.get(at + 1, 0) if tokens[at].upper() == "CHECK" else 0
        if not end:
            at += 1
            continue
        if [each.upper() for each in tokens[end + 1 : end + 3]] != ["NOT", "ENFORCED"]:
            checks.append(_Check(tokens, closing, at + 2, end))
        at = end + 1
    return tuple(checks)


def _without_casts(tokens: List[str]) -> Iterator[str]:
    """`(status)::character varying(20)` is `(status)`."""
    at = 0
    while at < len(tokens):
        if tokens[at] != "::":
            yield tokens[at]
            at += 1
            continue
        at += 2
        while at < len(tokens) and (tokens[at] == "." or tokens[at].lower() in TYPE_WORDS):
            at += 2 if tokens[at] == "." else 1
        if tokens[at : at + 1] == ["("] and tokens[at + 2 : at + 3] == [")"]:
            at += 3
        while tokens[at : at + 1] == ["[]"]:
            at += 1


def _joined_by_and(check: _Check) -> Iterator[Tuple[int, int]]:
    if any(token.upper() == "CASE" for token in check.tokens[check.start : check.end]):
        return
    todo = [(check.start, check.end)]
    while todo:
        start, end = _bare(check, *todo.pop())
        parts = list(_split(check, start, end, "AND"))
        if len(parts) == 1 or len(list(_split(check, start, end, "OR"))) > 1:
            yield start, end
        else:
            todo += parts


def _bare(check: _Check, start: int, end: int) -> Tuple[int, int]:
    while start < end and check.closing.get(start) == end - 1:
        start, end = start + 1, end - 1
    return start, end


def _split(check: _Check, start: int, end: int, word: str) -> Iterator[Tuple[int, int]]:
    at = first = start
    while at < end:
        if check.tokens[at].upper() == word:
            yield first, at
            first = at + 1
        at = max(check.closing.get(at, at), at) + 1
    yield first, end


def _words_of(column: str, check: _Check, start: int, end: int) -> list[str] | None:
    """The words, if this says which of them the column takes, and nothing else."""
    found: list[str] = []
    for first, last in _split(check, start, end, "OR"):
        own = _alternative(column, check.tokens[slice(*_bare(check, first, last))])
        if own is None:
            return None
        found += own
    return found or None


def _alternative(column: str, tokens: List[str]) -> Optional[List[str]]:
    depth = 0
    while tokens[depth : depth + 1] == ["("]:
        depth += 1
    rest = tokens[depth + 1 :]
    named = depth < len(tokens) and _name(tokens[depth]) == column.lower()
    if not named or rest[:depth] != [")"] * depth:
        return None
    rest = rest[depth:]
    said = [each.upper() for each in rest[:2]]
    if said == ["IS", "NULL"] and len(rest) == 2:
        return []
    if said == ["IN", "("]:
        return _list(rest[1:])
    if said == ["=", "ANY"]:
        return _list(rest[2:])
    equal = rest[2:] if said == ["=", "="] else rest[1:] if said[:1] == ["="] else []
    return _list(equal) if len(equal) == 1 else None


def _name(token: str) -> str:
    quote = token[0]
    if quote in "\"`[" and len(token) > 1:
        closing = "]" if quote == "[" else quote
        return token[1:-1].replace(closing * 2, closing).lower()
    return token.lower()


def _list(tokens: List[str]) -> Optional[List[str]]:
    """Words with a comma between each two, in whatever brackets."""
    plain = [each for each in tokens if each not in ("(", ")", "]") and each[:5].upper() != "ARRAY"]
    words, commas = plain[::2], plain[1::2]
    is_list = len(words) == len(commas) + 1 and all(each == "," for each in commas)
    if not is_list or any(len(each) < 2 or each[0] + each[-1] != "''" for each in words):
        return None
    return [each[1:-1].replace("''", "'") for each in words]
