"""What the CHECKs of a table say of a column."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from celeriac_host.store import checks

LONG = 200_000


def told(text: str, name: str = "error") -> Dict[str, Any]:
    return checks.tell(name, "text", False, None, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CHECK (length(error) <= 40)", {"longest": 40}),
        ("CHECK (char_length((error)::text) < 40)", {"longest": 39}),
        ('CHECK (json_valid("error")\n AND length( [error] ) <= 7)', {"longest": 7, "json": True}),
        ("CHECK (length(error < 5))", {}),
        ("CHECK (length(errors) <= 5 AND json_valid(other))", {}),
    ],
)
def test_length_and_json_are_read(text: str, expected: Dict[str, Any]) -> None:
    assert told(text) == {"name": "error", "type": "text", **expected}


@pytest.mark.parametrize(
    "text",
    [
        "length(" + " " * LONG,
        "length(" + "(" * LONG,
        "length(error" + ")" * LONG,
        "length(error" + " )" * LONG,
        "length(error::" + "a " * LONG,
        "length(error::a " * LONG,
    ],
    ids=["spaces", "opening", "closing", "closing apart", "cast", "casts"],
)
def test_a_long_text_of_the_app_keeps_nobody_waiting(text: str) -> None:
    assert told("CHECK (" + text) == {"name": "error", "type": "text"}
