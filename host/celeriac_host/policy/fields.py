"""Fields that several operations, facts and requests have, and what is compared for several."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import app_line, places
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.policy.shape import (
    Check,
    Rule,
    data,
    line,
    listing,
    seconds,
    text,
    thing,
)
from celeriac_host.store import backups

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

# Of `workerCommand` and `beatCommand` in src/celery/worker-process.ts; a test holds them equal.
WORKERS_SHA256 = "b791ede99222021f8a565ec5877e4426efab6a97c88976a4386e4950699b3cd3"
BEATS_SHA256 = "14f3ea6149692582ebef51ada47ce99e9380c7b985808ea4d5731f1e8eae644a"


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
    _only(value, WORKERS_SHA256)


def beats_of_celery(value: Any, scene: Scene) -> None:
    _only(value, BEATS_SHA256)


def _only(value: Any, digest: str) -> None:
    if not isinstance(value, str) or _digest(value) != digest:
        raise Refused("workers", "this pattern of processes is not Celeriac's own")


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


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
COMMAND: Mapping[str, Check] = {
    "unit": unit,
    "interpreter": listing(line(), 20),
    "argv": listing(text(), 100),
    "timeoutSeconds": seconds,
}
ASKING: Mapping[str, Check] = {**BY_THE_APP, **OTHER_WORKERS}
INSTEAD: Mapping[str, Check] = {
    "instead": thing(
        Rule("deployTo", {"from": places.below_deploy_to, "to": places.below_deploy_to}), "instead"
    )
}
UNDO: Mapping[str, Check] = {"undoTimeoutSeconds": seconds}
ROWS = listing(data, 20_000)


def judge_command(operation: Mapping[str, Any], scene: Scene) -> None:
    """Word for word one of the policy's. Raises Refused."""
    app_line.judge(operation, scene)
    if tuple(operation["argv"]) not in scene.policy.commands:
        told = shown(" ".join(operation["argv"]))
        raise Refused("commands", f"`{told}` is not a command of the policy")


def judge_backup(database: str, backup: str, scene: Scene) -> None:
    """Raises Refused unless it is one of this database."""
    try:
        known = backups.listed(scene.host.state, database)
    except OSError:
        known = []
    if backup != "latest" and backup not in known:
        raise Refused("databases", f"{shown(backup)} is not a backup of this database")
