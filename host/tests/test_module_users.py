"""Who counts as a user of a module that a release brought."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest
from celeriac_host.app import module_users
from celeriac_host.system import processes

MODULE = "/usr/local/lib/celeriac/8ec8082386e2/celeriac_support.py"
TEXT = "[Service]\nExecStart=/usr/bin/python3 -m celery -A app worker\nEnvironment=PYTHONPATH={}\n"


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("shop-worker.service", ["shop-worker.service"]),
        # A program of a run that was killed; it ends by itself, after the undo has looked.
        ("celeriac-program-1013-1ea96e8f.service", []),
        ("celeriac-keeper-1013-1ea96e8f.service", []),
        ("celeriac-program-shop.service", ["celeriac-program-shop.service"]),
    ],
)
def test_its_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, users: List[str]
) -> None:
    monkeypatch.setattr(module_users, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(processes, "each", lambda: iter(()))
    (tmp_path / name).write_text(TEXT.format(MODULE.rpartition("/")[0]))
    assert list(module_users.find(MODULE)) == users


def test_a_running_program_of_celeriac_is_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_users, "FOLDERS", ())
    running = ["celeriac-program-1013-1ea96e8f.service", "shop-worker.service"]
    monkeypatch.setattr(module_users, "_running", lambda sought, aliases: iter(running))
    assert module_users.find(MODULE) == {"shop-worker.service": "runs"}
