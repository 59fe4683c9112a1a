"""Work of our own in a child of the agent."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from celeriac_host.system import forked
from celeriac_host.system.errors import OperationError, RunnerGone
from hosts import Host


def value(host: Host, work: Any, timeout: float = 20.0) -> Any:
    return forked.value(host, "reading /srv", work, timeout)


def test_it_works_in_another_process_and_leaves_none(host: Host) -> None:
    child = value(host, lambda: {"pid": os.getpid(), "text": "é" * 100_000})
    assert child["text"] == "é" * 100_000
    assert child["pid"] != os.getpid()
    assert not os.path.exists(f"/proc/{child['pid']}")


def test_it_failed(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise OperationError("cannot read /srv/x")

    for work, why in (
        (refuse, "cannot read /srv/x"),
        (lambda: os.stat("/srv/absent"), r"FileNotFoundError: .*'/srv/absent'"),
        (lambda: b"no JSON", "TypeError: .*bytes.*"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "its process ended without an answer"),
    ):
        with pytest.raises(OperationError, match=f"^reading /srv failed: {why}$"):
            value(host, work)
    assert capfd.readouterr().err == ""


def test_it_hangs(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def hang() -> None:
        path.write_text(str(os.getpid()))
        time.sleep(600)

    with pytest.raises(OperationError, match=r"^reading /srv did not finish within 3 s"):
        value(host, hang, timeout=3)
    child = int(path.read_text())
    # Ended, and waited for.
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)


def test_it_holds_nothing_of_the_agent(host: Host) -> None:
    def opened() -> Any:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sorted(os.readlink(each) for each in links if os.path.lexists(each))

    with open("/etc/passwd", "rb"):
        found = value(host, opened)
    assert found[:3] == ["/dev/null"] * 3
    # What is left is the pipe of its answer.
    assert len(found) == 4 and found[3].startswith("pipe:")


def test_it_ends_in_time_without_the_agent(host: Host) -> None:
    # The alarm that is set.
    assert 10 < value(host, lambda: signal.alarm(0), timeout=20.0) <= 21


def test_the_runner_is_gone(host: Host) -> None:
    host.runner_gone = True
    with pytest.raises(RunnerGone):
        value(host, lambda: time.sleep(60))


def test_an_endless_answer(host: Host) -> None:
    with pytest.raises(OperationError, match="its answer is too long"):
        value(host, lambda: "x" * (forked.ANSWER_LIMIT_BYTES + 1))
