"""What bounds the memory of a unit, as systemd and the kernel show it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from celeriac_host.facts import limits
from celeriac_host.system import units

SHOWN = """\
Id=celery-worker.service
ActiveState=active
Slice=system.slice
MemoryMax=838860800
MemoryCurrent=52428800
ControlGroup=/system.slice/celery-worker.service

Id=redis.service
ActiveState=active
Slice=system.slice
MemoryMax=268435456
MemoryCurrent=10485760

Id=old.service
ActiveState=inactive
Slice=
MemoryMax=1048576
MemoryCurrent=[not set]

Id=free.service
ActiveState=active
Slice=system.slice
MemoryMax=infinity
MemoryCurrent=1048576

Id=ancient.service
ActiveState=active
MemoryMax=18446744073709551615

Id=shop.slice
ActiveState=active
MemoryMax=1073741824
"""


class Host:
    moment = None

    def systemd(self, calls: Any) -> None:
        return None

    def run(self, argv: list[str], **_: Any) -> Any:
        assert argv[:2] == ["systemctl", "show"]

        class Done:
            out = SHOWN if "*.slice" in argv else "ControlGroup=/nowhere\n"

        return Done()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(units, "CGROUP_ROOT", str(tmp_path))
    return tmp_path


def look() -> dict[str, Any]:
    return limits.look({"unit": "celery-worker"}, Host())  # type: ignore[arg-type]


def test_services_and_slices_with_a_limit(root: Path) -> None:
    seen = look()
    assert seen["slices"] == [{"name": "shop.slice", "memoryMaxBytes": 1 << 30}]
    assert seen["services"] == [
        {
            "name": "redis.service",
            "activeState": "active",
            "slice": "system.slice",
            "memoryMaxBytes": 268435456,
            "currentBytes": 10485760,
        },
        {
            "name": "old.service",
            "activeState": "inactive",
            "slice": "",
            "memoryMaxBytes": 1048576,
            "currentBytes": None,
        },
    ]


def test_a_host_has_no_limit_of_its_own(root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    seen = look()
    assert (seen["controller"], seen["system"], seen["unitBytes"]) == (True, None, None)


def test_the_limit_of_a_container(root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpu memory\n")
    (root / "memory.max").write_text("1073741824\n")
    (root / "memory.current").write_text("524288000\n")
    (root / "memory.stat").write_text("anon 400000000\nfile 24288000\nfile_mapped 3\n")
    assert look()["system"] == {"limitBytes": 1 << 30, "usedBytes": 500000000}
    (root / "memory.max").write_text("max\n")
    assert look()["system"] is None


def test_version_1(root: Path) -> None:
    assert look()["controller"] is False
    folder = root / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (folder / "memory.usage_in_bytes").write_text("1000\n")
    seen = look()
    assert (seen["controller"], seen["system"]) == (True, None)
    (folder / "memory.limit_in_bytes").write_text("5000\n")
    (folder / "memory.stat").write_text("cache 1\ntotal_cache 300\n")
    assert look()["system"] == {"limitBytes": 5000, "usedBytes": 700}


def test_a_kernel_without_the_controller(root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpuset cpu io pids\n")
    assert look()["controller"] is False


def test_memory_of_processes_counts_shared_pages_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = root / "nowhere"
    folder.mkdir()
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")
    with open("/proc/self/status", encoding="ascii") as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
    found = look()["unitBytes"]
    assert found is not None
    assert 0 < found <= resident * 1024 * 2
