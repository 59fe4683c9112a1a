"""What the sampler wrote about a unit while its release was not proven: see SamplesFact."""

from __future__ import annotations

from typing import Any

from celeriac_host.state import samples, sampling
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System


def look(args: dict[str, Any], host: System) -> dict[str, Any]:
    try:
        found = samples.page(host.state, args["unit"], args["after"])
    except ValueError as error:
        raise OperationError(str(error)) from None
    except OSError as error:
        raise OperationError(f"cannot read the samples: {error.strerror}") from None
    return {**found, **sampling.fact(host.state, args["unit"])}
