"""Reading the output of systemctl and journalctl."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from celeriac_host.facts import unit as unit_fact
from celeriac_host.system import unit_journal, units
from celeriac_host.system.identities import identity
from hosts import Host


@pytest.mark.parametrize(
    ("value", "expected"),
    [("812", 812), ("0", 0), ("", 0), (None, 0), ("[not set]", 0), ("infinity", 0), ("-1", 0)],
)
def test_numbers(value: str | None, expected: int) -> None:
    assert units.number(value) == expected


def test_properties_of_several_lines_are_joined(state: str) -> None:
    printed = "MainPID=812\nEnvironment=A=$'x\nfoo=bar'\nEnvironmentFiles=/a\nEnvironmentFiles=/b\n"
    host = Host(state, {("systemctl", "show"): (0, printed)})
    assert units.show(host, "-odd.service", ["MainPID"]) == {
        "MainPID": "812",
        "Environment": "A=$'x\nfoo=bar'",
        "EnvironmentFiles": "/a\n/b",
    }
    # A name that begins with a dash is not an option.
    assert host.asked[-1][-2:] == ["--", "-odd.service"]


def entry(message: Any, pid: str = "812") -> str:
    return json.dumps({"MESSAGE": message, "_PID": pid})


def test_invalid_journal_lines_are_skipped(state: str) -> None:
    out = "\n".join([entry("one"), "{torn", "[]", entry(list(b"gr\xfcn")), entry(None)])
    host = Host(state, {("journalctl",): (1, out)})
    found = unit_journal.journal(host, "w.service")
    assert [unit_journal.message(each) for each in found] == ["one", "gr\ufffdn", ""]


def test_evidence_omits_routine_lines_of_systemd(state: str) -> None:
    out = "\n".join(
        [
            entry("Starting w.service...", "1"),
            entry("w.service: Scheduled restart job, restart counter is at 5.", "1"),
            entry("Traceback:\n\n  x\nModuleNotFoundError: No module named 'tasks'"),
            entry("w.service: Main process exited, code=exited, status=1/FAILURE", "1"),
            entry("Started is what the app says"),
        ]
    )
    lines = unit_journal.evidence(Host(state, {("journalctl",): (0, out)}), "w.service")
    assert lines == [
        "Traceback:",
        "  x",
        "ModuleNotFoundError: No module named 'tasks'",
        "w.service: Main process exited, code=exited, status=1/FAILURE",
        "Started is what the app says",
    ]


CALM = ["[2026-01-01 00:00:00,1: INFO/MainProcess] celery@vps ready.", "DEBUG | pool | 1 child"]
OWN_END = "w.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED"


def killed(name: str, number: int, how: str = "killed") -> str:
    return f"w.service: Main process exited, code={how}, status={number}/{name}"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ""),
        (["  x", "ModuleNotFoundError: No module named 'tasks'", "bye"], "ModuleNotFoundError: N"),
        (["celery.exceptions.ImproperlyConfigured: no broker"], "celery.exceptions.Improperly"),
        (["[E 1] kombu.exceptions.OperationalError: refused"], "kombu.exceptions.OperationalE"),
        (["w.service: Main process exited", "last of the app"], "last of the app"),
        (["w.service: A process was killed by the OOM killer.", "ready"], "w.service: A process"),
        (
            ["w.service: Failed at step EXEC spawning /x: No such file", "w.service: Main exited"],
            "w.service: Failed at step EXEC",
        ),
        (["w.service: Main process exited"], "w.service: Main process exited"),
        # The last INFO line explains nothing.
        ([*CALM, killed("KILL", 9)], "main process killed by SIGKILL"),
        ([*CALM, killed("SEGV", 11, "dumped")], "main process killed by SIGSEGV"),
        (["ValueError: of a task, long ago", killed("KILL", 9)], "main process killed by SIGKILL"),
        (
            [*CALM, "w.service: Watchdog timeout (limit 30s)!", killed("ABRT", 6, "dumped")],
            "main process killed by SIGABRT: it did not answer its watchdog",
        ),
        (
            ["w.service: A process of this unit has been killed by the OOM killer.", OWN_END],
            "w.service: A process of this unit has been killed by the OOM killer.",
        ),
        # Of an end by systemd itself, the worker knows the reason.
        (
            [
                "[2026-01-01 00:00:00: ERROR/MainProcess] consumer: Cannot connect to redis",
                "[2026-01-01 00:00:02: INFO/MainProcess] trying again",
                "w.service: start operation timed out. Terminating.",
                killed("TERM", 15),
            ],
            "Cannot connect to redis",
        ),
        (
            [
                "[x: ERROR/MainProcess] consumer: Cannot connect to redis://db:6379/0: Error 111.",
                "Trying again in 4.00 seconds... (2/100)",
                "worker: Warm shutdown (MainProcess)",
                "w.service: start operation timed out. Terminating.",
            ],
            "Cannot connect to redis://db:6379/0: Error 111",
        ),
        # It was connected in the end, or failed by something else.
        (
            ["[E] consumer: Cannot connect to redis: no", "[I] Connected to redis", "bye"],
            "bye",
        ),
        (
            ["[E] consumer: Cannot connect to redis: no", "ValueError: of the app"],
            "ValueError: of the app",
        ),
        (
            [*CALM, "w.service: start operation timed out.", killed("TERM", 15)],
            "main process ended",
        ),
        ([*CALM, OWN_END], "main process exited with code 3"),
        (["Unable to load celery application.", OWN_END], "Unable to load celery application."),
        (CALM, CALM[-1]),
    ],
)
def test_the_most_telling_line_is_found(lines: list[str], told: str) -> None:
    assert unit_journal.reason(lines).startswith(told)
    assert bool(told) == bool(unit_journal.reason(lines))


@pytest.mark.parametrize(
    ("code", "status", "lines", "told"),
    [
        (2, 9, CALM, "main process killed by SIGKILL"),
        (3, 11, [], "main process killed by SIGSEGV"),
        (2, 99, [], "main process killed by SIG99"),
        # It runs, or ended by itself: the lines decide.
        (0, 0, CALM, CALM[-1]),
        (1, 0, CALM, CALM[-1]),
        (2, 9, [*CALM, killed("TERM", 15)], "main process killed by SIGTERM"),
    ],
)
def test_systemd_knows_the_signal_that_journald_lost(
    host: Host, code: int, status: int, lines: list[str], told: str
) -> None:
    host.answers[("systemctl", "show")] = (0, f"ExecMainCode={code}\nExecMainStatus={status}\n")
    assert unit_journal.why(host, "w.service", lines) == told


@pytest.mark.parametrize(
    ("code", "said", "down"),
    [
        (0, "running\n", False),
        (1, "degraded\n", False),
        (1, "starting\n", False),
        (1, "stopping\n", True),
        (1, "", True),
    ],
)
def test_a_shutdown_is_detected(state: str, code: int, said: str, down: bool) -> None:
    host = Host(state, {("systemctl", "is-system-running"): (code, said)})
    host.runner_gone = True
    assert units.going_down(host) == down


def test_a_command_that_was_killed_is_repeated(state: str) -> None:
    host = Host(state, {("systemctl", "is-system-running"): (-15, "")})
    assert units.going_down(host)
    assert len(host.asked) == 3


def test_exposure_is_a_number_or_nothing(state: str) -> None:
    said = "→ Overall exposure level for w.service: 9.6 UNSAFE 😨\n"
    assert units.exposure(Host(state, {("systemd-analyze",): (0, said)}), "w.service") == 9.6
    assert units.exposure(Host(state, {("systemd-analyze",): (1, "")}), "w.service") is None


def test_the_drop_in_with_limits_is_not_part_of_a_unit(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is temporary, so plans must not see it."""
    monkeypatch.setattr("celeriac_host.system.limits.FOLDER", str(tmp_path))
    folder = tmp_path / "app.service.d"
    folder.mkdir()
    held, other = folder / "zzz-celeriac-until-start.conf", folder / "other.conf"
    for path in (held, other):
        path.write_text("[Service]\nMemoryMax=1G\n")
    shown = {"Id": "app.service", "LoadState": "loaded", "DropInPaths": f"{other} {held}"}
    lines = "\n".join(f"{name}={value}" for name, value in shown.items())
    host.answers[("systemctl", "show-environment")] = (0, "PATH=/usr/bin")
    host.answers[("systemctl", "show")] = (0, lines)
    seen = unit_fact.look({"name": "app.service"}, host)
    assert [each["path"] for each in seen["dropIns"]] == [str(other)]


def test_a_unit_tells_home_and_path_and_no_other_variable(host: Host, tmp_path: Path) -> None:
    """They decide which program a shell finds. The others may be secret."""
    file = tmp_path / "env"
    file.write_text("PATH=/srv/app/venv/bin\nSECRET_KEY=abc\n")
    shown = {
        "Id": "app.service",
        "LoadState": "loaded",
        "User": "root",
        "Environment": "TOKEN=def PATH=/usr/local/bin",
        "EnvironmentFiles": f"{file} (ignore_errors=no)",
    }
    lines = "\n".join(f"{name}={value}" for name, value in shown.items())
    host.answers[("systemctl", "show-environment")] = (0, "PATH=/usr/bin\nLANG=C")
    host.answers[("systemctl", "show")] = (0, lines)
    seen = unit_fact.look({"name": "app.service", "programs": [str(file)]}, host)
    # A file of variables beats Environment=.
    assert seen["variables"] == {"HOME": "/root", "PATH": "/srv/app/venv/bin"}
    assert seen["programs"][str(file)] == {"exists": True, "shebang": None, "script": None}
    file.unlink()
    assert unit_fact.look({"name": "app.service"}, host)["variables"] == {}


def test_a_link_of_the_unit_s_user_tells_nothing_that_the_user_may_not_read(
    state: str, app_folder: Path
) -> None:
    """`app_folder` is below a folder of root's that everybody may enter."""
    host, closed = Host(state), app_folder.parent / "closed"
    closed.mkdir(0o700)
    nobody = identity("nobody")
    script, secret = "#!/bin/sh\necho own\n", "#!/bin/sh\ntoken=abc\n"
    for path, mode, text in (
        (closed / "backup.sh", 0o755, secret),
        (app_folder.parent / "private.sh", 0o700, secret),
        (app_folder.parent / "open.sh", 0o755, script),
        (app_folder / "celery", 0o700, script),
    ):
        path.write_text(text)
        path.chmod(mode)
    os.chown(app_folder / "celery", nobody.uid, nobody.gid)
    app_folder.chmod(0o700)
    shebang = {}
    for name, target in {
        "link-1": closed / "backup.sh",
        "link-2": app_folder.parent / "private.sh",
        "link-3": app_folder.parent / "open.sh",
        "link-4": app_folder / "celery",
    }.items():
        (app_folder / name).symlink_to(target)
        found = unit_fact._program(str(app_folder / name), host, nobody)
        assert found["exists"] is True
        shebang[name] = found["shebang"]
    told = "#!/bin/sh"
    assert shebang == {"link-1": None, "link-2": None, "link-3": told, "link-4": told}
    # Root reads for root.
    mine = unit_fact._program(str(closed / "backup.sh"), host, None)
    assert mine["script"] == secret
