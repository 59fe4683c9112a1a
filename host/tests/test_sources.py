"""What a worker was started with, by content: no clock decides whether it is restarted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from celeriac_host.code import sources
from celeriac_host.facts import code
from hosts import Host

UNIT = "worker.service"


@pytest.fixture
def app(tmp_path: Path, host: Host) -> Path:
    """An app of the future, as after a clock that was set back; its worker was just started."""
    folder = tmp_path / "app"
    (folder / "package").mkdir(parents=True)
    (folder / "tasks.py").write_text("A = 1\n")
    (folder / "package" / "more.py").write_text("B = 1\n")
    os.utime(folder / "tasks.py", (4e9, 4e9))
    host.answers[("systemctl", "show")] = (
        0,
        f"WorkingDirectory={folder}\nUser=\nInvocationID=11\n",
    )
    sources.remember(host, UNIT)
    return folder


def same(host: Host) -> bool | None:
    answer: bool | None = code.look({"unit": UNIT}, host)["startedWithThese"]
    return answer


def test_times_alone_change_nothing(host: Host, app: Path) -> None:
    assert code.look({"unit": UNIT}, host)["newest"] == {
        "path": str(app / "tasks.py"),
        "modified": 4e9,
    }
    assert same(host) is True
    os.utime(app / "package" / "more.py", (5e9, 5e9))
    # What is no code of the app.
    (app / "notes.txt").touch()
    (app / ".venv").mkdir()
    (app / ".venv" / "x.py").touch()
    assert same(host) is True


def test_another_content_is_a_change_whatever_its_time(host: Host, app: Path) -> None:
    (app / "package" / "more.py").write_text("B = 2\n")
    os.utime(app / "package" / "more.py", (1.0, 1.0))
    assert same(host) is False
    (app / "package" / "more.py").write_text("B = 1\n")
    assert same(host) is True
    (app / "package" / "more.py").rename(app / "package" / "other.py")
    assert same(host) is False


def test_of_a_worker_that_celeriac_did_not_start_nothing_is_known(host: Host, app: Path) -> None:
    code_, out = host.answers[("systemctl", "show")]
    host.answers[("systemctl", "show")] = (code_, out.replace("InvocationID=11", "InvocationID=12"))
    assert same(host) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_record_says_nothing(host: Host, app: Path, content: bytes) -> None:
    Path(host.state, sources.FOLDER, UNIT + ".json").write_bytes(content)
    assert same(host) is None


def test_a_pipe_or_a_link_to_nowhere_does_not_stop_it(host: Host, app: Path) -> None:
    os.mkfifo(app / "pipe.py")
    (app / "gone.py").symlink_to(app / "nowhere")
    (app / "loop").symlink_to(app)
    assert same(host) is True


def test_a_huge_file_of_the_app_is_not_read(host: Host, app: Path) -> None:
    huge = app / "huge.py"
    huge.touch()
    os.truncate(huge, 1 << 40)
    before = sources.read(host, UNIT, str(app))
    os.truncate(huge, 1 << 41)
    after = sources.read(host, UNIT, str(app))
    assert before and after and before["fingerprint"] != after["fingerprint"]


@pytest.mark.usefixtures("root")
def test_sources_are_read_as_the_units_user(state: str, open_folder: Path) -> None:
    secret = open_folder / "secret.py"
    secret.write_text("A = 1\n")
    secret.chmod(0o600)
    app = open_folder / "app"
    app.mkdir()
    (app / "link.py").symlink_to(secret)
    host = Host(state, {("systemctl", "show"): (0, f"WorkingDirectory={app}\nUser=nobody\n")})
    before = sources.read(host, UNIT, str(app))
    secret.write_text("A = 2\n")
    after = sources.read(host, UNIT, str(app))
    assert before and after and before["fingerprint"] == after["fingerprint"]
