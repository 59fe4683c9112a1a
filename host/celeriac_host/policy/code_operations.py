"""The rules of the operations on the app's code and its dependencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import app_line, commits, places, shape
from celeriac_host.policy.fields import unit
from celeriac_host.policy.refusal import Refused
from celeriac_host.policy.shape import (
    Check,
    Rule,
    choice,
    flag,
    line,
    listing,
    maybe,
    relative,
    seconds,
    thing,
    whole,
)

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

CODE: Mapping[str, Check] = {"commit": shape.commit}


def _judge_dependencies(operation: Mapping[str, Any], scene: Scene) -> None:
    """An installer runs code of the packages, so it is code like the commit's own."""
    app_line.judge(operation, scene)
    if ("checkout" in operation) == ("release" in operation):
        raise Refused("checkout", "install-dependencies names a checkout or a release")
    commits.judge(operation, scene)


RULES: Mapping[str, Rule] = {
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
}
