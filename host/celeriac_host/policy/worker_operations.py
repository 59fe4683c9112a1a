"""The rules of the operations on the worker's unit and processes, and on its companions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import app_line, places, shape, soak, urls
from celeriac_host.policy.fields import (
    ASKING,
    BY_THE_APP,
    COMMAND,
    INSTEAD,
    OTHER_WORKERS,
    UNDO,
    companion,
    judge_command,
    unit,
)
from celeriac_host.policy.refusal import Refused, shown
from celeriac_host.policy.shape import (
    Rule,
    choice,
    data,
    flag,
    line,
    listing,
    matching,
    maybe,
    seconds,
    table,
    text,
    thing,
    whole,
)
from celeriac_host.state import sampling
from celeriac_host.system import processes
from celeriac_host.system.identities import identity

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

EXPECTED = maybe(shape.sha256)
# An option of a command, such as -B, and no other word: others may be secrets.
OPTION = matching(re.compile(r"-{1,2}[A-Za-z][A-Za-z-]{0,40}"), "an option")
VARIABLE = matching(re.compile(r"[A-Z][A-Z0-9_]{0,60}"), "the name of a variable")
SESSION = re.compile(r"/user\.slice/(?:.*/)?session-[0-9]+\.scope(?:/.*)?")
RENEWAL = choice("restart", "reload")


def _watched(value: Any, scene: Scene) -> None:
    if value != "/":
        shape.path(value, scene)


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


RULES: Mapping[str, Rule] = {
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
            "broker": thing(
                Rule("interpreter", {"refuse": flag, "why": line(), "fix": line()}), "broker"
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
        COMMAND,
        INSTEAD,
        also=judge_command,
    ),
    "install-unit": Rule(
        "unit text",
        {"unit": unit, "path": shape.path, "text": text(), "expects": EXPECTED},
        also=_judge_install,
    ),
    "enable-unit": Rule("units", {"unit": unit}),
    "start-sampler": Rule(
        "units",
        {"unit": unit, "paths": listing(_watched, sampling.MOST_PATHS), "soakSeconds": soak.LENGTH},
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
}
