"""Small operations: modes, counts of resets, swap headers, records of environments."""

from __future__ import annotations

import os
import pwd
import stat
import struct
from pathlib import Path
from typing import Any, Dict

import pytest
from celeriac_host.code import environments
from celeriac_host.operations import remove_file, set_mode, write_file
from celeriac_host.state.journal import Journal
from celeriac_host.store import resets
from celeriac_host.system import files, swaps
from celeriac_host.system.errors import OperationError
from cuts import cuts
from hosts import Host

ME = pwd.getpwuid(os.geteuid()).pw_name


def mode_of(path: Path) -> tuple[int, int]:
    about = os.lstat(path)
    return stat.S_IMODE(about.st_mode), about.st_uid


def test_an_interrupted_mode_is_restored_and_never_wider_than_both(
    host: Host, journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    args = {"path": str(path), "mode": "0640", "owner": ME}
    for cut in cuts(tmp_path):
        files.remove(journal.path)
        path.chmod(0o604)
        cut(set_mode.do, args, host, journal.step(0))
        assert mode_of(path)[0] in (0o604, 0o600, 0o640)
        for _ in range(2):
            set_mode.undo(args, host, journal.step(0))
            assert mode_of(path)[0] == 0o604
    assert path.read_text() == "secret"


def test_an_owner_is_changed_and_restored(
    root: None, host: Host, journal: Journal, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(0o644)
    args = {"path": str(path), "mode": "0600", "owner": "nobody"}
    assert not set_mode.check(args, host)
    set_mode.do(args, host, journal.step(0))
    assert set_mode.check(args, host)
    assert mode_of(path) == (0o600, pwd.getpwnam("nobody").pw_uid)
    set_mode.undo(args, host, journal.step(0))
    assert mode_of(path) == (0o644, 0)


@pytest.mark.parametrize("kind", ["missing", "a link", "a folder"])
def test_only_a_regular_file_gets_a_mode(
    host: Host, journal: Journal, tmp_path: Path, kind: str
) -> None:
    path, victim = tmp_path / "key", tmp_path / "victim"
    victim.write_text("x")
    victim.chmod(0o604)
    if kind == "a link":
        path.symlink_to(victim)
    elif kind == "a folder":
        path.mkdir()
    args = {"path": str(path), "mode": "0600", "owner": ME}
    for call in (set_mode.check, lambda args, host: set_mode.do(args, host, journal.step(0))):
        with pytest.raises(OperationError) as refused:
            call(args, host)
        assert str(path) in refused.value.message
    assert mode_of(victim)[0] == 0o604
    assert set_mode.undo(args, host, journal.step(0)) is None


def test_an_unknown_user_is_named(host: Host, journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch()
    with pytest.raises(OperationError) as refused:
        set_mode.do(
            {"path": str(path), "mode": "0600", "owner": "no-such-user"}, host, journal.step(0)
        )
    assert "no-such-user" in refused.value.message


def test_a_file_with_the_right_mode_needs_no_change(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "unit"
    args = {"path": str(path), "text": "grün\n", "mode": "0644", "expects": None}
    assert not write_file.check(args, host)
    assert remove_file.check(args, host)
    path.write_text("grün\n", encoding="utf-8")
    path.chmod(0o600)
    assert not write_file.check(args, host)
    path.chmod(0o644)
    assert write_file.check(args, host)
    assert not remove_file.check(args, host)


# --- resets ------------------------------------------------------------------------------------


def test_resets_are_counted_by_database_and_row(state: str) -> None:
    resets.count(state, "/a.db", ["jobs:1", "jobs:2"], 1)
    resets.count(state, "/a.db", ["jobs:1"], 1)
    resets.count(state, "/b.db", ["jobs:1"], 1)
    resets.count(state, "/b.db", [], 1)
    assert resets.read(state, "/a.db") == {"jobs:2": 1, "jobs:1": 2}
    resets.count(state, "/a.db", ["jobs:1", "jobs:2", "jobs:3"], -1)
    assert resets.read(state, "/a.db") == {"jobs:1": 1}
    assert resets.read(state, "/b.db") == {"jobs:1": 1}
    assert resets.read(state, "/c.db") == {}


def test_the_oldest_counts_are_dropped(state: str) -> None:
    limit = resets.ROWS_LIMIT
    resets.count(state, "/a.db", (f"jobs:{number}" for number in range(limit)), 1)
    # Just reset again: it is no longer among the oldest.
    resets.count(state, "/a.db", ["jobs:0", "jobs:new"], 1)
    found = resets.read(state, "/a.db")
    assert len(found) == limit
    assert (found["jobs:0"], found["jobs:new"]) == (2, 1)
    assert "jobs:1" not in found


@pytest.mark.parametrize("content", [b"", b"[]", b'{"/a.db": 7}', b"\xff", b'{"/a.db": {"jobs'])
def test_an_unreadable_file_counts_as_empty(state: str, content: bytes) -> None:
    Path(state, "resets.json").write_bytes(content)
    assert resets.read(state, "/a.db") == {}
    resets.count(state, "/a.db", ["jobs:1"], 1)
    assert resets.read(state, "/a.db") == {"jobs:1": 1}


def test_an_interrupted_count_is_the_old_or_the_new(state: str) -> None:
    seen = set()
    for cut in cuts(state):
        files.remove(os.path.join(state, "resets.json"))
        resets.count(state, "/a.db", ["jobs:1"], 1)
        cut(resets.count, state, "/a.db", ["jobs:1"], 1)
        seen.add(resets.read(state, "/a.db")["jobs:1"])
    assert seen == {1, 2}


# --- records and pages -------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["w.service", "w@1.service", "../../etc/x", "a b\n.service"])
def test_installations_are_recorded_per_unit(state: str, unit: str) -> None:
    what: Dict[str, Any] = {"lock": "3f2c", "tool": "pip"}
    assert environments.recorded(state, unit) is None
    environments.record(state, unit, what)
    environments.record(state, "another.service", {"lock": "other"})
    assert environments.recorded(state, unit) == what
    folder = os.path.join(state, "dependencies")
    assert os.path.dirname(os.path.realpath(environments.record_path(state, unit))) == folder
    for _ in range(2):
        environments.record(state, unit, None)
        assert environments.recorded(state, unit) is None


def test_the_header_of_mkswap_is_read(tmp_path: Path) -> None:
    path = tmp_path / "swapfile"
    page = bytearray(swaps.PAGE_BYTES)
    path.write_bytes(page)
    assert swaps.header(str(path)) is None
    page[1024:1036] = struct.pack("<III", 1, 255, 0)
    page[1036:1052] = bytes(range(16))
    page[1052:1068] = b"celeriac".ljust(16, b"\0")
    page[-10:] = b"SWAPSPACE2"
    path.write_bytes(page + b"\0" * 8192)
    expected = ("00010203-0405-0607-0809-0a0b0c0d0e0f", "celeriac")
    assert swaps.header(str(path)) == expected
    path.write_bytes(page[:-1])
    assert swaps.header(str(path)) is None


def test_paths_of_swap_areas_may_contain_spaces() -> None:
    assert swaps.unescaped("/swap\\040file\\134x") == "/swap file\\x"
    assert swaps.unescaped("/swapfile") == "/swapfile"
