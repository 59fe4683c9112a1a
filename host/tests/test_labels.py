"""The only words that a column takes, as its CHECKs say them."""

from __future__ import annotations

from typing import List

import pytest
from celeriac_host.store import labels

LONG = 50_000
AB = ["a", "b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CHECK (status IN ('a', 'b'))", AB),
        ("CREATE TABLE t (id INT, Status TEXT NOT NULL CHECK(status in('a','b')), x TEXT)", AB),
        # Django, and SQLAlchemy's Enum without a type of the database
        ('CONSTRAINT "status_valid" CHECK ("status" IN (\'a\', \'b\'))', AB),
        ("CONSTRAINT jobstatus CHECK (status IN ('PENDING', 'IT''S'))", ["PENDING", "IT'S"]),
        ("CHECK ([status] IN ('a', 'b') AND length(status) < 9)", AB),
        ("CHECK (x BETWEEN 1 AND 2 AND (`status` IN ('a', 'b')))", AB),
        ("CHECK (status = 'a' OR status == 'b' OR status IS NULL)", AB),
        # as PostgreSQL prints them
        ("CHECK ((status = ANY (ARRAY['a'::text, 'b'::text])))", AB),
        (
            "CHECK (((status)::text = ANY ((ARRAY['a'::character varying,"
            " 'b'::character varying(9)])::text[])))",
            AB,
        ),
        (
            "CHECK (((status)::text = ANY (ARRAY[('a'::character varying)::text,"
            " ('b'::public.words)::text])))",
            AB,
        ),
        ("CHECK (((status = 'a'::text) OR (status = 'b'::text)))", AB),
        ("CHECK (status IN ('a', 'b')); CHECK ((status IN ('b', 'c'))) NOT VALID", ["b"]),
        ("-- CHECK (status IN ('x'))\n/* ' */ CHECK (status IN ('a', 'b'))", AB),
    ],
)
def test_the_words_of_a_list_are_told(text: str, expected: List[str]) -> None:
    assert labels.find("status", text) == expected


def test_a_domain_calls_its_column_value() -> None:
    assert labels.find("VALUE", "CHECK ((VALUE = ANY (ARRAY['a'::text, 'b'::text])))") == AB


@pytest.mark.parametrize(
    "text",
    [
        "CHECK (status IN ('a') OR ended_at IS NULL)",
        "CHECK ((status IN ('a')) = (error IS NOT NULL))",
        "CHECK (NOT status IN ('a'))",
        "CHECK (status NOT IN ('a'))",
        "CHECK (status <> 'a')",
        "CHECK (status > 'a')",
        "CHECK (lower(status) IN ('a'))",
        "CHECK (status || x IN ('a'))",
        "CHECK (status = 'a' || x)",
        "CHECK (status IN ('a', NULL))",
        "CHECK (status IN (1, 2))",
        "CHECK (status IN ('a' 'b'))",
        "CHECK (CASE WHEN x AND status IN ('a') AND y THEN 1 ELSE 0 END)",
        "CHECK (old_status IN ('a'))",
        "CHECK (status IN ('a')) NOT ENFORCED",
        "x TEXT DEFAULT 'CHECK (status IN (''a''))'",
        "CHECK (status IN ('a'",
        "CHECK (status = ANY (words))",
        "CHECK ()",
        f"CHECK (status IN ('{'a' * 101}'))",
    ],
)
def test_of_other_checks_nothing_is_told(text: str) -> None:
    assert labels.find("status", text) is None


@pytest.mark.parametrize(
    "text",
    [
        "CHECK (" * LONG + ")" * LONG,
        "CHECK (a)" * LONG,
        "CHECK (" + "(" * LONG + "status = 'a'",
        "CHECK (" + "(a AND " * LONG + "b" + ")" * LONG + ")",
        "CHECK (" + "status = 'a' OR " * LONG + "x)",
        "/*" * LONG,
        "'" * (LONG + 1),
        '"' * (LONG + 1),
        "[" * LONG,
        "status::" * LONG,
    ],
    ids=lambda text: text[:12],
)
def test_a_long_text_of_the_app_keeps_nobody_waiting(text: str) -> None:
    assert labels.find("status", text) is None
