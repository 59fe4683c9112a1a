"""Programs of an app in a transient service, and what they cannot do without one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest
from celeriac_host.facts import limits as limits_fact
from celeriac_host.system import child, environment_files, services
from celeriac_host.system.errors import OperationError
from celeriac_host.system.following import Budget, follow
from celeriac_host.system.identities import identity
from celeriac_host.system.system import System
from hosts import Host

LIMITED = services.Restrictions((), {"NOFILE": ("100", "200")}, 0o027, False)
SEEN = {
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "ProtectHome": "no",
    "DeviceAllow": "/dev/null rw\n/dev/zero r",
    "StateDirectory": "shop shop/cache",
    "SystemCallFilter": "~ptrace",
    "SystemCallErrorNumber": "1",
    "CapabilityBoundingSet": "cap_chown",
    "MemoryMax": "524288000",
    "TasksMax": "[not set]",
    "UMask": "0027",
    "LimitNOFILE": "3000",
    "LimitNOFILESoft": "2000",
}


def test_the_restrictions_of_a_unit() -> None:
    found = services.restrictions("shop.service", SEEN)
    assert found.needs_systemd and found.umask == 0o027
    assert found.rlimits == {"NOFILE": ("2000", "3000")}
    assert set(found.properties) >= {
        ("ProtectSystem", "strict"),
        ("DeviceAllow", "/dev/null rw"),
        ("DeviceAllow", "/dev/zero r"),
        ("JoinsNamespaceOf", "shop.service"),
        ("ReadWritePaths", "-/var/lib/shop -/var/lib/shop/cache"),
        ("SystemCallErrorNumber", "1"),
        ("CapabilityBoundingSet", "cap_chown"),
        ("MemoryMax", "524288000"),
    }
    names = [name for name, _ in found.properties]
    assert "ProtectHome" not in names and "TasksMax" not in names


def test_what_a_unit_takes_out_of_the_environment_of_systemd_is_out() -> None:
    found = services.restrictions("shop.service", {"UnsetEnvironment": "O LANG 'A=b c'"})
    assert set(found.unset) >= {"O", "LANG", "A"}
    words = services.command(services.Service("x", "/run/x"), ["/bin/true"], None, "/", found, 60)
    (unset,) = (word for word in words if word.startswith("UnsetEnvironment="))
    assert unset.startswith("UnsetEnvironment=O LANG A")


def test_a_unit_that_restricts_nothing_needs_no_service() -> None:
    seen = {"ProtectSystem": "no", "MemoryMax": "infinity", "UMask": "0022"}
    assert not services.restrictions("shop.service", seen).needs_systemd


def test_restrictions_that_only_systemd_can_set_are_not_dropped(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "are_there", lambda: False)
    host = System(state)
    assert not host.can_restrict(LIMITED)
    with pytest.raises(OperationError) as refused:
        host.can_restrict(services.restrictions("shop.service", SEEN))
    assert "the unit restricts it by" in refused.value.message


HARD: Dict[str, str] = {
    "PLAIN": "x",
    "QUOTES": """it's "here" \\ `id` $HOME ${HOME} $$""",
    "LINES": "a\n b\t\n#c",
    "EMPTY": "",
    "BLANKS": "  x  ",
    "UTF": "\u00fc\u20ac",
}


def test_variables_reach_it_unchanged_in_a_file_of_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "FOLDER", str(tmp_path / "programs"))
    odd = {"BASH_FUNC_x%%": "() { :; }", "BYTES": "\udcff", "BELL": "\x07"}
    service = services.prepare({**HARD, **odd})
    path = os.path.join(service.folder, "environment")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, encoding="utf-8", newline="") as file:
        assert environment_files.parse(file.read()) == HARD
    words = services.command(service, ["/bin/echo", "$5"], None, "/srv", LIMITED, 60)
    assert "SECRET" not in " ".join(words) and words[-2:] == ["/bin/echo", "$$5"]
    with open(os.path.join(service.folder, "ended"), "w") as file:
        file.write("signal killed SEGV\n")
    assert services.ended(service) == services.End(-11, "signal")
    assert services.ended(service) is None and os.listdir(services.FOLDER) == []


def test_what_a_killed_process_has_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "FOLDER", str(tmp_path))
    for name in ("4194305-00", f"{os.getpid()}-00"):
        (tmp_path / name).mkdir()
    services.prepare({})
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 2 and all(each.startswith(str(os.getpid())) for each in left)


@pytest.mark.usefixtures("root")
def test_without_a_service_it_gains_no_privileges_either(host: Host) -> None:
    nobody = identity("nobody")
    script = "grep NoNewPrivs /proc/self/status; ulimit -Hn; ulimit -c; umask; ls -l /proc/self/fd"
    with open("/etc/shadow", "rb"):
        done = host.run(
            ["/bin/sh", "-c", script], user=nobody, env={"ONLY": "x"}, cwd="/", asked=LIMITED
        )
    lines = done.out.split("\n")
    assert lines[0].split() == ["NoNewPrivs:", "1"]
    assert lines[1:4] == ["200", "0", "0027"]
    assert "shadow" not in done.out


@pytest.mark.usefixtures("root")
def test_its_environment_is_that_of_the_unit_and_nothing_else(host: Host) -> None:
    os.environ["CELERIAC_TEST_SECRET"] = "x"
    try:
        done = host.run(
            ["/usr/bin/env"], user=identity("nobody"), env={"ONLY": "x"}, cwd="/", asked=LIMITED
        )
    finally:
        del os.environ["CELERIAC_TEST_SECRET"]
    names = {line.partition("=")[0] for line in done.out.splitlines()}
    assert names <= {"ONLY", "PATH", "PWD", "SHLVL", "_"}


FLOODS = [
    ("yes x | head -c 3000000", Budget(1024 * 1024, 10_000_000), "more than 1024 KiB"),
    ("yes x | head -c 3000000 >&2", Budget(1024 * 1024, 10_000_000), "more than 1024 KiB"),
    ("yes x | head -n 5000", Budget(1024 * 1024, 1000), "more than 1000 lines"),
]


@pytest.mark.parametrize(("script", "most", "said"), FLOODS)
def test_a_program_that_floods_is_ended(host: Host, script: str, most: Budget, said: str) -> None:
    lines: List[bytes] = []
    with pytest.raises(OperationError) as refused:
        follow(host, ["/bin/sh", "-c", script], lines.append, 30, most=most)
    assert said in refused.value.message
    assert sum(map(len, lines)) <= 1024 * 1024 + 262144


def test_a_service_that_systemd_refuses_is_an_error_with_its_reason() -> None:
    with child.Program(["/bin/true"]) as process:
        assert child.refusal(process, ["/srv/app"], "") is None
        process.service = services.Service("celeriac-program-1-0.service", "/none")
        said = "Unknown assignment: ProtectAll=yes\n"
        refused = child.refusal(process, ["/srv/app"], said)
        assert refused is not None
        assert refused.message.endswith("systemd-run: Unknown assignment: ProtectAll=yes")
        process.end = services.End(203, "exit-code")
        assert "could not execute it" in str(child.refusal(process, ["/srv/app"], ""))
        process.end = services.End(1, "exit-code")
        assert child.refusal(process, ["/srv/app"], "") is None
        process.wait()
    assert isinstance(process, subprocess.Popen)


def test_a_program_of_the_moment_is_no_other_service_with_a_limit(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("web.service", "celeriac-program-812-0a0b0c0d.service", "shop.service")
    blocks = [
        f"Id={name}\nActiveState=active\nSlice=\nMemoryMax=1000\nMemoryCurrent=5" for name in names
    ]
    answers = {
        ("systemctl", "show", "--no-pager", "-p", "ControlGroup"): (0, "ControlGroup=\n"),
        ("systemctl", "show"): (0, "\n\n".join(blocks)),
    }
    found = limits_fact.look({"unit": "shop"}, Host(state, answers))
    assert [each["name"] for each in found["services"]] == ["web.service"]
