"""Which changes of a unit file and a drop-in are allowed."""

from __future__ import annotations

from typing import Sequence

import pytest
from celeriac_host.policy import unit_text
from celeriac_host.policy.refusal import Refused
from celeriac_host.policy.unit_text import Line

SUPPORT = "/usr/local/lib/celeriac/0123456789ab"
OLD = """\
# The worker.
[Unit]
After=network.target redis.service
[Service]
User=shop
Environment=A=1 "B=x y"
Environment=PYTHONPATH=/srv/lib
EnvironmentFile=/etc/default/shop
ExecStartPre=+/usr/bin/install -d /run/shop
ExecStartPre=/usr/bin/pkill -f "celery.*worker"
ExecStart=/srv/venv/bin/celery -A shop worker -Q a,b \\
  # a comment in between
  --concurrency 4 -I shop.tasks
NoNewPrivileges=yes
ReadWritePaths=/srv/shop
[Install]
WantedBy=multi-user.target
"""


def changed(old: str, new: str) -> str:
    assert old in OLD
    return OLD.replace(old, new)


def judge(text: str) -> None:
    unit_text.judge_file(unit_text.parse(text), unit_text.parse(OLD), ["/srv/shop", "/srv/media"])


def judge_drop_in(text: str) -> None:
    unit_text.judge_drop_in(unit_text.parse(text), unit_text.parse(OLD), ["/srv/media"])


EXEC = OLD[OLD.index("ExecStart=/srv") : OLD.index("NoNewPrivileges")]
NEW_EXEC = "ExecStart=/srv/venv/bin/celery -A shop worker -Q c --concurrency=2 "


def test_lines_are_read_as_systemd_reads_them() -> None:
    text = "[Service]\n  Exec Start = a\\\n; no\n# no \\\n  b\\\\\nX=1 \\\n\n[Install]\nA=\n"
    assert unit_text.parse(text) == [
        Line("Service", "Exec Start", "a   b\\\\".replace("   ", " ")),
        Line("Service", "X", "1"),
        Line("Install", "A", ""),
    ]


@pytest.mark.parametrize(
    "text", ["[Service]\nA=1\rB=2\n", "[Service\nA=1", "A=1\0", "[S]\n.include x"]
)
def test_what_systemd_may_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        unit_text.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        OLD,
        OLD.replace("\n", "\r\n"),
        OLD.replace("# The worker.", "; Another comment"),
        OLD + "\n[Service]\nMemoryMax=1536M\nWatchdogSec=30\nType=notify\nKillMode=mixed\n",
        OLD + "\n[Service]\nPrivateTmp=yes\nProtectSystem=strict\n",
        changed('ExecStartPre=/usr/bin/pkill -f "celery.*worker"\n', ""),
        changed(EXEC, NEW_EXEC + "-I shop.tasks,celeriac_support\n"),
        changed(EXEC, NEW_EXEC + "-I celeriac_support -I shop.tasks --prefetch-multiplier=1\n"),
        changed("PYTHONPATH=/srv/lib", f"PYTHONPATH=/srv/lib:{SUPPORT}"),
        changed("redis.service", "redis.service redis-server.service"),
        changed("/srv/shop\n", "/srv/shop /srv/media/uploads\n"),
        changed(
            EXEC,
            EXEC.replace("=/srv", f"=/usr/bin/env PYTHONPATH={SUPPORT}:${{PYTHONPATH}} /srv"),
        ),
    ],
)
def test_what_a_deploy_writes_is_allowed(text: str) -> None:
    judge(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (changed("User=shop", "User=root"), "User= must stay as it is"),
        (changed("User=shop\n", ""), "User= must stay"),
        (OLD + "[Service]\nUser=root\n", "User= must stay"),
        (OLD + "[Service]\nUser=\n", "User= must stay"),
        (OLD + "[Service]\nDynamicUser=yes\n", "DynamicUser= must stay"),
        (OLD + "[Service]\nGroup=root\n", "Group= must stay"),
        (OLD + "[Service]\nAmbientCapabilities=CAP_SYS_ADMIN\n", "AmbientCapabilities="),
        (OLD + "[Service]\nPermissionsStartOnly=yes\n", "PermissionsStartOnly="),
        (OLD + "[Service]\nBindPaths=/tmp:/etc\n", "BindPaths="),
        (OLD + "[Service]\nRootDirectory=/tmp\n", "RootDirectory="),
        (OLD + "[Service]\nEnvironmentFile=/tmp/x\n", "EnvironmentFile="),
        (OLD + "[Service]\nWorkingDirectory=/tmp\n", "WorkingDirectory="),
        (OLD + "[Service]\nExecStartPre=+/bin/sh -c id\n", "ExecStartPre=+/bin/sh"),
        (OLD + "[Service]\nExecStartPre=/bin/true\n", "ExecStartPre=/bin/true"),
        (OLD + "[Service]\n ExecStopPost\t= !/bin/sh\n", "ExecStopPost=!/bin/sh"),
        (OLD + "[Service]\nExecStop\\\n=/bin/sh\n", "ExecStop"),
        (OLD + "[Service]\nExecReload=/bin/sh\n", "ExecReload= must stay"),
        (OLD + "[Service]\nExecCondition=/bin/sh\n", "ExecCondition= must stay"),
        (OLD + "[Service]\nOnFailure=x.service\n", "OnFailure= must stay"),
        (OLD + "[Unit]\nOnFailure=x.service\n", "OnFailure= must stay"),
        (OLD + "[Install]\nAlias=ssh.service\n", "Alias= must stay"),
        (OLD + "[Socket]\nExecStartPre=/bin/sh\n", "ExecStartPre= must stay"),
        (OLD + "[Service]\nExecStart=/bin/sh\n", "ExecStart= must stay one command"),
        (changed("ExecStartPre=+/usr/bin/install -d /run/shop\n", ""), "must stay"),
        (changed("=/srv/venv/bin/celery", "=+/srv/venv/bin/celery"), "ExecStart= may only"),
        (changed("=/srv/venv/bin/celery", "=!/srv/venv/bin/celery"), "ExecStart= may only"),
        (changed("=/srv/venv/bin/celery", "=/tmp/celery"), "ExecStart= may only"),
        (changed("-A shop", "-A evil"), "ExecStart= may only"),
        (changed("-I shop.tasks", "-I evil"), "ExecStart= may only"),
        (changed("-I shop.tasks\n", "-I shop.tasks --workdir /tmp\n"), "ExecStart= may only"),
        (changed("--concurrency 4", "--concurrency $(id)"), "ExecStart= may only"),
        (changed("-Q a,b", "-Q a;id"), "ExecStart= may only"),
        (changed("-Q a,b", "-Q %H"), "ExecStart= may only"),
        (changed("=/srv/venv", "=/usr/bin/env PYTHONPATH=/tmp /srv/venv"), "ExecStart= may only"),
        (changed("=/srv/venv", "=/usr/bin/env LD_PRELOAD=/x /srv/venv"), "ExecStart= may only"),
        (changed("A=1", "A=2"), "Environment= must not set A"),
        (changed('A=1 "B=x y"', "A=1"), "Environment=B must stay"),
        (OLD + "[Service]\nEnvironment=LD_PRELOAD=/tmp/x\n", "must not set LD_PRELOAD"),
        (OLD + "[Service]\nEnvironment=\n", "Environment= must not be reset"),
        (changed("PYTHONPATH=/srv/lib", "PYTHONPATH=/tmp"), "must not set PYTHONPATH"),
        (changed("NoNewPrivileges=yes\n", ""), "NoNewPrivileges= may only be restricted"),
        (changed("NoNewPrivileges=yes", "NoNewPrivileges=no"), "NoNewPrivileges= may only"),
        (OLD + "[Service]\nNoNewPrivileges=no\n", "NoNewPrivileges= may only"),
        (OLD + "[Service]\nProtectSystem=no\n", "ProtectSystem= may only"),
        (OLD + "[Service]\nType=forking\n", "Type=forking is not a value"),
        (OLD + "[Service]\nKillSignal=SIGKILL\n", "KillSignal=SIGKILL is not a value"),
        (OLD + "[Service]\nMemoryMax=%h\n", "MemoryMax=%h is not a value"),
        (OLD + "[Service]\nReadWritePaths=/etc\n", "ReadWritePaths= must not add /etc"),
        (OLD + "[Service]\nReadWritePaths=-/srv/media/../../etc\n", "ReadWritePaths= must not"),
        (OLD + "[Service]\nReadWritePaths=/srv/media2\n", "ReadWritePaths= must not"),
    ],
)
def test_nothing_else_may_change(text: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        judge(text)
    assert reason in str(caught.value)


def test_a_weaker_line_does_not_come_last() -> None:
    weak, strong = (Line("Service", "ProtectSystem", value) for value in ("false", "full"))
    added = Line("Service", "ProtectSystem", "strict")
    for new in ([strong, weak], [strong, added, weak]):
        with pytest.raises(Refused):
            unit_text.judge_file(new, [weak, strong], [])
    unit_text.judge_file([weak, strong, added], [weak, strong], [])


@pytest.mark.parametrize(
    "text",
    [
        "[Unit]\nStartLimitIntervalSec=600\n[Service]\nMemoryMax=1G\nMemoryLimit=infinity\n",
        "[Service]\nMemoryHigh=\nWatchdogSec=0\n",
        "[Service]\nExecStart=\n" + NEW_EXEC + "-I shop.tasks\n",
        "[Service]\nExecStartPre=\nExecStartPre=+/usr/bin/install -d /run/shop\n",
        f"[Service]\nEnvironment=PYTHONPATH=/srv/lib:{SUPPORT}\nReadWritePaths=/srv/media\n",
    ],
)
def test_what_a_deploy_writes_into_its_drop_in_is_allowed(text: str) -> None:
    judge_drop_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "[Service]\nUser=root\n",
        "[Service]\nUser=\n",
        "[Service]\n" + NEW_EXEC + "-I shop.tasks\n",
        "[Service]\nExecStart=\n",
        "[Service]\nExecStart=\nExecStart=/bin/sh\n",
        "[Service]\nExecStart=\nExecStart=+/srv/venv/bin/celery -A shop worker -I shop.tasks\n",
        "[Service]\nExecStartPre=+/bin/sh\n",
        "[Service]\nExecStartPre=\n",
        "[Service]\nExecStartPre=\nExecStartPre=+/bin/sh\n",
        "[Service]\nExecStopPost=/bin/sh\n",
        "[Service]\nEnvironment=LD_PRELOAD=/tmp/x\n",
        "[Service]\nEnvironment=\n",
        "[Service]\nNoNewPrivileges=no\n",
        "[Service]\nNoNewPrivileges=\n",
        "[Service]\nReadWritePaths=/\n",
        "[Install]\nWantedBy=x.target\n",
    ],
)
def test_a_drop_in_brings_nothing_else(text: str) -> None:
    with pytest.raises(Refused):
        judge_drop_in(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "/bin/sh -c 'cd /srv && celery -A shop worker'",
            "/bin/sh -c 'cd /srv && exec celery -A shop worker -c 2'",
        ),
        (
            '/bin/sh -c "PYTHONPATH=/a celery worker -c 4"',
            f'/bin/sh -c "PYTHONPATH=/a:{SUPPORT} celery worker -c 2"',
        ),
        ("/srv/celery worker -c ${N} --autoscale=9,3", "/srv/celery worker -c 2"),
        (
            "/bin/sh -c 'cd /srv && celery worker'",
            "/bin/sh -c 'cd /srv && exec /usr/bin/env "
            f"PYTHONPATH={SUPPORT}:$$PYTHONPATH celery worker'",
        ),
        ("-/srv/celery worker", f"-/usr/bin/env PYTHONPATH={SUPPORT} /srv/celery worker"),
    ],
)
def test_the_same_command(old: str, new: str) -> None:
    assert unit_text.skeleton(old, is_old=True) == unit_text.skeleton(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/bin/sh -c 'celery worker'", "/bin/sh -c 'celery worker; id'"),
        ("/bin/sh -c 'celery worker'", "/bin/sh -c 'celery worker -c `id`'"),
        ("/bin/sh -c 'celery worker'", "/bin/sh -c 'celery worker -Q a&&id'"),
        ("/bin/sh -c 'celery worker'", "/bin/sh -c celery worker"),
        ("/srv/python -m celery worker", "/srv/python -I evil.py -m celery worker"),
        ("/srv/celery worker", "@/srv/celery worker"),
        ("/srv/celery worker", ":/srv/celery worker"),
        ("/srv/celery worker", "/usr/bin/env -S /bin/sh /srv/celery worker"),
        ("/srv/celery worker", "/srv/celery worker -Q ${SECRET}"),
        ("/srv/celery worker -c ${N}", "/srv/celery worker -c ${N} -Q $SECRET"),
        ("/srv/celery worker -c 4", "/srv/celery\u00a0worker -c 4"),
    ],
)
def test_another_command(old: str, new: str) -> None:
    assert unit_text.skeleton(old, is_old=True) != unit_text.skeleton(new)


def test_a_reset_forgets_what_came_before() -> None:
    values: Sequence[str] = ["a", "", "b", "c"]
    assert unit_text.effective(values) == ["b", "c"]
