"""What the judge answers with, and where its policy is."""

from __future__ import annotations

POLICY_PATH = "/etc/celeriac/policy.json"
SHOWN = 120


class Refused(Exception):
    """A request that the policy does not allow; `rule` names what refuses it."""

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(f"{rule}: {problem}")
        self.rule = rule
        self.problem = problem


def shown(value: object) -> str:
    """A value of the wire for a message: printable, on one line, and short."""
    text = value if isinstance(value, str) else repr(value)[: 4 * SHOWN]
    plain = "".join(each if each.isprintable() else "?" for each in text[: 4 * SHOWN])
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "\u2026"


def one_of(names: object) -> str:
    """What follows `x is not` in a message: `one of a, b`, or that nothing is allowed."""
    known = sorted(str(name) for name in names) if isinstance(names, (list, tuple, set)) else []
    return f"one of {', '.join(known[:10])}" if known else "allowed: the policy names none"
