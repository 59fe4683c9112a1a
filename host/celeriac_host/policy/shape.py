"""Checks of single values of a request. None of them looks at the host."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Callable, Mapping, NamedTuple, Sequence

from celeriac_host.policy.document import is_path
from celeriac_host.policy.refusal import Refused, shown

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

RULE = "shape"
LINE = 64 * 1024
TEXT = 1024 * 1024
DEPTH = 12
# Half of a pair has no bytes: a file could not be written with it.
NOT_IN_A_TEXT = re.compile(r"[\x00\ud800-\udfff]")
NOT_ON_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
IDENT = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")
WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Check = Callable[[Any, "Scene"], None]


class Rule(NamedTuple):
    """What a request, an operation or a fact may contain.

    `name` is the rule that people read about. A key that is neither required nor optional is
    refused: a later one needs a rule first. `also` compares with the policy and the host.
    """

    name: str
    required: Mapping[str, Check]
    optional: Mapping[str, Check] = {}
    also: Callable[[Mapping[str, Any], Scene], None] = lambda thing, scene: None
    # Whether access `read` may ask for it.
    reads: bool = False


def judge(thing: Any, rule: Rule, scene: Scene, what: str, known: Sequence[str] = ()) -> None:
    """Raises Refused. `known` are keys that were judged already."""
    if not isinstance(thing, dict):
        raise Refused(RULE, f"{what} is not an object")
    for key in rule.required:
        if key not in thing:
            raise Refused(RULE, f"{what} has no {key}")
    for key, value in thing.items():
        check = rule.required.get(key) or rule.optional.get(key)
        if check is None:
            if key in known:
                continue
            raise Refused(rule.name, f"no rule allows {shown(key)} in {what}")
        try:
            check(value, scene)
        except Refused as refused:
            if refused.rule != RULE:
                raise
            raise Refused(rule.name, f"{key} of {what}: {refused.problem}") from None
    rule.also(thing, scene)


def wrong(expected: str) -> Refused:
    return Refused(RULE, f"expected {expected}")


def line(most: int = 4096) -> Check:
    """One printable line."""

    def check(value: Any, scene: Scene) -> None:
        if not isinstance(value, str) or len(value) > most or NOT_ON_A_LINE.search(value):
            raise wrong(f"one line of at most {most} characters")

    return check


def text(most: int = TEXT) -> Check:
    """Several lines, without control characters."""

    def check(value: Any, scene: Scene) -> None:
        if not isinstance(value, str) or len(value) > most or NOT_IN_A_TEXT.search(value):
            raise wrong(f"a valid text of at most {most} characters")

    return check


def matching(pattern: re.Pattern[str], expected: str) -> Check:
    def check(value: Any, scene: Scene) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise wrong(expected)

    return check


sha256 = matching(SHA256, "a SHA-256")
commit = matching(COMMIT, "the full hash of a commit")
ident = matching(IDENT, "the id of a transaction")
word = matching(WORD, "a word")


def flag(value: Any, scene: Scene) -> None:
    if not isinstance(value, bool):
        raise wrong("true or false")


def path(value: Any, scene: Scene) -> None:
    if not is_path(value):
        raise wrong("a normalized absolute path")


def relative(value: Any, scene: Scene) -> None:
    """A path below another, which it cannot leave."""
    if not isinstance(value, str) or not is_path("/" + value):
        raise wrong("a normalized relative path")


def choice(*words: str) -> Check:
    def check(value: Any, scene: Scene) -> None:
        if value not in words or not isinstance(value, str):
            raise wrong(" or ".join(words))

    return check


def whole(least: int, most: int) -> Check:
    def check(value: Any, scene: Scene) -> None:
        if type(value) is not int or not least <= value <= most:
            raise wrong(f"a whole number from {least} to {most}")

    return check


def seconds(value: Any, scene: Scene) -> None:
    most = scene.policy.limits.seconds
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= most:
        raise Refused("limits", f"expected 0 to {most} seconds")


def number(least: float, most: float) -> Check:
    def check(value: Any, scene: Scene) -> None:
        if (
            type(value) not in (int, float)
            or not math.isfinite(value)
            or not least <= value <= most
        ):
            raise wrong(f"a number from {least:g} to {most:g}")

    return check


def maybe(check: Check) -> Check:
    """The value, or null."""
    return lambda value, scene: None if value is None else check(value, scene)


def either(first: Check, second: Check) -> Check:
    def check(value: Any, scene: Scene) -> None:
        try:
            first(value, scene)
        except Refused:
            second(value, scene)

    return check


def listing(check: Check, most: int = 1000) -> Check:
    def check_all(value: Any, scene: Scene) -> None:
        if not isinstance(value, list) or len(value) > most:
            raise wrong(f"a list of at most {most}")
        for each in value:
            check(each, scene)

    return check_all


def table(check: Check, most: int = 1000) -> Check:
    """An object with any keys of one line each."""
    name = line(200)

    def check_all(value: Any, scene: Scene) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise wrong(f"an object of at most {most} keys")
        for key, each in value.items():
            name(key, scene)
            check(each, scene)

    return check_all


def thing(rule: Rule, what: str) -> Check:
    return lambda value, scene: judge(value, rule, scene, what)


def data(value: Any, scene: Scene, depth: int = DEPTH) -> None:
    """JSON whose meaning is the operation's: only its depth is limited."""
    if depth == 0:
        raise wrong(f"at most {DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong("finite numbers")
    for each in value if isinstance(value, list) else ():
        data(each, scene, depth - 1)
    for each in value.values() if isinstance(value, dict) else ():
        data(each, scene, depth - 1)
