"""Durations are written as people write them."""

from __future__ import annotations

import pytest
from celeriac_host.system.durations import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (20.0, "20 s"),
        (60.0, "60 s"),
        (90.0, "90 s"),
        (1 / 3, "0.3 s"),
        (900.0, "15 min"),
        (121.5, "121.5 s"),
        (60.0 * 20_000_000, "20000000 min"),
        (1_234_567.0, "1234567 s"),
    ],
)
def test_without_fractions_of_minutes_or_exponents(seconds: float, words: str) -> None:
    assert duration(seconds) == words
