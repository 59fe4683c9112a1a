"""The lines are those of the test of `src/verify/journal-lines.ts`: both must say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from celeriac_host.sampler.rate_limits import is_rate_limit

FIXTURE = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "rate-limit-lines.json"
LINES = json.loads(FIXTURE.read_text())


@pytest.mark.parametrize("line", LINES["statuses"])
def test_a_status(line: str) -> None:
    assert is_rate_limit(line)


@pytest.mark.parametrize("line", LINES["others"])
def test_another_number(line: str) -> None:
    assert not is_rate_limit(line)
