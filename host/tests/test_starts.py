"""How a process was started, and which services run a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from celeriac_host.facts import services, starts
from hosts import Host

SECRET = "postgresql://shop:hunter2@db/shop"


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that a virtual environment's Python runs, found by PATH."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    environment = {
        "PATH": f"{folder}:/usr/bin",
        "DATABASE_URL": SECRET,
        "HOME": "/srv/app",
        "odd-": "x",
    }
    program = "print(1, flush=True)\nimport time; time.sleep(600)"
    with subprocess.Popen(
        ["python", "-c", program],
        executable=str(folder / "python"),
        env=environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout and process.stdout.readline()
        yield process
        process.kill()


def test_the_program_and_the_names_of_variables(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    [found] = starts.look({"pids": [sleeper.pid, 2**22 + 1]}, Host(str(tmp_path)))
    assert found["program"] == str(tmp_path / "venv" / "bin" / "python")
    assert {"DATABASE_URL", "HOME", "PATH"} <= set(found["variables"])
    assert "odd-" not in found["variables"]
    assert found["open"]["HOME"] == "/srv/app"
    assert set(found["open"]) == {"HOME", "PATH"}
    assert SECRET not in repr(found)
    assert found["above"][0]["pid"] == os.getpid()
    assert found["above"][-1]["pid"] == 1


def test_a_path_that_leads_elsewhere_is_not_the_program(tmp_path: Path) -> None:
    program = "print(1, flush=True)\nimport time; time.sleep(600)"
    with subprocess.Popen(
        ["/bin/cat", "-c", program], executable=sys.executable, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdout.readline()
        [found] = starts.look({"pids": [process.pid]}, Host(str(tmp_path)))
        process.kill()
    assert found["program"] is None


RUNS = "ExecStart={ path=%s ; argv[]=%s ; ignore_errors=no ; start_time=[n/a] }"
CELERY = RUNS % ("/srv/app/celery", "/srv/app/celery -A tasks worker")
SSHD = RUNS % ("/usr/sbin/sshd", "/usr/sbin/sshd -D")
SHOWN = f"""\
Id=celery-worker.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
{CELERY}

Id=ssh.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
{SSHD}

Id=gone-celery.service
LoadState=not-found
ActiveState=inactive
UnitFileState=

Id=celery-worker.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
{CELERY}
"""


def test_services_by_their_command(tmp_path: Path) -> None:
    names = ("celery-worker.service enabled", "celery@.service disabled", "-.x.service static")
    installed = "".join(f"{name} enabled\n" for name in names)
    host = Host(
        str(tmp_path),
        {("systemctl", "list-unit-files"): (0, installed), ("systemctl", "show"): (0, SHOWN)},
    )
    assert services.look({"command": "celery"}, host) == [
        {
            "unit": "celery-worker.service",
            "activeState": "active",
            "unitFileState": "enabled",
            "argv": ["/srv/app/celery", "-A", "tasks", "worker"],
        }
    ]
    assert host.asked[-1][-1] == "celery-worker.service"
