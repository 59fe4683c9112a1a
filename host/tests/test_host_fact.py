"""What a host says of itself."""

from __future__ import annotations

import time
from pathlib import Path

from celeriac_host.facts import host
from hosts import Host


def test_the_clock_of_systemds_timestamps(tmp_path: Path) -> None:
    answers = {
        ("systemctl", "--version"): (0, "systemd 252 (252.30)\n"),
        ("systemd-detect-virt",): (1, "none\n"),
    }
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    found = host.look({}, Host(str(tmp_path), answers))
    assert before <= found["monotonic"] <= time.clock_gettime(time.CLOCK_MONOTONIC)
    assert (found["systemd"], found["container"]) == (252, None)
