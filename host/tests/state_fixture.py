"""Writes host/tests/fixtures/state-v<N>: a state folder as this version of the agent leaves it.

`PYTHONPATH=host python3 host/tests/state_fixture.py`, once for each version of the state, before
the release that brings it. Later versions must read it: see test_state_version.py.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from celeriac_host.state import ledger, notices, samples, version
from celeriac_host.transaction import control, runner
from hosts import Host
from transactions import UNIT, World, begin, write

FIXTURES = Path(__file__).resolve().parent / "fixtures"
FIRST, SECOND = "20260101T000000-0001", "20260101T000001-0002"
# In the place of the folder that the transactions changed, and of the state itself.
WORLD, STATE = "@WORLD@", "@STATE@"


def write_state(state: str, world: World) -> None:
    """Two releases: the first is confirmed, the second awaits its verdict."""
    host = Host(state)
    control._make_state(state)
    version.claim(state)
    for ident, operations in (
        (FIRST, world.operations()),
        (SECOND, [write(world.changed, "newest changed\n", "new changed\n")]),
    ):
        meta = {"unit": UNIT, "holder": "run 7", "actor": "anna", "sha": "3f2c9e1"}
        folder = begin(state, operations, ident, **meta)
        runner.carry_out(folder, host, lambda told: None)
        ledger.record(state, ident, {"meta": meta, "operations": operations})
    ledger.judge(state, UNIT, [FIRST], "confirmed", "run 7", "verified")
    ledger.prove(state, UNIT, FIRST, {"soak": "proven", "by": "run 9", "why": "", "figures": {}})
    ledger.await_verdict(state, UNIT, SECOND, 900.0)
    notices.remember(state, UNIT, ["the unit reads queues from a variable"])
    os.makedirs(samples.folder(state))
    samples.append(state, UNIT, {"v": 1, "at": 1_780_000_000, "memory": 120_000_000})


def main() -> None:
    """Writes the folder of this version anew."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "world")
        state = os.path.join(folder, "state")
        write_state(state, world)
        target = FIXTURES / f"state-v{version.VERSION}"
        shutil.rmtree(target, ignore_errors=True)
        for path in sorted(Path(state).rglob("*")):
            # An empty reserve of disk space and the agent itself say nothing about the format.
            if path.is_file() and path.name not in ("reserve", "program.py", "program.bin"):
                copy = target / path.relative_to(state)
                copy.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text().replace(str(world.folder), WORLD)
                copy.write_text(text.replace(state, STATE))


if __name__ == "__main__":
    main()
