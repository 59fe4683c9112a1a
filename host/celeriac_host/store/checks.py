"""What the CHECKs of a table say of a column, as far as it can be read from their text."""

from __future__ import annotations

import re
from typing import Any

# A longer DEFAULT is no constant that is worth telling.
DEFAULT_LIMIT = 200


def tell(name: str, kind: str, not_null: bool, default: str | None, checks: str) -> dict[str, Any]:
    """A column of the fact `stores`; `checks`: SQL that holds the CHECKs of its table."""
    found: dict[str, Any] = {"name": name, "type": kind}
    if not_null:
        found["notNull"] = True
    if default is not None and len(default) <= DEFAULT_LIMIT:
        found["default"] = default
    if "check" not in checks.lower():
        return found
    # "error", [error] and `error`; PostgreSQL adds brackets and a cast: length((error)::text).
    spelled = "|".join({re.escape(name), re.escape(name.replace('"', '""'))})
    # No two parts match the same character: the text is the app's, and may be long and hostile.
    own = rf"\([\s(]*[\"`\[]?(?:{spelled})[\"`\]]?([\s)]*(?:::[\w ]*[\s)]*)?)"
    text = " ".join(checks.split())
    lengths = re.findall(rf"\b(?:char(?:acter)?_)?length ?{own}(<=?) ?(\d{{1,9}})\b", text, re.I)
    longest = [int(count) - (sign == "<") for end, sign, count in lengths if ")" in end]
    if longest:
        found["longest"] = min(longest)
    if any(")" in end for end in re.findall(rf"\bjson_valid ?{own}", text, re.I)):
        found["json"] = True
    return found
