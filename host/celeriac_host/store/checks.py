"""What the CHECKs of a table say of a column, as far as it can be read from their text."""

from __future__ import annotations

import re
from typing import Any

from celeriac_host.store import labels

# A longer DEFAULT is no constant that is worth telling.
DEFAULT_LIMIT = 200


def tell(
    name: str,
    kind: str,
    not_null: bool,
    default: str | None,
    checks: str,
    words: list[str] | None = None,
    domain: str = "",
) -> dict[str, Any]:
    """A column of the fact `stores`.

    `checks` and `domain`: SQL that holds the CHECKs of its table, and of the domain that is its
    type. `words`: those of an enum.
    """
    found: dict[str, Any] = {"name": name, "type": kind}
    if not_null:
        found["notNull"] = True
    if default is not None and len(default) <= DEFAULT_LIMIT:
        found["default"] = default
    lists = [] if words is None else [words]
    for own, text in ((name, checks), ("VALUE", domain)):
        if "check" not in text.lower():
            continue
        longest = _longest(own, text)
        if longest:
            found["longest"] = min([*longest, found.get("longest", longest[0])])
        if _demands_json(own, text):
            found["json"] = True
        said = labels.find(own, text)
        lists += [] if said is None else [said]
    taken = [word for word in lists[0] if all(word in each for each in lists)] if lists else []
    if taken:
        found["labels"] = taken
    return found


def _longest(name: str, checks: str) -> list[int]:
    lengths = re.findall(
        rf"\b(?:char(?:acter)?_)?length ?{_spelled(name)}(<=?) ?(\d{{1,9}})\b", _plain(checks), re.I
    )
    return [int(count) - (sign == "<") for end, sign, count in lengths if ")" in end]


def _demands_json(name: str, checks: str) -> bool:
    ends = re.findall(rf"\bjson_valid ?{_spelled(name)}", _plain(checks), re.I)
    return any(")" in end for end in ends)


def _spelled(name: str) -> str:
    # "error", [error] and `error`; PostgreSQL adds brackets and a cast: length((error)::text).
    spelled = "|".join({re.escape(name), re.escape(name.replace('"', '""'))})
    # No two parts match the same character: the text is the app's, and may be long and hostile.
    return rf"\([\s(]*[\"`\[]?(?:{spelled})[\"`\]]?([\s)]*(?:::[\w ]*[\s)]*)?)"


def _plain(checks: str) -> str:
    return " ".join(checks.split())
