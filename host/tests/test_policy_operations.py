"""The rule of each operation: what a deploy asks for is allowed, and nothing beside it."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest
from celeriac_host.policy import facts, fields, operations, places, unit_text
from celeriac_host.policy.refusal import Refused
from celeriac_host.system import processes
from policies import COMMIT, SHA, SUPPORT, SUPPORT_FOLDER, UNIT, USER, Hardened

HOST = Path(__file__).resolve().parents[1]
MODEL = HOST.parent / "src" / "model"
Operation = Dict[str, Any]


def samples(at: Hardened) -> Dict[str, Operation]:
    """One of each, as a plan has it."""
    app = at.by_the_app()
    undo = {"undoTimeoutSeconds": 90}
    others = {"otherWorkers": {"directory": at.app, "command": at.pattern}}
    release = f"{at.root}/releases/releases/{COMMIT}"
    digest = hashlib.sha256(SUPPORT.encode()).hexdigest()[:12]
    found: Dict[str, Operation] = {
        "write-file": {
            "path": f"/usr/local/lib/celeriac/{digest}/celeriac_support.py",
            "text": SUPPORT,
            "mode": "0644",
            "expects": None,
        },
        "remove-file": {
            "path": f"/etc/systemd/system/{UNIT}.d/celeriac.conf",
            "expects": SHA,
        },
        "set-mode": {"path": "/swapfile", "mode": "0600", "owner": "root"},
        "make-swap": {
            "path": "/swapfile",
            "sizeBytes": 2**30,
            "filesystem": "ext4",
            "fill": "allocate",
            "nocow": False,
        },
        "swap-on": {"path": "/swapfile"},
        "swap-off": {"path": "/swapfile"},
        "set-sysctl": {"name": "vm.swappiness", "value": "10"},
        "try-app": {
            "unit": UNIT,
            "interpreter": app["interpreter"],
            "app": "shop",
            "modules": ["celeriac_support"],
            "directory": None,
            "instead": {"from": f"{at.root}/releases/current", "to": release},
            "unwanted": {"variables": ["CELERYD_OPTS"], "words": ["-B"], "why": "x", "fix": "y"},
            "visibility": {"atLeastSeconds": 60, "refuse": True, "why": "x", "fix": "y"},
            "broker": {"refuse": True, "why": "x", "fix": "y"},
            "timeoutSeconds": 60,
        },
        "verify-unit": {
            "unit": UNIT,
            "text": at.text,
            "dropIns": [{"name": "celeriac.conf", "text": "[Service]\nMemoryMax=1G\n"}],
        },
        "guard-unit": {**app, **undo, "minHealthySeconds": 5},
        "guard-companion": {
            "unit": "shop-web.service",
            "how": "restart",
            "onlyOnce": True,
            "minHealthySeconds": 5,
            "timeoutSeconds": 60,
        },
        "restart-companion": {
            "unit": "shop-web.service",
            "how": "reload",
            "onlyOnce": False,
            "minHealthySeconds": 5,
            "timeoutSeconds": 60,
            "urlTimeoutSeconds": 30,
            "url": "http://127.0.0.1:8000/health",
        },
        "run-command": {
            "unit": UNIT,
            "interpreter": app["interpreter"],
            "argv": ["python", "manage.py", "migrate"],
            "timeoutSeconds": 60,
        },
        "install-unit": {
            "unit": UNIT,
            "path": f"/etc/systemd/system/{UNIT}",
            "text": at.text.replace("-c 4", "-c 2"),
            "expects": SHA,
        },
        "enable-unit": {"unit": UNIT},
        "start-sampler": {
            "unit": UNIT,
            "paths": ["/", at.app],
            "soakSeconds": 86400,
            "limits": {
                "failureLimit": 0,
                "consecutive": 3,
                "rateLimitMax": 10,
                "errorRateMax": None,
            },
        },
        "stop-sampler": {"unit": UNIT},
        "drain-worker": {
            **app,
            **undo,
            "timeoutSeconds": 60,
            "policy": "wait",
            "stuckSeconds": 600,
        },
        "stop-unit": {**app, **undo, "timeoutSeconds": 60},
        "restore-unacked": {**app, **others},
        "find-unacked": app,
        "end-process": {
            **app,
            "processes": [process(2**22 - 1, 1)],
            "graceSeconds": 10,
        },
        "start-unit": {**app, **undo, "timeoutSeconds": 60},
        "prove-unit": {
            "unit": UNIT,
            "properties": {"MemoryMax": "1073741824"},
            "children": 4,
            "minHealthySeconds": 10,
            "timeoutSeconds": 60,
            "exposure": {"before": 9.2},
        },
        "fetch-commit": {"checkout": at.app, "commit": COMMIT, "sha256": SHA},
        "checkout-code": {
            "checkout": at.app,
            "commit": COMMIT,
            "expects": COMMIT,
            "stash": False,
        },
        "unpack-release": {
            "deployTo": f"{at.root}/releases",
            "commit": COMMIT,
            "sha256": SHA,
            "shared": [{"path": "media/uploads", "folder": True}],
        },
        "switch-release": {
            "deployTo": f"{at.root}/releases",
            "commit": COMMIT,
            "expects": "releases/x",
        },
        "prune-releases": {
            "deployTo": f"{at.root}/releases",
            "keep": 3,
            "spare": [COMMIT],
        },
        "install-dependencies": {
            "unit": UNIT,
            "interpreter": app["interpreter"],
            "tool": "pip",
            "file": "backend/requirements.txt",
            "commit": COMMIT,
            "lock": SHA,
            "timeoutSeconds": 600,
            "checkout": at.app,
        },
        "backup-database": {"database": f"{at.app}/app.db", "unit": UNIT, "keep": 3},
        "repair-jobs": {
            "database": f"{at.app}/app.db",
            "unit": UNIT,
            "rows": [{"table": "jobs", "id": 1}],
            "busyTimeoutSeconds": 10,
            "lookAgain": {**app, **others, "tasks": [{"group": "1", "task": None}]},
        },
        "send-tasks": {
            **app,
            **others,
            "database": f"{at.app}/app.db",
            "calls": [
                {"id": "x", "task": "shop.tasks.probe", "args": [1], "queue": None, "row": {}}
            ],
        },
        "restore-database": {
            "database": f"{at.app}/app.db",
            "unit": UNIT,
            "backup": "latest",
            "keep": 3,
            "busyTimeoutSeconds": 10,
        },
    }
    return {
        name: {"op": name, "title": "do it", "why": "it must be", **operation}
        for name, operation in found.items()
    }


def process(pid: Any, start_ticks: int) -> Dict[str, Any]:
    group = "/user.slice/user-1.slice/session-3.scope"
    return {"pid": pid, "startTicks": start_ticks, "cgroup": group}


@pytest.fixture
def at(hardened: Hardened, monkeypatch: pytest.MonkeyPatch) -> Hardened:
    monkeypatch.setattr(fields, "WORKERS_SHA256", hashlib.sha256(b"x").hexdigest())
    hardened.pattern = "x"
    return hardened


def refusal(operation: Operation, at: Hardened, **policy: Any) -> str:
    with pytest.raises(Refused) as caught:
        operations.judge(operation, at.scene(**policy))
    return str(caught.value)


def names_in(folder: str) -> set[str]:
    return {
        path.stem.replace("_", "-")
        for path in (HOST / "celeriac_host" / folder).glob("*.py")
        if path.stem != "__init__"
    }


def test_every_operation_and_every_fact_has_a_rule() -> None:
    assert {*operations.RULES, *operations.OWNERS} == names_in("operations")
    assert {*facts.RULES, *facts.OWNERS} == names_in("facts")


def test_what_hardened_mode_is_made_of_is_its_owners(at: Hardened) -> None:
    for op in operations.OWNERS:
        assert refusal({"op": op}, at).startswith(f"owner: {op} is for the owner of the host")
    for fact in facts.OWNERS:
        with pytest.raises(Refused, match=f"owner: {fact} is for the owner"):
            facts.judge({fact: {}}, at.scene())


def model() -> Dict[str, Dict[str, bool]]:
    """Operation → its fields in the model, each with whether it is required."""
    blocks = re.findall(
        r"^(?:export )?(?:interface|type) (\w+)(?: extends |\b = )?([\w,& \n]*?)(?: &)? "
        r"\{\n(.*?)^(?:\}|  \} &)",
        "\n".join(file.read_text() for file in sorted(MODEL.glob("operation/*.ts"))),
        re.MULTILINE | re.DOTALL,
    )
    # Those of objects in it are indented further than the first.
    own = {
        name: re.findall(
            rf"^{' ' * (len(body) - len(body.lstrip(' ')))}readonly (\w+)(\??):", body, re.MULTILINE
        )
        for name, _, body in blocks
    }
    above = {name: re.findall(r"\w+", parents) for name, parents, _ in blocks}

    def fields(name: str) -> Dict[str, bool]:
        found = {field: mark == "" for field, mark in own[name]}
        for parent in above[name]:
            found.update(fields(parent))
        return found

    ops = {name: re.search(r"readonly op: '([a-z-]+)'", body) for name, _, body in blocks}
    return {op.group(1): fields(name) for name, op in ops.items() if op is not None}


def test_every_operation_of_the_model_has_a_rule_for_each_of_its_fields() -> None:
    found = model()
    assert {*operations.RULES, *operations.OWNERS} == set(found)
    for op in operations.RULES:
        fields = found[op]
        rule = operations.RULES[op]
        asked = set(fields) - {"op"}
        assert asked <= {*rule.required, *rule.optional}, op
        assert {*rule.required} - {"title", "why"} <= asked, op
        missing = {each for each in asked if fields[each]} - {*rule.required, "user"}
        assert not missing, op


def test_every_fact_of_the_model_has_a_rule() -> None:
    text = (MODEL / "facts.ts").read_text()
    body = re.search(r"^export interface FactArguments \{\n(.*?)^\}", text, re.M | re.S)
    assert body is not None
    assert {*facts.RULES, *facts.OWNERS} == set(
        re.findall(r"^  readonly (\w+):", body.group(1), re.M)
    )


def test_one_without_a_rule_is_refused(at: Hardened) -> None:
    assert "there is no rule for the operation format-disk" in refusal({"op": "format-disk"}, at)
    assert "there is no rule for the operation None" in refusal({}, at)
    with pytest.raises(Refused, match="no rule for the operation"):
        operations.judge([], at.scene())


def test_what_a_plan_asks_for_is_allowed(at: Hardened) -> None:
    found = samples(at)
    assert set(found) == set(operations.RULES)
    for operation in found.values():
        operations.judge(operation, at.scene())
        operations.judge({**operation, "diff": "-a\n+b\n", "user": USER}, at.scene())


def test_each_key_is_needed_and_no_other_is_known(at: Hardened) -> None:
    optional = ("op", "instead", "unwanted", "visibility", "broker", "dropIns", "minHealthySeconds")
    for name, operation in samples(at).items():
        for key in operation:
            if key in optional or (name, key) in (
                ("prove-unit", "exposure"),
                ("install-dependencies", "checkout"),
                ("start-sampler", "limits"),
            ):
                continue
            less = {each: value for each, value in operation.items() if each != key}
            assert f"{name} has no {key}" in refusal(less, at)
        assert f"no rule allows shell in {name}" in refusal({**operation, "shell": "x"}, at)


def test_each_value_has_its_kind(at: Hardened) -> None:
    """A value of any other kind is refused, wherever it stands."""
    for operation in samples(at).values():
        for key in operation:
            if key not in ("op", "expects", "children", "queue", "directory", "url", "lookAgain"):
                assert refusal({**operation, key: None}, at)
            if key != "op":
                assert refusal({**operation, key: {"$x": object}}, at)


def test_a_text_that_no_file_can_hold_is_refused(at: Hardened) -> None:
    operation = samples(at)["install-unit"]
    text = operation["text"] + "# \ud800\n"
    assert refusal({**operation, "text": text}, at).startswith("unit text: text of install-unit")


def test_another_user_is_refused(at: Hardened) -> None:
    for operation in samples(at).values():
        assert refusal({**operation, "user": "root"}, at) == (f"appUser: root is not {USER}")


@pytest.mark.parametrize(
    ("name", "changed", "reason"),
    [
        ("enable-unit", {"unit": "ssh.service"}, "units: ssh.service is not one of"),
        ("start-unit", {"unit": "shop-worker"}, "units: "),
        ("stop-unit", {"unit": "../x.service"}, "units: "),
        ("start-unit", {"interpreter": ["/bin/sh"]}, "interpreter: /bin/sh is not the Python of"),
        ("start-unit", {"interpreter": []}, "interpreter: it names no program"),
        ("start-unit", {"interpreter": ["/usr/bin/env", "LD_PRELOAD=/x"]}, "interpreter: "),
        ("start-unit", {"interpreter": ["/usr/bin/env", "PYTHONPATH=/tmp"]}, "app: PYTHONPATH"),
        ("start-unit", {"app": "evil"}, "app: evil is not the app of"),
        ("start-unit", {"app": "shop:evil"}, "app: "),
        ("start-unit", {"pythonPath": ["/tmp/evil"]}, "app: pythonPath /tmp/evil"),
        ("start-unit", {"timeoutSeconds": 10**6}, "limits: "),
        ("start-unit", {"timeoutSeconds": -1}, "limits: "),
        ("start-unit", {"timeoutSeconds": float("inf")}, "limits: "),
        ("try-app", {"modules": ["os"]}, "app: shop-worker.service does not load the module os"),
        ("try-app", {"directory": "/tmp"}, "app: directory /tmp"),
        ("try-app", {"directory": "../x"}, "app: directory ../x"),
        ("try-app", {"instead": {"from": "/a", "to": "/b"}}, "deployTo: "),
        (
            "try-app",
            {"unwanted": {"variables": ["A"], "words": ["hunter2"], "why": "", "fix": ""}},
            "interpreter: ",
        ),
        ("write-file", {"path": "/etc/passwd"}, "files: /etc/passwd is not"),
        ("write-file", {"path": "/etc/../etc/fstab"}, "files: "),
        ("write-file", {"text": SUPPORT + "#"}, "files: "),
        ("write-file", {"mode": "0777"}, "files: "),
        ("write-file", {"path": f"{SUPPORT_FOLDER}/celeriac_support.py"}, "files: "),
        ("remove-file", {"path": f"/etc/systemd/system/{UNIT}"}, "files: "),
        ("remove-file", {"path": f"/etc/systemd/system/{UNIT}.d/limits.conf"}, "files: "),
        ("set-mode", {"path": "/etc/shadow"}, "swap: "),
        ("set-mode", {"mode": "0666"}, "swap: "),
        ("set-mode", {"owner": "shop"}, "swap: "),
        ("make-swap", {"path": "/srv/swap"}, "swap: "),
        ("make-swap", {"sizeBytes": 2**31 + 1}, "swap: "),
        ("swap-off", {"path": "/dev/sda2"}, "swap: "),
        ("set-sysctl", {"name": "kernel.core_pattern", "value": "|/tmp/x"}, "sysctl: "),
        ("set-sysctl", {"value": "101"}, "sysctl: vm.swappiness may be 0 to 100, not 101"),
        ("set-sysctl", {"value": "1 2"}, "sysctl: "),
        ("verify-unit", {"dropIns": [{"name": "../../x", "text": ""}]}, "unit text: "),
        ("verify-unit", {"text": "[Service]\nExecStart=/bin/sh\n"}, "unit text: "),
        ("install-unit", {"path": "/etc/systemd/system/ssh.service"}, "unit text: "),
        ("install-unit", {"path": f"/etc/systemd/system/{UNIT}.d/zzz.conf"}, "unit text: "),
        ("run-command", {"argv": ["python", "-c", "1"]}, "commands: `python -c 1` is not"),
        ("run-command", {"argv": []}, "commands: "),
        ("guard-companion", {"unit": "ssh.service"}, "companions: "),
        ("restart-companion", {"unit": UNIT}, "companions: "),
        ("restart-companion", {"url": "http://169.254.169.254/"}, "urls: "),
        ("restart-companion", {"url": "file:///etc/shadow"}, "urls: "),
        ("restart-companion", {"url": "http://127.0.0.1:8000/health/x"}, "urls: "),
        ("fetch-commit", {"checkout": "/srv/other"}, "checkout: "),
        ("fetch-commit", {"commit": "--upload-pack=x"}, "checkout: "),
        ("checkout-code", {"commit": "main"}, "checkout: "),
        ("unpack-release", {"deployTo": "/srv"}, "deployTo: "),
        ("unpack-release", {"shared": [{"path": "../x", "folder": True}]}, "deployTo: "),
        ("unpack-release", {"shared": [{"path": "/x", "folder": True}]}, "deployTo: "),
        ("prune-releases", {"keep": 0}, "deployTo: "),
        ("install-dependencies", {"file": "../../etc/x"}, "checkout: "),
        ("install-dependencies", {"tool": "sh"}, "checkout: "),
        ("backup-database", {"database": "/etc/shadow"}, "databases: "),
        ("repair-jobs", {"database": "postgresql://postgres@localhost/shop"}, "databases: "),
        ("restore-database", {"backup": "/tmp/evil.db"}, "databases: /tmp/evil.db is not a backup"),
        ("restore-unacked", {"otherWorkers": {"directory": "/", "command": "(a+)+b"}}, "workers: "),
        ("end-process", {"processes": [process(1, 1)]}, "processes: "),
        ("end-process", {"processes": [process(True, 1)]}, "processes: "),
        ("prove-unit", {"properties": {"a\nb": "x"}}, "units: "),
    ],
)
def test_what_is_not_in_the_policy_is_refused(
    at: Hardened, name: str, changed: Operation, reason: str
) -> None:
    found = refusal({**samples(at)[name], **changed}, at)
    assert found.startswith(reason), found


def test_a_task_that_the_policy_does_not_name_is_refused(at: Hardened) -> None:
    operation = copy.deepcopy(samples(at)["send-tasks"])
    operation["calls"][0]["task"] = "shop.tasks.delete_everything"
    assert "tasks: " in refusal(operation, at)
    assert "the policy names none" in refusal(samples(at)["send-tasks"], at, tasks=[])


def test_without_its_key_in_the_policy_nothing_of_a_kind_is_allowed(at: Hardened) -> None:
    for key, names in {
        "swap": ("make-swap", "swap-on", "swap-off", "set-mode"),
        "checkout": ("fetch-commit", "checkout-code", "install-dependencies"),
        "deployTo": ("unpack-release", "switch-release", "prune-releases"),
        "sysctl": ("set-sysctl",),
        "companions": ("guard-companion", "restart-companion"),
        "databases": ("backup-database", "repair-jobs", "restore-database", "send-tasks"),
        "commands": ("run-command",),
        "urls": ("restart-companion",),
    }.items():
        nothing: Any = {"swap": None, "checkout": None, "deployTo": None, "sysctl": {}}.get(key, [])
        for name in names:
            assert refusal(samples(at)[name], at, **{key: nothing}).startswith(f"{key}: ")


# --- the unit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"User": "root"}, "appUser: shop-worker.service runs as root, not as daemon"),
        ({"User": ""}, "appUser: shop-worker.service runs as root"),
        ({"User": "0"}, "appUser: "),
        ({"User": "bin"}, "appUser: "),
        ({"User": USER, "DynamicUser": "yes"}, "appUser: "),
        ({"LoadState": "not-found"}, "units: shop-worker.service is not-found"),
        ({"ExecStartEx": "{ path=/x ; argv[]=/x ; flags=privileged ; }"}, "appUser: ExecStart="),
        ({"ExecStartEx": "{ path=/x ; argv[]=/x ; flags=no-setuid ; }"}, "appUser: ExecStart="),
    ],
)
def test_the_unit_runs_as_the_apps_user(
    at: Hardened, properties: Dict[str, str], reason: str
) -> None:
    at.load(**properties)
    assert reason in refusal(samples(at)["enable-unit"], at)


def test_a_definition_that_others_can_change_decides_nothing(at: Hardened) -> None:
    os.chmod(at.unit_path, 0o664)
    assert "users other than root may write to" in refusal(samples(at)["enable-unit"], at)
    os.chmod(at.unit_path, 0o644)
    os.chown(at.unit_path, 1, 1)
    assert "belongs to user 1" in refusal(samples(at)["enable-unit"], at)


def test_a_unit_file_of_the_system_may_be_below_a_link_of_roots(at: Hardened) -> None:
    os.symlink(at.root, f"{at.root}/lib")
    at.load(FragmentPath=f"{at.root}/lib/{UNIT}")
    operations.judge(samples(at)["enable-unit"], at.scene())
    os.lchown(f"{at.root}/lib", 1, 1)
    assert "is a link of user 1" in refusal(samples(at)["enable-unit"], at)
    os.symlink(at.unit_path, f"{at.app}/{UNIT}")
    at.load(FragmentPath=f"{at.app}/{UNIT}")
    assert "belongs to user 1" in refusal(samples(at)["enable-unit"], at)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[Service]\nUser=daemon\n", "User= in Celeriac's drop-in is not Celeriac's"),
        ("[Service]\nPrivateTmp=yes\n", "PrivateTmp= may only be restricted further"),
    ],
)
def test_a_drop_in_takes_no_restriction_with_it(at: Hardened, text: str, reason: str) -> None:
    path = f"/etc/systemd/system/{UNIT}.d/celeriac.conf"
    scene = at.scene()
    loaded = scene.unit(UNIT)
    scene._loaded[UNIT] = loaded._replace(parts=[*loaded.parts, unit_text.Part(path, text)])
    remove = samples(at)["remove-file"]
    install = {**samples(at)["install-unit"], "path": path, "text": "[Service]\nMemoryMax=1G\n"}
    for operation in (remove, install):
        with pytest.raises(Refused, match=re.escape(reason)):
            operations.judge(operation, scene)
    # Unless the plan brings it elsewhere.
    scene.operations = [{"op": "install-unit", "unit": UNIT, "text": text}]
    if "PrivateTmp" in text:
        operations.judge(remove, scene)


@pytest.mark.parametrize(
    ("line", "interpreter"),
    [
        ("%(app)s/venv/bin/celery -A shop worker", ["%(python)s"]),
        ("%(app)s/venv/bin/python3 -E -m celery -A shop worker", ["%(python)s", "-E"]),
        ("/usr/bin/env PYTHONPATH=/srv/x %(app)s/venv/bin/celery -A shop worker",
         ["/usr/bin/env", f"PYTHONPATH={SUPPORT_FOLDER}:/srv/x:${{PYTHONPATH}}", "%(python)s"]),
        ("/bin/sh -c cd /srv && exec %(app)s/venv/bin/celery -A shop worker", ["%(python)s"]),
        ("%(app)s/env-celery -A shop worker", ["/usr/bin/env", "python3", "-E"]),
    ],
)  # fmt: skip
def test_the_python_is_that_of_the_units_line(
    at: Hardened, line: str, interpreter: list[str]
) -> None:
    at.script(f"{at.app}/env-celery", "#!/usr/bin/env -S python3 -E\n")
    names = {"app": at.app, "python": at.python}
    argv = line % names
    at.load(ExecStart=f"{{ path={argv.split()[0]} ; argv[]={argv} ; ignore_errors=no ; }}")
    words = [each % names for each in interpreter]
    operation = {**samples(at)["start-unit"], "interpreter": words}
    operations.judge(operation, at.scene())
    for more in (["-c", "import os"], ["-cimport os"], ["-Ec", "x"], ["/tmp/x.py"], ["-m", "evil"]):
        assert "interpreter: " in refusal({**operation, "interpreter": words + more}, at)


def test_the_name_of_a_queue_is_neither_a_module_nor_an_option(at: Hardened) -> None:
    program = f"{at.app}/venv/bin/celery"
    for line in (
        f"{program} -A shop worker -c 4 -Q a,evil,-Werror::evil.X",
        f"{program} -A shop worker -c 4 --queues=a,evil,-Werror::evil.X",
        f"/bin/sh -c cd /srv && exec {program} -A shop worker -Q 'evil'",
        f"/bin/sh -c {program} -A shop worker -Q evil",
    ):
        at.load(ExecStart=f"{{ path={line.split()[0]} ; argv[]={line} ; ignore_errors=no ; }}")
        start, attempt = samples(at)["start-unit"], samples(at)["try-app"]
        operations.judge({**start, "interpreter": [at.python]}, at.scene())
        assert refusal({**start, "app": "evil"}, at).startswith("app: ")
        assert refusal({**attempt, "modules": ["evil"]}, at).startswith("app: ")
        flag = [at.python, "-Werror::evil.X"]
        assert refusal({**start, "interpreter": flag}, at).startswith("interpreter: ")


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def fstab(at: Hardened, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Operation]:
    path = at.root / "fstab"
    path.write_text("/dev/sda1 / ext4 defaults 0 1\n# a comment\n")
    monkeypatch.setattr(places, "FSTAB", str(path))
    about = {"path": str(path), "mode": "0644", "expects": SHA}
    return lambda text: {**samples(at)["write-file"], **about, "text": text}


GOOD = "/dev/sda1 / ext4 defaults 0 1\n# a comment\n/swapfile none swap sw 0 0\n"


def test_one_line_of_swap_may_come_into_fstab(
    at: Hardened, fstab: Callable[[str], Operation]
) -> None:
    operations.judge(fstab(GOOD), at.scene())
    operations.judge(fstab(GOOD.replace(" sw ", " nofail,pri=5 ")), at.scene())


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "/dev/sdb1 /etc ext4 defaults 0 0\n",
        GOOD.replace("# a comment\n", ""),
        GOOD.replace("none swap", "/etc ext4"),
        GOOD.replace(" sw ", " sw,x-systemd.makefs "),
        GOOD + "/swapfile none swap sw 0 0\n",
        GOOD.replace("/swapfile none swap sw 0 0\n", ""),
        GOOD.replace("sda1 / ext4 defaults", "sda1 / ext4 defaults,suid"),
        # Two lines of which fstab(5) makes one, and fields where it sees others.
        GOOD.replace("0 1\n# a", "0 1\u2028# a"),
        GOOD.replace("0 1\n# a", "0 1\f# a"),
        GOOD.replace("comment\n/swapfile", "comment\r/swapfile"),
        GOOD.replace("/swapfile none", "/swapfile\t/etc/passwd\tnone\tbind none"),
        GOOD.replace("/swapfile none", "/swapfile\u00a0 none"),
        "",
    ],
)
def test_nothing_else_in_fstab_may_change(
    at: Hardened, fstab: Callable[[str], Operation], text: str
) -> None:
    assert refusal(fstab(text), at).startswith("files: ")


def test_the_mode_of_fstab_stays(at: Hardened, fstab: Callable[[str], Operation]) -> None:
    assert "must stay 0644" in refusal({**fstab(GOOD), "mode": "0666"}, at)


def test_the_file_of_settings_has_one_setting_in_its_bounds(at: Hardened) -> None:
    text = f"{places.COMMENT}\nvm.swappiness = 10\n"
    operation = {**samples(at)["write-file"], "path": places.SYSCTL_FILE, "text": text}
    operations.judge(operation, at.scene())
    for bad in (
        text.replace("= 10", "= 200"),
        text + "kernel.core_pattern = |/tmp/x\n",
        text.replace("vm.swappiness", "kernel.modprobe"),
        "vm.swappiness = 10\n",
    ):
        assert refusal({**operation, "text": bad}, at).startswith("sysctl: ")


# --- folders above a path -------------------------------------------------------------------------


def test_the_folders_above_a_checkout_are_roots(at: Hardened) -> None:
    operation = samples(at)["fetch-commit"]
    os.chown(at.root, 1, 1)
    assert "the folders above" in refusal(operation, at)
    os.chown(at.root, 0, 0)
    os.chmod(at.root, 0o777)
    assert "users other than root may write to" in refusal(operation, at)


def test_a_database_may_be_in_the_apps_folder_and_in_nobody_elses(at: Hardened) -> None:
    operation = samples(at)["backup-database"]
    operations.judge(operation, at.scene())
    os.chown(at.app, 2, 2)
    assert refusal(operation, at).startswith("databases: the folders above")


def test_no_folder_above_a_path_is_a_link(at: Hardened) -> None:
    os.symlink(at.app, f"{at.root}/link")
    database = f"{at.root}/link/app.db"
    operation = {**samples(at)["backup-database"], "database": database}
    assert "is a link" in refusal(operation, at, databases=[database])


# --- processes ------------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[Callable[[str, int], int]]:
    started = []

    def start(name: str, uid: int) -> int:
        argv = ["/usr/bin/python3", "-c", "import time; time.sleep(60)", name]
        started.append(subprocess.Popen(argv, preexec_fn=lambda: os.setuid(uid), cwd="/"))
        time.sleep(0.05)
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_only_a_worker_of_the_apps_user_in_a_session_is_ended(
    at: Hardened, sleeper: Callable[[str, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = "/user.slice/user-1.slice/session-3.scope"
    monkeypatch.setattr(processes, "control_group", lambda pid: group)

    def of(pid: int) -> Operation:
        found = processes.read(pid)
        assert found is not None
        return {**samples(at)["end-process"], "processes": [process(pid, found.start_ticks)]}

    operations.judge(of(sleeper("celery", 1)), at.scene())
    assert "belongs to root" in refusal(of(sleeper("celery", 0)), at)
    assert "belongs to bin" in refusal(of(sleeper("celery", 2)), at)
    assert "is no worker" in refusal(of(sleeper("postgres", 1)), at)
    monkeypatch.setattr(processes, "control_group", lambda pid: "/system.slice/shop-web.service")
    assert "is not in a session" in refusal(of(sleeper("celery", 1)), at)


def test_a_backup_is_one_of_this_database(at: Hardened, state: str) -> None:
    database = f"{at.app}/app.db"
    digest = hashlib.sha256(os.fsencode(database)).hexdigest()[:6]
    path = f"{state}/backups/app-{digest}-20260101T000000Z.db"
    Path(path).touch()
    operation = samples(at)["restore-database"]
    operations.judge({**operation, "backup": path}, at.scene())
    assert "is not a backup" in refusal({**operation, "backup": path + "x"}, at)
