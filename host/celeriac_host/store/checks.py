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
    own = rf"\(*\s*[\"`\[]?(?:{spelled})[\"`\]]?\s*\)*(?:::[\w ]+)?\s*\)+"
    lengths = re.findall(
        rf"\b(?:char(?:acter)?_)?length\s*\(\s*{own}\s*(<=?)\s*(\d+)", checks, re.I
    )
    if lengths:
        found["longest"] = min(int(count) - (sign == "<") for sign, count in lengths)
    if re.search(rf"\bjson_valid\s*\(\s*{own}", checks, re.I):
        found["json"] = True
    return found
