"""The file of samples: appending, rotation, torn lines, and reading from a cursor on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from celeriac_host.facts import samples as fact
from celeriac_host.state import samples
from celeriac_host.system.errors import OperationError
from hosts import Host

UNIT = "celery-worker@a.service"


@pytest.fixture
def place(state: str) -> Path:
    os.makedirs(samples.folder(state))
    return Path(samples.path(state, UNIT))


def sample(number: int, size: int = 0) -> Dict[str, Any]:
    return {"v": 1, "at": number, "pad": "x" * size}


def numbers(found: Dict[str, Any]) -> List[int]:
    return [each["at"] for each in found["samples"]]


def test_reading_goes_on_from_the_cursor(state: str, place: Path) -> None:
    for number in range(3):
        samples.append(state, UNIT, sample(number))
    first = samples.page(state, UNIT, None)
    samples.append(state, UNIT, sample(3))
    second = samples.page(state, UNIT, first["cursor"])
    third = samples.page(state, UNIT, second["cursor"])
    assert [numbers(each) for each in (first, second, third)] == [[0, 1, 2], [3], []]
    assert third["cursor"] == second["cursor"]
    assert place.stat().st_mode & 0o777 == 0o600


def test_a_unit_without_samples(host: Host) -> None:
    expected: Dict[str, Any] = {
        "samples": [],
        "cursor": None,
        "more": False,
        "restarted": False,
        "sampling": False,
        "soakSeconds": None,
        "soakLimits": None,
    }
    assert fact.look({"unit": UNIT, "after": None}, host) == expected


@pytest.mark.parametrize("name", ["../x", "", ".x", "a/b", "a\n"])
def test_what_is_no_unit_is_refused(host: Host, name: str) -> None:
    with pytest.raises(OperationError, match="invalid unit name"):
        fact.look({"unit": name, "after": None}, host)


def test_a_rotation_loses_no_cursor(state: str, place: Path) -> None:
    bound = 2000
    first = None
    seen: List[int] = []
    for number in range(30):
        samples.append(state, UNIT, sample(number, 100), bound)
        if number % 4 == 3:
            found = samples.page(state, UNIT, first)
            assert not found["restarted"]
            first = found["cursor"]
            seen += numbers(found)
    assert seen == list(range(28))
    kept = sum(os.path.getsize(place.parent / name) for name in os.listdir(place.parent))
    assert kept <= bound
    assert sorted(os.listdir(place.parent)) == [place.name, place.name + ".1"]


def test_a_cursor_of_a_file_that_is_gone_restarts(state: str, place: Path) -> None:
    samples.append(state, UNIT, sample(0, 100), 2000)
    cursor = samples.page(state, UNIT, None)["cursor"]
    for number in range(1, 30):
        samples.append(state, UNIT, sample(number, 100), 2000)
    found = samples.page(state, UNIT, cursor)
    assert found["restarted"]
    assert numbers(found) == numbers(samples.page(state, UNIT, None))
    assert numbers(found)[-1] == 29


def test_an_answer_is_bounded_and_says_that_there_is_more(
    state: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "ANSWER_BYTES", 1000)
    for number in range(50):
        samples.append(state, UNIT, sample(number, 100), 10_000)
    cursor, seen, asked = None, [], 0
    while True:
        found = samples.page(state, UNIT, cursor)
        assert len(json.dumps(found["samples"])) < 1200
        seen += numbers(found)
        cursor = found["cursor"]
        asked += 1
        if not found["more"]:
            break
    assert seen == list(range(seen[0], 50))
    assert asked > 4


def test_garbage_without_end_stops_nobody(
    state: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "ANSWER_BYTES", 1000)
    samples.append(state, UNIT, sample(0))
    with open(place, "ab") as file:
        file.write(b"\xff" * 5000 + b"\n")
    samples.append(state, UNIT, sample(1))
    cursor, seen = None, []
    for _ in range(20):
        found = samples.page(state, UNIT, cursor)
        seen += numbers(found)
        cursor = found["cursor"]
        if not found["more"]:
            break
    assert seen == [0, 1]


def test_a_torn_line_is_not_read_and_is_swept(state: str, place: Path) -> None:
    samples.append(state, UNIT, sample(0))
    with open(place, "ab") as file:
        file.write(b'{"v": 1, "at"')
    before = samples.page(state, UNIT, None)
    samples.append(state, UNIT, sample(1))
    assert numbers(before) == [0]
    assert numbers(samples.page(state, UNIT, before["cursor"])) == [1]
    assert place.read_bytes().count(b"\n") == 2


def test_a_torn_first_line(state: str, place: Path) -> None:
    place.write_bytes(b'{"v"')
    assert samples.page(state, UNIT, None)["cursor"] is None
    samples.append(state, UNIT, sample(1))
    assert numbers(samples.page(state, UNIT, None)) == [1]


def test_lines_that_are_no_samples_are_left_out(state: str, place: Path) -> None:
    samples.append(state, UNIT, sample(0))
    with open(place, "ab") as file:
        file.write(b"\n[1]\n\x00\x00\n" + b"[" * 5000 + b"\n")
    samples.append(state, UNIT, sample(1))
    assert numbers(samples.page(state, UNIT, None)) == [0, 1]


def test_a_sample_that_is_too_long_is_not_written(state: str, place: Path) -> None:
    with pytest.raises(ValueError, match="a sample of"):
        samples.append(state, UNIT, sample(0, samples.LINE_LIMIT_BYTES))
    assert not place.exists()


def test_a_full_disk_leaves_no_half_line(make_disk: Callable[[int], Path]) -> None:
    disk = make_disk(64)
    state = str(disk)
    os.makedirs(samples.folder(state))
    written = 0
    with pytest.raises(OSError, match="No space left"):
        for written in range(100):
            samples.append(state, UNIT, sample(written, 3000))
    place = Path(samples.path(state, UNIT))
    assert place.read_bytes().endswith(b"\n")
    assert numbers(samples.page(state, UNIT, None)) == list(range(written))


def test_a_link_is_not_followed(state: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"v": 1}\n')
    os.symlink(tmp_path / "x", place)
    with pytest.raises(OSError, match="symbolic links"):
        samples.append(state, UNIT, sample(1))
    with pytest.raises(OSError, match="symbolic links"):
        samples.page(state, UNIT, None)
