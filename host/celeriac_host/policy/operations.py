"""The rule of each operation. One that is not listed is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import (
    code_operations,
    host_operations,
    job_operations,
    places,
    shape,
    worker_operations,
)
from celeriac_host.policy.fields import app_user
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.policy.shape import (
    Check,
    Rule,
    line,
    text,
)
from celeriac_host.system.errors import OperationError

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

DESCRIBED: Mapping[str, Check] = {"title": line(), "why": line(16 * 1024)}
DIFF: Mapping[str, Check] = {"diff": text()}


def _described(rule: Rule) -> Rule:
    """Every operation has a title and a reason, and may name the app's user."""
    return rule._replace(
        required={**DESCRIBED, **rule.required},
        optional={**DIFF, "user": app_user, **rule.optional},
    )


RULES: Mapping[str, Rule] = {
    name: _described(rule)
    for rules in (
        host_operations.RULES,
        worker_operations.RULES,
        code_operations.RULES,
        job_operations.RULES,
    )
    for name, rule in rules.items()
}
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
