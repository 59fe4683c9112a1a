"""Which file systems the app of a unit writes to, and how full they are."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import pytest
from celeriac_host.facts import room
from celeriac_host.system.mounts import all_mounts, mount_of
from hosts import Host, make_state

UNIT = "shop.service"


def line(device: str, point: str, kind: str = "ext4", options: str = "rw,relatime") -> str:
    return f"36 35 {device} / {point} {options} shared:1 - {kind} /dev/x rw\n"


def look(
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    mounts: str,
    paths: "List[str] | None" = None,
    **seen: str,
) -> Dict[str, Dict[str, Any]]:
    """By mount point."""
    shown = {"WorkingDirectory": folder, "User": "root", "ReadWritePaths": "", **seen}
    out = "".join(f"{name}={value}\n" for name, value in shown.items())
    monkeypatch.setattr(room, "mounted", lambda: all_mounts(mounts))
    host = Host(make_state(folder), {("systemctl", "show"): (0, out)})
    found = room.look({"unit": UNIT, "paths": paths or []}, host)
    return {each["mountPoint"]: each for each in found}


def test_the_folder_of_the_app_and_what_is_mounted_below_it(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = os.path.realpath(str(tmp_path))
    os.makedirs(os.path.join(app, "up loads"))
    mounts = (
        line("8:1", "/")
        + line("8:2", "/elsewhere")
        + line("8:3", app)
        + line("8:4", f"{app}/up\\040loads")
        + line("8:5", f"{app}-other")
    )
    found = look(monkeypatch, app, mounts)
    assert sorted(found) == sorted(["/", app, f"{app}/up loads"])
    about = os.statvfs(app)
    assert found[app]["type"] == "ext4"
    assert found[app]["bytes"]["used"] + found[app]["bytes"]["free"] <= (
        about.f_blocks * about.f_frsize
    )
    assert found[app]["bytes"]["free"] > 0


def test_folders_that_the_unit_and_the_query_name(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = "".join(
        line(f"8:{number}", point)
        for number, point in enumerate(["/", "/var/lib/shop", "/data", "/jobs", "/var/log"])
    )
    found = look(
        monkeypatch,
        str(tmp_path),
        mounts,
        ["/jobs/new"],
        StateDirectory="shop cache",
        ReadWritePaths="-/data/x +/y",
    )
    assert sorted(found) == ["/", "/data", "/jobs", "/var/lib/shop", "/var/log"]


def test_each_device_once_and_none_that_cannot_be_written(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = os.path.realpath(str(tmp_path))
    mounts = (
        line("8:1", "/")
        + line("8:1", "/var/log")
        + line("8:2", "/tmp", "tmpfs", "ro,nosuid")
        + line("8:3", app)
        + line("0:4", f"{app}/proc", "proc")
    )
    assert sorted(look(monkeypatch, app, mounts)) == sorted(["/", app])


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "cifs", "9p", "autofs"])
def test_a_file_system_that_may_not_answer_is_not_asked(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    asked: List[Any] = []
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    app = os.path.realpath(str(tmp_path))
    found = look(monkeypatch, app, line("8:1", "/") + line("0:9", f"{app}/media", kind))
    assert found[f"{app}/media"] == {
        "mountPoint": f"{app}/media",
        "type": kind,
        "bytes": None,
        "inodes": None,
    }
    assert f"{app}/media" not in asked
    assert "/" in asked


def test_of_several_mounts_at_one_point_the_last_is_seen() -> None:
    mounts = all_mounts(line("8:1", "/srv", "nfs4") + line("8:2", "/srv", "xfs") + "torn\n")
    assert [each.kind for each in mounts.values()] == ["xfs"]
    assert mount_of("/srv/a/../b", mounts) == mounts["/srv"]
    assert mount_of("/other", mounts) is None
