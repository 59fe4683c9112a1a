"""The rule of each fact. One that is not listed is refused. None of them changes the host."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Dict, Mapping

from celeriac_host.policy import app_line, places, shape, urls
from celeriac_host.policy.fields import (
    ASKING,
    BY_THE_APP,
    COMMAND,
    ROWS,
    app_user,
    beats_of_celery,
    companion,
    judge_backup,
    judge_command,
    unit,
    workers_of_celery,
)
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.policy.shape import (
    Rule,
    choice,
    flag,
    line,
    listing,
    maybe,
    number,
    seconds,
    thing,
)
from celeriac_host.system.errors import OperationError

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

# deploy-worker looks at this one, whatever provision made.
USUAL_SWAP = "/swapfile"
USUAL_SETTING = "vm.swappiness"
MOST_URLS = 20


def _swap(value: Any, scene: Scene) -> None:
    if value != USUAL_SWAP:
        places.swap(value, scene)


def _setting(value: Any, scene: Scene) -> None:
    known = {USUAL_SETTING, *scene.policy.sysctl}
    if not isinstance(value, str) or value not in known:
        raise Refused("sysctl", f"{shown(value)} is not {one_of(known)}")


def _unit_or_companion(value: Any, scene: Scene) -> None:
    if value not in scene.policy.companions:
        scene.unit(value)


def _judge_programs(query: Mapping[str, Any], scene: Scene) -> None:
    """Only what may be the unit's Celery or Python; of a script, what the unit's user may read."""
    name = query["name"]
    words = app_line.Line(scene.unit(name), scene).parts if name in scene.policy.units else set()
    known = {os.path.basename(word) for word in words if word}
    for path in query.get("programs", ()):
        base = os.path.basename(path)
        is_usual = re.fullmatch(r"celery|(?:python|pypy)[0-9.]*", base)
        if not (is_usual or path in words or base in known):
            raise Refused("files", f"{shown(path)} is not a program of {name}")


def _judge_stores(query: Mapping[str, Any], scene: Scene) -> None:
    for database in query["databases"] or ():
        places.database(database, scene)


def _judge_backup(query: Mapping[str, Any], scene: Scene) -> None:
    if query["backup"] != "latest":
        judge_backup(query["database"], query["backup"], scene)


def _judge_release(query: Mapping[str, Any], scene: Scene) -> None:
    if query["source"] == "git" and query["checkout"] is not None:
        places.checkout(query["checkout"], scene)
    if query["source"] == "upload":
        places.deploy_to(query["deployTo"], scene)


def _judge_command(query: Mapping[str, Any], scene: Scene) -> None:
    """It may change something, as far as anybody knows."""
    if scene.access != "change":
        raise Refused("access", f"a command may change something, and access is {scene.access}")
    judge_command(query, scene)


def _belongs(value: Any, scene: Scene) -> None:
    scene.belongs(value, shared=False)


UNIT = {"unit": unit}
SAMPLE_CURSOR = Rule("units", {"file": shape.word, "offset": shape.whole(0, 2**53)})
_BARE: Mapping[str, Rule] = {
    "host": Rule("host", {}),
    "past": Rule("host", {}),
    "files": Rule("files", {"paths": listing(places.known, 100)}),
    "swap": Rule("swap", {"path": _swap}),
    "sysctl": Rule("sysctl", {"names": listing(_setting, 100)}),
    "unit": Rule(
        "units",
        {"name": _unit_or_companion},
        {"exposure": flag, "programs": listing(shape.path, 300)},
        also=_judge_programs,
    ),
    "workers": Rule("workers", {"command": workers_of_celery}),
    "code": Rule("units", UNIT),
    "settings": Rule("units", UNIT),
    "pressure": Rule("units", UNIT),
    # Only the mounts are told on which they are.
    "room": Rule("units", {**UNIT, "paths": listing(shape.path, 20)}),
    "journal": Rule("units", UNIT, {"earlierRun": line(100)}),
    "logged": Rule("units", {**UNIT, "since": maybe(number(0, 2**40))}, {"after": line(400)}),
    "kernel": Rule("units", UNIT),
    "limits": Rule("units", UNIT),
    "sampling": Rule("units", UNIT),
    "samples": Rule("units", {**UNIT, "after": maybe(thing(SAMPLE_CURSOR, "after"))}),
    "command": Rule(
        "commands",
        COMMAND,
        also=_judge_command,
    ),
    "http": Rule(
        "urls",
        {
            "probes": listing(
                thing(Rule("urls", {"url": urls.allowed, "timeoutSeconds": seconds}), "probes"),
                MOST_URLS,
            )
        },
    ),
    "stores": Rule(
        "databases",
        {"unit": unit, "databases": maybe(listing(line(), 100))},
        {"statusColumns": listing(line(200), 100)},
        also=_judge_stores,
    ),
    "tasks": Rule(
        "interpreter", {**ASKING, "ids": listing(line(300), 20_000)}, also=app_line.judge
    ),
    "unacked": Rule("interpreter", BY_THE_APP, also=app_line.judge),
    "consuming": Rule(
        "interpreter",
        {**BY_THE_APP, "queues": maybe(listing(line(300), 1000)), "forks": flag},
        also=app_line.judge,
    ),
    "broker": Rule(
        "interpreter",
        {
            **BY_THE_APP,
            "queues": maybe(listing(line(300), 1000)),
            "beat": maybe(
                thing(
                    Rule(
                        "interpreter",
                        {
                            "directory": line(),
                            "schedule": maybe(line()),
                            "scheduler": maybe(line()),
                        },
                    ),
                    "beat",
                )
            ),
        },
        also=app_line.judge,
    ),
    "beats": Rule("workers", {"command": beats_of_celery}),
    "resets": Rule("databases", {"database": places.database}),
    "backup": Rule(
        "databases",
        {"database": places.database, "unit": unit, "backup": line()},
        also=_judge_backup,
    ),
    "rehearsal": Rule(
        "databases",
        {"database": places.database, "unit": unit, "rows": ROWS, "busyTimeoutSeconds": seconds},
    ),
    "transactions": Rule("transactions", {}, {"unit": unit}),
    "undoing": Rule("transactions", {"transactions": listing(_belongs, 100)}),
    "releases": Rule("units", UNIT),
    "release": Rule(
        "checkout",
        {
            "unit": unit,
            "source": choice("none", "git", "upload"),
            "checkout": maybe(line()),
            "deployTo": maybe(line()),
        },
        # Without one it is that of the unit.
        {"user": maybe(app_user)},
        also=_judge_release,
    ),
    "environment": Rule(
        "interpreter",
        {"unit": unit, "interpreter": listing(line(), 20), "user": app_user},
        also=app_line.judge,
    ),
    "companions": Rule(
        "companions",
        {
            "unit": unit,
            "units": listing(companion, 100),
            "folder": maybe(places.deploy_to),
        },
    ),
}

RULES: Mapping[str, Rule] = {
    name: rule._replace(optional={"user": app_user, **rule.optional}, reads=True)
    for name, rule in _BARE.items()
}
# They tell who may log in and what they own, and what runs besides the units of the policy.
OWNERS = ("hardening", "services", "starts")


def judge(query: Any, scene: Scene) -> None:
    """Raises Refused."""
    if not isinstance(query, dict):
        raise Refused("facts", "the query is not an object")
    for name, args in query.items():
        rule = RULES.get(name)
        if name in OWNERS:
            raise Refused("owner", f"{name} is for the owner of the host, with a key of root's")
        if rule is None:
            raise Refused("facts", f"there is no rule for the fact {shown(name)}")
        try:
            shape.judge(args, rule, scene, name)
        except OperationError as error:
            raise Refused(rule.name, error.message) from None


def narrowed(query: Dict[str, Any], scene: Scene) -> Dict[str, Any]:
    """The query with what it leaves open: a search finds only what the policy names."""
    found = dict(query)
    if "stores" in found and found["stores"]["databases"] is None:
        found["stores"] = {**found["stores"], "databases": list(scene.policy.databases)}
        _judge_stores(found["stores"], scene)
    if "release" in found and found["release"]["source"] == "git":
        if not scene.policy.checkout:
            raise Refused("checkout", "the policy names no checkout")
        places.checkout(scene.policy.checkout, scene)
        found["release"] = {**found["release"], "checkout": scene.policy.checkout}
    return found


def told(answer: Dict[str, Any], scene: Scene) -> Dict[str, Any]:
    """The answer without the transactions and the findings of other units."""
    past = answer.get("past")
    if not isinstance(past, dict):
        return answer
    known = (None, *scene.policy.units)
    kept = {
        key: [each for each in past[key] if each.get("unit") in known]
        for key in ("untold", "open", "awaiting")
    }
    notices = {
        about: texts for about, texts in past["notices"].items() if is_about_a_unit(about, scene)
    }
    return {**answer, "past": {**past, **kept, "notices": notices}}


def is_about_a_unit(about: Any, scene: Scene) -> bool:
    """Whether a finding is about a unit of the policy, or what provision says about the host."""
    subject = re.sub(r", plan [1-9]$", "", about) if isinstance(about, str) else None
    action, of, name = (subject or "").partition(" of ")
    if not of:
        return subject == "provision"
    return bool(re.fullmatch(r"[a-z][a-z-]{0,49}", action)) and name in scene.policy.units
