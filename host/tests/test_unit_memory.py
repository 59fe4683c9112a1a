"""The memory counters of a unit's cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest
from celeriac_host.facts import unit
from celeriac_host.system import units

FILES = {
    "memory.current": "1000\n",
    "memory.peak": "1500\n",
    "memory.events": "low 0\nhigh 3\noom_kill 1\n",
    "memory.stat": "anon 700\nfile 250\nanon_thp 5\n",
}


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, text in {**FILES, **changes}.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(units, "cgroup_folder", lambda group: str(folder))


def test_what_is_no_cache_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch)
    assert unit._memory("/x") == {
        "currentBytes": 1000,
        "peakBytes": 1500,
        "anonBytes": 700,
        "events": {"low": 0, "high": 3, "oom_kill": 1},
    }


def test_without_its_counter_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch, **{"memory.stat": "file 250\n"})
    found = unit._memory("/x")
    assert found is not None and found["anonBytes"] is None
    (tmp_path / "memory.stat").unlink()
    found = unit._memory("/x")
    assert found is not None and found["anonBytes"] is None
