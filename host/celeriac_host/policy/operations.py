"""The rule of each operation. One that is not listed is refused."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import app_line, commits, places, shape, soak, urls
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.policy.shape import (
    Check,
    Rule,
    choice,
    data,
    flag,
    line,
    listing,
    matching,
    maybe,
    relative,
    seconds,
    table,
    text,
    thing,
    whole,
    word,
)
from celeriac_host.store import backups
from celeriac_host.system import processes
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import identity

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

DESCRIBED: Mapping[str, Check] = {"title": line(), "why": line(16 * 1024)}
DIFF: Mapping[str, Check] = {"diff": text()}
MOST_BYTES = 2**44
MODE = matching(re.compile(r"0[0-7]{3}"), "four octal digits")
EXPECTED = maybe(shape.sha256)
# An option of a command, such as -B, and no other word: others may be secrets.
OPTION = matching(re.compile(r"-{1,2}[A-Za-z][A-Za-z-]{0,40}"), "an option")
VARIABLE = matching(re.compile(r"[A-Z][A-Z0-9_]{0,60}"), "the name of a variable")
SESSION = re.compile(r"/user\.slice/(?:.*/)?session-[0-9]+\.scope(?:/.*)?")
RENEWAL = choice("restart", "reload")
# Of `workerCommand` in src/celery/worker-process.ts; a test holds both equal.
WORKERS_SHA256 = "3a53ded08a12ec2bdb431cf55dceee54e660ce55937bc20a6f023c4de45fe387"


def _watched(value: Any, scene: Scene) -> None:
    if value != "/":
        shape.path(value, scene)


def unit(value: Any, scene: Scene) -> None:
    scene.unit(value)


def app_user(value: Any, scene: Scene) -> None:
    """The user for whom root works; every operation that names one names the app's.

    None is the user of the unit, which runs as no other.
    """
    if value is not None and value != scene.policy.app_user:
        raise Refused("appUser", f"{shown(value)} is not {scene.policy.app_user}")


def companion(value: Any, scene: Scene) -> None:
    if value not in scene.policy.companions or not isinstance(value, str):
        raise Refused("companions", f"{shown(value)} is not {one_of(scene.policy.companions)}")


def task(value: Any, scene: Scene) -> None:
    if value not in scene.policy.tasks or not isinstance(value, str):
        raise Refused("tasks", f"{shown(value)} is not {one_of(scene.policy.tasks)}")


def workers_of_celery(value: Any, scene: Scene) -> None:
    """The one pattern that finds workers: root matches it, so no other is taken."""
    if not isinstance(value, str) or _digest(value) != WORKERS_SHA256:
        raise Refused("workers", "this pattern of processes is not Celeriac's own")


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


# --- parts that several operations have ---------------------------------------------------------

BY_THE_APP: Mapping[str, Check] = {
    "unit": unit,
    "interpreter": listing(line(), 20),
    "app": line(200),
    "pythonPath": listing(line(), 20),
}
OTHER_WORKERS: Mapping[str, Check] = {
    "otherWorkers": thing(
        Rule("workers", {"directory": line(), "command": workers_of_celery}), "otherWorkers"
    )
}
ASKING: Mapping[str, Check] = {**BY_THE_APP, **OTHER_WORKERS}
INSTEAD: Mapping[str, Check] = {
    "instead": thing(
        Rule("deployTo", {"from": places.below_deploy_to, "to": places.below_deploy_to}), "instead"
    )
}
UNDO: Mapping[str, Check] = {"undoTimeoutSeconds": seconds}
ROWS = listing(data, 20_000)
CODE: Mapping[str, Check] = {"commit": shape.commit}
TASK_CALL = Rule(
    "tasks",
    {
        "id": line(200),
        "task": task,
        "args": listing(data, 100),
        "queue": maybe(line(200)),
        "row": data,
    },
)
LOOK_AGAIN = Rule(
    "interpreter",
    {**ASKING, "tasks": listing(data, 20_000)},
    also=app_line.judge,
)


def _judge_size(operation: Mapping[str, Any], scene: Scene) -> None:
    allowed = scene.policy.swap
    if allowed is None or operation["sizeBytes"] > allowed.largest_bytes:
        most = allowed.largest_bytes if allowed else 0
        raise Refused("swap", f"{operation['sizeBytes']} bytes are more than {most}")


def _judge_setting(operation: Mapping[str, Any], scene: Scene) -> None:
    places.judge_setting(operation["name"], operation["value"], scene)


def _judge_install(operation: Mapping[str, Any], scene: Scene) -> None:
    unit = scene.unit(operation["unit"])
    is_present = any(
        part.path == operation["path"] and part.text == operation["text"] for part in unit.parts
    )
    # A text that stays is only reloaded.
    if not is_present:
        places.judge_unit_file(operation["unit"], operation["path"], operation["text"], scene)


def _judge_processes(operation: Mapping[str, Any], scene: Scene) -> None:
    app_line.judge(operation, scene)
    for each in operation["processes"]:
        _judge_process(each["pid"], each["startTicks"], scene)


def _judge_process(pid: int, start_ticks: int, scene: Scene) -> None:
    """A worker that somebody started by hand as the app's user, and nothing else."""
    found = processes.read(pid)
    if found is None or found.start_ticks != start_ticks:
        # It has ended; the operation finds that, too.
        return
    owner = identity(scene.policy.app_user).name
    if found.user != owner:
        raise Refused("processes", f"process {pid} belongs to {shown(found.user)}, not to {owner}")
    group = processes.control_group(pid) or ""
    if not SESSION.fullmatch(group):
        raise Refused("processes", f"process {pid} is not in a session: {shown(group)}")
    if not any("celery" in word for word in found.argv):
        raise Refused("processes", f"process {pid} is no worker of Celery")


def judge_command(operation: Mapping[str, Any], scene: Scene) -> None:
    """Word for word one of the policy's. Raises Refused."""
    app_line.judge(operation, scene)
    if tuple(operation["argv"]) not in scene.policy.commands:
        told = shown(" ".join(operation["argv"]))
        raise Refused("commands", f"`{told}` is not a command of the policy")


def _judge_dependencies(operation: Mapping[str, Any], scene: Scene) -> None:
    """An installer runs code of the packages, so it is code like the commit's own."""
    app_line.judge(operation, scene)
    if ("checkout" in operation) == ("release" in operation):
        raise Refused("checkout", "install-dependencies names a checkout or a release")
    commits.judge(operation, scene)


def _judge_backup(operation: Mapping[str, Any], scene: Scene) -> None:
    judge_backup(operation["database"], operation["backup"], scene)


def judge_backup(database: str, backup: str, scene: Scene) -> None:
    """Raises Refused unless it is one of this database."""
    try:
        known = backups.listed(scene.host.state, database)
    except OSError:
        known = []
    if backup != "latest" and backup not in known:
        raise Refused("databases", f"{shown(backup)} is not a backup of this database")


def _described(rule: Rule) -> Rule:
    """Every operation has a title and a reason, and may name the app's user."""
    return rule._replace(
        required={**DESCRIBED, **rule.required},
        optional={**DIFF, "user": app_user, **rule.optional},
    )


_BARE: Mapping[str, Rule] = {
    "write-file": Rule(
        "files",
        {"path": places.known, "text": text(), "mode": MODE, "expects": EXPECTED},
        also=places.judge_write,
    ),
    "remove-file": Rule(
        "files",
        {"path": places.own_drop_in, "expects": shape.sha256},
        also=places.judge_removal,
    ),
    "set-mode": Rule(
        "swap", {"path": places.swap, "mode": choice("0600"), "owner": choice("root")}
    ),
    "make-swap": Rule(
        "swap",
        {
            "path": places.swap,
            "sizeBytes": whole(1, MOST_BYTES),
            "filesystem": word,
            "fill": choice("allocate", "write"),
            "nocow": flag,
        },
        also=_judge_size,
    ),
    "swap-on": Rule("swap", {"path": places.swap}),
    "swap-off": Rule("swap", {"path": places.swap}),
    "set-sysctl": Rule("sysctl", {"name": line(200), "value": line(40)}, also=_judge_setting),
    "try-app": Rule(
        "interpreter",
        {
            "unit": unit,
            "interpreter": listing(line(), 20),
            "app": line(200),
            "modules": listing(line(200), 100),
            "directory": maybe(line()),
            "timeoutSeconds": seconds,
        },
        {
            **INSTEAD,
            "unwanted": thing(
                Rule(
                    "interpreter",
                    {
                        "variables": listing(VARIABLE, 20),
                        "words": listing(OPTION, 50),
                        "why": line(),
                        "fix": line(),
                    },
                ),
                "unwanted",
            ),
            "visibility": thing(
                Rule(
                    "interpreter",
                    {"atLeastSeconds": data, "refuse": flag, "why": line(), "fix": line()},
                ),
                "visibility",
            ),
        },
        also=app_line.judge,
    ),
    "verify-unit": Rule(
        "unit text",
        {"unit": unit, "text": text()},
        {
            # The names become paths.
            "dropIns": listing(
                thing(
                    Rule("unit text", {"name": choice(*places.DROP_INS), "text": text()}), "dropIns"
                ),
                2,
            )
        },
        also=places.judge_verified,
    ),
    "guard-unit": Rule(
        "interpreter",
        {**BY_THE_APP, **UNDO},
        {"minHealthySeconds": seconds},
        also=app_line.judge,
    ),
    "guard-companion": Rule(
        "companions",
        {
            "unit": companion,
            "how": RENEWAL,
            "minHealthySeconds": seconds,
            "timeoutSeconds": seconds,
            "onlyOnce": flag,
        },
    ),
    "restart-companion": Rule(
        "companions",
        {
            "unit": companion,
            "how": RENEWAL,
            "minHealthySeconds": seconds,
            "timeoutSeconds": seconds,
            "urlTimeoutSeconds": seconds,
            "url": maybe(urls.allowed),
            "onlyOnce": flag,
        },
    ),
    "run-command": Rule(
        "commands",
        {
            "unit": unit,
            "interpreter": listing(line(), 20),
            "argv": listing(text(), 100),
            "timeoutSeconds": seconds,
        },
        INSTEAD,
        also=judge_command,
    ),
    "install-unit": Rule(
        "unit text",
        {"unit": unit, "path": shape.path, "text": text(), "expects": EXPECTED},
        also=_judge_install,
    ),
    "enable-unit": Rule("units", {"unit": unit}),
    # Of these paths it learns how much room their file systems have.
    "start-sampler": Rule(
        "units",
        {"unit": unit, "paths": listing(_watched, 20), "soakSeconds": soak.LENGTH},
        {"limits": soak.LIMITS},
    ),
    "stop-sampler": Rule("units", {"unit": unit}),
    "drain-worker": Rule(
        "interpreter",
        {
            **BY_THE_APP,
            **UNDO,
            "timeoutSeconds": seconds,
            "policy": choice("proceed", "abort", "wait"),
            "stuckSeconds": seconds,
        },
        also=app_line.judge,
    ),
    "stop-unit": Rule(
        "interpreter", {**BY_THE_APP, **UNDO, "timeoutSeconds": seconds}, also=app_line.judge
    ),
    "restore-unacked": Rule("interpreter", ASKING, also=app_line.judge),
    "find-unacked": Rule("interpreter", BY_THE_APP, OTHER_WORKERS, also=app_line.judge),
    "end-process": Rule(
        "processes",
        {
            **BY_THE_APP,
            "processes": listing(
                thing(
                    Rule(
                        "processes",
                        {
                            "pid": whole(2, 2**31),
                            "startTicks": whole(0, 2**63),
                            "cgroup": line(),
                        },
                    ),
                    "processes",
                )
            ),
            "graceSeconds": seconds,
        },
        also=_judge_processes,
    ),
    "start-unit": Rule(
        "interpreter", {**BY_THE_APP, **UNDO, "timeoutSeconds": seconds}, also=app_line.judge
    ),
    "prove-unit": Rule(
        "units",
        {
            "unit": unit,
            "properties": table(text(4096), 300),
            "children": maybe(whole(0, 100_000)),
            "minHealthySeconds": seconds,
            "timeoutSeconds": seconds,
        },
        {"exposure": thing(Rule("units", {"before": maybe(data)}), "exposure")},
    ),
    "fetch-commit": Rule(
        "checkout",
        {**CODE, "checkout": places.checkout, "sha256": shape.sha256},
        also=commits.judge,
    ),
    "checkout-code": Rule(
        "checkout",
        {**CODE, "checkout": places.checkout, "expects": shape.commit, "stash": flag},
        also=commits.judge,
    ),
    "unpack-release": Rule(
        "deployTo",
        {
            **CODE,
            "deployTo": places.deploy_to,
            "sha256": shape.sha256,
            "shared": listing(
                thing(Rule("deployTo", {"path": relative, "folder": flag}), "shared"), 100
            ),
        },
        also=commits.judge,
    ),
    "switch-release": Rule(
        "deployTo",
        {**CODE, "deployTo": places.deploy_to, "expects": maybe(line())},
        also=commits.judge,
    ),
    "prune-releases": Rule(
        "deployTo",
        {
            "deployTo": places.deploy_to,
            "keep": whole(1, 1000),
            "spare": listing(shape.commit, 1000),
        },
    ),
    "install-dependencies": Rule(
        "checkout",
        {
            **CODE,
            "unit": unit,
            "interpreter": listing(line(), 20),
            "tool": choice("pip", "uv"),
            "file": relative,
            "lock": line(200),
            "timeoutSeconds": seconds,
        },
        {"checkout": places.checkout, "release": places.below_deploy_to},
        also=_judge_dependencies,
    ),
    "backup-database": Rule(
        "databases", {"database": places.database, "unit": unit, "keep": whole(1, 1000)}
    ),
    "repair-jobs": Rule(
        "databases",
        {
            "database": places.database,
            "unit": unit,
            "rows": ROWS,
            "busyTimeoutSeconds": seconds,
            "lookAgain": maybe(thing(LOOK_AGAIN, "lookAgain")),
        },
    ),
    "send-tasks": Rule(
        "tasks",
        {
            **ASKING,
            "database": places.database,
            "calls": listing(thing(TASK_CALL, "calls"), 10_000),
        },
        also=app_line.judge,
    ),
    "restore-database": Rule(
        "databases",
        {
            "database": places.database,
            "unit": unit,
            "backup": line(),
            "keep": whole(1, 1000),
            "busyTimeoutSeconds": seconds,
        },
        also=_judge_backup,
    ),
}

RULES: Mapping[str, Rule] = {name: _described(rule) for name, rule in _BARE.items()}
# What hardened mode is made of: root alone changes it, with a key of root's.
OWNERS = (
    "create-user",
    "install-agent",
    "install-sudoers",
    "prove-agent",
    "remove-folder",
    "remove-user",
)


def judge(operation: Any, scene: Scene) -> None:
    """Raises Refused."""
    name = operation.get("op") if isinstance(operation, dict) else None
    rule = RULES.get(name) if isinstance(name, str) else None
    if name in OWNERS:
        raise Refused("owner", f"{name} is for the owner of the host, with a key of root's")
    if rule is None:
        raise Refused("operations", f"there is no rule for the operation {shown(name)}")
    try:
        shape.judge(operation, rule, scene, str(name), known=("op",))
    except OperationError as error:
        raise Refused(rule.name, error.message) from None


def judge_undo(operation: Any, scene: Scene) -> None:
    """An operation of a transaction that is to be undone: of these units, and in known places.

    What it restores was there before, so its content is not judged. Raises Refused.
    """
    name = operation.get("op") if isinstance(operation, dict) else None
    if name not in RULES:
        raise Refused("transactions", f"{shown(name)} is not undone over this key")
    unit, path = operation.get("unit"), operation.get("path")
    if unit is not None and unit not in (*scene.policy.units, *scene.policy.companions):
        raise Refused("units", f"{shown(unit)} is not {one_of(scene.policy.units)}")
    if name in ("write-file", "remove-file", "install-unit"):
        places.known(path, scene)
    elif path is not None:
        places.swap(path, scene)
