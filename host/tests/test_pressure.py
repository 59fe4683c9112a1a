"""How long processes waited for memory and I/O."""

from __future__ import annotations

from pathlib import Path

import pytest
from celeriac_host.facts import pressure
from celeriac_host.system import units
from hosts import Host, make_state

SOME = "some avg10=12.50 avg60=3.00 avg300=0.75 total=123456\n"
FULL = "full avg10=1.00 avg60=0.00 avg300=0.00 total=99\n"


def test_of_the_machine_and_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, group = tmp_path / "machine", tmp_path / "group"
    machine.mkdir()
    group.mkdir()
    (machine / "memory").write_text(SOME + FULL)
    (group / "memory.pressure").write_text(SOME + FULL)
    (group / "io.pressure").write_text(SOME)
    monkeypatch.setattr(pressure, "MACHINE", str(machine))
    monkeypatch.setattr(units, "cgroup_folder", lambda name: str(group) if name == "/x" else None)
    read = {
        "some": {"avg10": 12.5, "avg60": 3.0, "avg300": 0.75},
        "full": {"avg10": 1.0, "avg60": 0.0, "avg300": 0.0},
    }

    def look(cgroup: str) -> object:
        out = f"ControlGroup={cgroup}\n"
        host = Host(make_state(str(tmp_path / cgroup[1:])), {("systemctl", "show"): (0, out)})
        return pressure.look({"unit": "shop"}, host)

    assert look("/x") == {
        "machine": {"memory": read, "io": None},
        "unit": {"memory": read, "io": None},
    }
    # It does not run.
    assert look("/y") == {
        "machine": {"memory": read, "io": None},
        "unit": {"memory": None, "io": None},
    }
