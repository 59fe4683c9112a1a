"""The policy file: who may have written it, and what it may say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator

import pytest
from celeriac_host.policy import document
from celeriac_host.policy.document import Unusable
from policies import Hardened

FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "policies.json"
KNOWN = json.loads(FIXTURES.read_text())


@pytest.mark.parametrize("name", KNOWN["valid"])
def test_a_valid_policy_is_read(name: str) -> None:
    policy = document.parse(json.dumps(KNOWN["valid"][name]).encode())
    assert policy.app_user == "shop"


@pytest.mark.parametrize("name", KNOWN["invalid"])
def test_an_invalid_policy_is_not(name: str) -> None:
    with pytest.raises(Unusable):
        document.parse(json.dumps(KNOWN["invalid"][name]).encode())


def test_everything_is_where_it_belongs() -> None:
    policy = document.parse(json.dumps(KNOWN["valid"]["everything"]).encode())
    assert policy.swap == ("/swapfile", 4294967296)
    assert policy.sysctl == {"vm.swappiness": (0, 100)}
    assert policy.commands == (("python", "manage.py", "migrate"),)
    assert policy.signers is not None
    assert policy.signers.ssh[0].name == "alice@example.com"
    assert policy.limits == (1, 1, 1, 1, 1)
    least = document.parse(json.dumps(KNOWN["valid"]["the least"]).encode())
    assert (least.databases, least.checkout, least.swap, least.signers) == ((), "", None, None)
    assert least.limits.bytes == 512 * 1024 * 1024


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"version": 1, "version": 1}', "twice"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_json_says_so(content: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        document.parse(content)


@pytest.fixture
def path(hardened: Hardened) -> Iterator[Path]:
    folder = hardened.root / "etc"
    folder.mkdir()
    found = folder / "policy.json"
    found.write_text(json.dumps(KNOWN["valid"]["the least"]))
    os.chmod(found, 0o644)
    yield found


def problem(path: Any) -> str:
    with pytest.raises(Unusable) as caught:
        document.load(str(path))
    return str(caught.value)


def test_roots_own_file_is_read(path: Path) -> None:
    assert document.load(str(path)).units == ("shop-worker.service",)


def test_a_file_that_others_could_write_is_not(path: Path) -> None:
    os.chmod(path, 0o664)
    assert problem(path) == f"users other than root may write to {path}; chmod go-w {path}"
    os.chmod(path, 0o644)
    os.chown(path, 1, 1)
    assert problem(path) == f"{path} belongs to user 1, not to root; chown root {path}"


def test_a_folder_above_it_that_others_could_write_is_not_trusted(path: Path) -> None:
    os.chmod(path.parent, 0o777)
    folder = path.parent
    assert problem(path) == f"users other than root may write to {folder}; chmod go-w {folder}"
    os.chmod(path.parent, 0o755)
    os.chown(path.parent, 1, 1)
    assert "belongs to user 1" in problem(path)


def test_neither_the_file_nor_a_folder_is_a_link(path: Path, hardened: Hardened) -> None:
    os.symlink(path, hardened.root / "policy.json")
    assert "cannot be read" in problem(hardened.root / "policy.json")
    os.symlink(path.parent, hardened.root / "link")
    assert "is a link" in problem(hardened.root / "link" / "policy.json")


def test_what_is_no_file_is_not_waited_for(hardened: Hardened) -> None:
    fifo = hardened.root / "fifo"
    os.mkfifo(fifo, 0o644)
    assert problem(fifo) == f"{fifo} is not a regular file"
    assert "not a regular file" in problem(hardened.app)
    assert "cannot be read" in problem(hardened.root / "absent")


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    path.write_text(" " * (document.LIMIT_BYTES + 1))
    assert "more than" in problem(path)
