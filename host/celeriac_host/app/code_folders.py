"""The context of a unit in a code folder that is not its current one yet."""

from __future__ import annotations

from typing import Sequence

from celeriac_host.system import units

PATH_VARIABLES = ("PYTHONPATH", "PATH", "VIRTUAL_ENV")


def moved(where: units.Context, change: dict[str, str] | None) -> units.Context:
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
    inside = (path == old or path.startswith(old + "/") for path in paths)
    return [new + path[len(old) :] if yes else path for path, yes in zip(paths, inside)]
