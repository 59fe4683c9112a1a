"""What a soak may be: its length, and the limits that the host remembers of it."""

from __future__ import annotations

from celeriac_host.policy.shape import Rule, maybe, number, thing, whole

# The host keeps samples of eight days.
LENGTH = number(0, 8 * 24 * 3600)
_COUNT = whole(0, 10**6)
LIMITS = thing(
    Rule(
        "units",
        {
            "failureLimit": _COUNT,
            "consecutive": _COUNT,
            "rateLimitMax": maybe(_COUNT),
            "errorRateMax": maybe(_COUNT),
        },
    ),
    "limits",
)
