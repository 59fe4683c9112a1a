"""The rules of the operations on files, swap and settings of the kernel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Mapping

from celeriac_host.policy import places, shape
from celeriac_host.policy.refusal import Refused
from celeriac_host.policy.shape import (
    Rule,
    choice,
    flag,
    line,
    matching,
    maybe,
    text,
    whole,
    word,
)

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

MOST_BYTES = 2**44
MODE = matching(re.compile(r"0[0-7]{3}"), "four octal digits")
EXPECTED = maybe(shape.sha256)


def _judge_size(operation: Mapping[str, Any], scene: Scene) -> None:
    allowed = scene.policy.swap
    if allowed is None or operation["sizeBytes"] > allowed.largest_bytes:
        most = allowed.largest_bytes if allowed else 0
        raise Refused("swap", f"{operation['sizeBytes']} bytes are more than {most}")


def _judge_setting(operation: Mapping[str, Any], scene: Scene) -> None:
    places.judge_setting(operation["name"], operation["value"], scene)


RULES: Mapping[str, Rule] = {
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
}
