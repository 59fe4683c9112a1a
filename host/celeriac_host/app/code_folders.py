"""The context of a unit in a code folder that is not its current one yet."""

from __future__ import annotations

import re
from typing import Sequence

from celeriac_host.system import unit_context

PATH_VARIABLES = ("PYTHONPATH", "PATH", "VIRTUAL_ENV")


def moved(where: unit_context.Context, change: dict[str, str] | None) -> unit_context.Context:
    """`change` has `from` and `to`: paths in one folder become paths in the other."""
    if change is None:
        return where
    environment = dict(where.environment)
    for name in PATH_VARIABLES:
        if name in environment:
            environment[name] = ":".join(instead(environment[name].split(":"), change))
    return where._replace(directory=instead([where.directory], change)[0], environment=environment)


def instead(paths: Sequence[str], change: dict[str, str] | None) -> list[str]:
    if change is None:
        return list(paths)
    old, new = change["from"], change["to"]
    # Also in `PYTHONPATH=/srv/app/lib:…` for `env`.
    pattern = re.compile(rf"(?<![^=:]){re.escape(old)}(?=[/:]|$)")
    return [pattern.sub(lambda match: new, path) for path in paths]
