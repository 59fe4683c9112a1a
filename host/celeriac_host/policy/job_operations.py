"""The rules of the operations on the app's jobs and its databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import app_line, places
from celeriac_host.policy.fields import (
    ASKING,
    ROWS,
    judge_backup,
    task,
    unit,
)
from celeriac_host.policy.shape import (
    Rule,
    data,
    line,
    listing,
    maybe,
    seconds,
    thing,
    whole,
)

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

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


def _judge_backup(operation: Mapping[str, Any], scene: Scene) -> None:
    judge_backup(operation["database"], operation["backup"], scene)


RULES: Mapping[str, Rule] = {
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
