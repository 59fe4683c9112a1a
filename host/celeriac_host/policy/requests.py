"""The rule of each kind of request. One that is not listed is refused."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from celeriac_host.policy import app_line, facts, fields, operations, places, shape, urls
from celeriac_host.policy.refusal import Refused, one_of, shown
from celeriac_host.policy.shape import (
    Rule,
    choice,
    data,
    line,
    listing,
    maybe,
    number,
    seconds,
    table,
    text,
    thing,
    whole,
    word,
)
from celeriac_host.system.errors import OperationError

if TYPE_CHECKING:
    from celeriac_host.policy.scene import Scene

# In every message; `id` and `ask` have been read by then.
ENVELOPE = ("id", "ask", "protocol")
LONGEST_WAIT_SECONDS = 90 * 86_400
MOST_BYTES = 2**40
MOST_PROBES = 200
MOST_FIGURE = 2**53
FIGURES = table(maybe(number(-MOST_FIGURE, MOST_FIGURE)), 50)
BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def unit_name(value: Any, scene: Scene) -> None:
    """A unit of the policy in whatever state: an undo may have to repair it."""
    if value not in scene.policy.units or not isinstance(value, str):
        raise Refused("units", f"{shown(value)} is not {one_of(scene.policy.units)}")


def _of_a_unit(value: Any, scene: Scene) -> None:
    scene.belongs(value, shared=False)


def _of_a_unit_or_the_host(value: Any, scene: Scene) -> None:
    scene.belongs(value, shared=True)


def _about(value: Any, scene: Scene) -> None:
    """What a run has told is folded away in the next one: not for the runs of others."""
    if not facts.is_about_a_unit(value, scene):
        raise Refused("transactions", f"{shown(value)} names none of the units of the policy")


def _judge_meta(meta: Mapping[str, Any], scene: Scene) -> None:
    if "release" in meta and "unit" not in meta:
        raise Refused("units", "a release needs a unit")


META = thing(
    Rule(
        "meta",
        {"action": word, "holder": line(500), "sha": line(100), "lockTimeoutSeconds": seconds},
        {
            "actor": line(200),
            "unit": unit_name,
            "release": thing(
                Rule("meta", {"confirmWithinSeconds": maybe(number(0, LONGEST_WAIT_SECONDS))}),
                "release",
            ),
        },
        also=_judge_meta,
    ),
    "meta",
)


def _judge_plan(message: Mapping[str, Any], scene: Scene) -> None:
    plan, most = message["operations"], scene.policy.limits.operations
    if not isinstance(plan, list) or len(plan) > most:
        raise Refused("limits", f"a plan may have at most {most} operations")
    scene.operations = [each for each in plan if isinstance(each, dict)]
    for index, operation in enumerate(plan):
        try:
            operations.judge(operation, scene)
        except Refused as refused:
            where = f" (operation {index + 1} of {len(plan)})"
            raise Refused(refused.rule, refused.problem + where) from None
    _judge_once(plan)


def _judge_once(plan: Sequence[Mapping[str, Any]]) -> None:
    """Each file is compared with what is there now, so no operation may follow another one."""
    seen: set[str] = set()
    for operation in plan:
        if operation["op"] in ("write-file", "install-unit", "remove-file"):
            if operation["path"] in seen:
                raise Refused("files", f"the plan changes {operation['path']} twice")
            seen.add(operation["path"])


def _judge_undo(message: Mapping[str, Any], scene: Scene) -> None:
    """A unit that cannot be loaded may be what is to be undone; one of root's may not."""
    if message.get("transactions") == []:
        raise Refused("transactions", "it names none")
    if "newest" in message and "unit" not in message["meta"]:
        raise Refused("units", "the newest release needs a unit")
    for ident in message.get("transactions", ()):
        for operation in scene.belongs(ident, shared=False):
            operations.judge_undo(operation, scene)
    for name in scene.policy.units:
        try:
            scene.unit(name)
        except Refused as refused:
            if refused.rule == "appUser":
                raise


def _judge_opened(opened: Mapping[str, Any], scene: Scene) -> None:
    # It names a file below /run.
    if not opened["transactions"] or opened["live"] not in ("tend", *opened["transactions"]):
        raise Refused("transactions", f"{shown(opened['live'])} is not one of the transactions")


def _judge_upload(message: Mapping[str, Any], scene: Scene) -> None:
    needed = {"begin": ("sizeBytes",), "piece": ("offset", "data"), "end": ()}[message["step"]]
    for key in needed:
        if key not in message:
            raise Refused(shape.RULE, f"receive has no {key}")
    largest = max(message.get("sizeBytes", 0), message.get("offset", 0))
    if largest > scene.policy.limits.bytes:
        raise Refused("limits", f"{largest} bytes are more than {scene.policy.limits.bytes}")
    if not scene.policy.checkout and not scene.policy.deploy_to:
        raise Refused("checkout", "the policy names neither a checkout nor a folder for code")


EXTRACT = thing(
    Rule(
        "databases",
        {
            "unit": fields.unit,
            "tables": listing(data, 100),
            # A table of the copy, not of the database.
            "counts": line(100),
            "mostUnknown": whole(0, 10_000),
        },
    ),
    "extract",
)

# --- probes of the gate ---------------------------------------------------------------------------


def _judge_call(request: Mapping[str, Any], scene: Scene) -> None:
    poll = request["pollUrl"]
    if poll is not None:
        # A field of the answer is quoted, so it adds neither a host nor a slash.
        urls.allowed(urllib.parse.urljoin(request["url"], re.sub(r"\{[\w.-]+\}", "x", poll)), scene)
    _judge_clean(request, scene)


def _judge_clean(request: Mapping[str, Any], scene: Scene) -> None:
    wanted = request.get("clean")
    if wanted is not None:
        url = re.sub(r"\{[\w.-]+\}", "x", wanted["url"])
        urls.allowed(urllib.parse.urljoin(request.get("url", ""), url), scene)


def _judge_task(request: Mapping[str, Any], scene: Scene) -> None:
    app_line.judge(request, scene)
    _judge_clean(request, scene)


# The app's own way to remove or mark what a probe made.
CLEAN = thing(
    Rule(
        "urls",
        {
            "method": choice("DELETE", "POST"),
            "url": line(),
            "form": table(text(64 * 1024), 100),
        },
    ),
    "clean",
)


PROBES: Mapping[str, Rule] = {
    "canary": Rule(
        "interpreter",
        {
            **fields.BY_THE_APP,
            "queues": listing(line(300), MOST_PROBES),
            "timeoutSeconds": seconds,
        },
        also=app_line.judge,
        # It leaves nothing behind.
        reads=True,
    ),
    "task": Rule(
        "tasks",
        {
            **fields.BY_THE_APP,
            "task": fields.task,
            "queue": maybe(line(300)),
            "calls": listing(
                thing(Rule("tasks", {"args": listing(data, 100)}), "calls"), MOST_PROBES
            ),
            "timeoutSeconds": seconds,
        },
        also=_judge_task,
        optional={"clean": CLEAN},
    ),
    "http": Rule(
        "urls",
        {
            "method": choice("GET", "POST"),
            "url": urls.allowed,
            "form": table(text(64 * 1024), 100),
            "pollUrl": maybe(line()),
            "field": line(200),
            "done": listing(line(200), 50),
            "failed": listing(line(200), 50),
            "timeoutSeconds": seconds,
        },
        also=_judge_call,
        optional={"clean": CLEAN},
    ),
}


def _judge_probe(message: Mapping[str, Any], scene: Scene) -> None:
    request = message["request"]
    kind = request.get("kind") if isinstance(request, dict) else None
    rule = PROBES.get(kind) if isinstance(kind, str) else None
    if rule is None:
        raise Refused("probes", f"there is no rule for the probe {shown(kind)}")
    if scene.access != "change" and not rule.reads:
        raise Refused("access", f"a probe of kind {kind} changes something, and access is read")
    shape.judge(
        request,
        rule._replace(optional={**rule.optional, "user": fields.app_user}),
        scene,
        str(kind),
        ("kind",),
    )


# --------------------------------------------------------------------------------------------------

RULES: Mapping[str, Rule] = {
    "look": Rule(
        "facts",
        {"query": data},
        also=lambda message, scene: facts.judge(message["query"], scene),
        reads=True,
    ),
    "snapshot": Rule(
        "databases",
        {"database": places.database, "limitBytes": whole(1, MOST_BYTES)},
        {"extract": EXTRACT, "user": fields.app_user},
        reads=True,
    ),
    "submit": Rule("probes", {"request": data}, also=_judge_probe, reads=True),
    "receive": Rule(
        "checkout",
        {"sha256": shape.sha256, "step": choice("begin", "piece", "end")},
        {
            "sizeBytes": whole(1, MOST_BYTES),
            "offset": whole(0, MOST_BYTES),
            "data": shape.matching(BASE64, "base64"),
        },
        also=_judge_upload,
    ),
    "apply": Rule("operations", {"operations": data, "meta": META}, also=_judge_plan),
    "undo": Rule(
        "transactions",
        {"transactions": listing(_of_a_unit, 100), "meta": META},
        {"newest": _of_a_unit},
        also=_judge_undo,
    ),
    "follow": Rule(
        "transactions",
        {
            "opened": thing(
                Rule(
                    "transactions",
                    {"transactions": listing(_of_a_unit_or_the_host, 100), "live": line(100)},
                    also=_judge_opened,
                ),
                "opened",
            )
        },
    ),
    "recover": Rule("transactions", {"meta": META}, also=_judge_undo),
    "confirm": Rule(
        "transactions",
        {"unit": unit_name, "transactions": listing(_of_a_unit, 100), "meta": META},
        # Kept for comparisons only.
        {"figures": FIGURES},
    ),
    # Only what the soak of one of the units has shown; it starts, stops and undoes no release.
    "prove": Rule(
        "transactions",
        {
            "unit": unit_name,
            "transaction": _of_a_unit,
            "verdict": choice("proven", "failed"),
            "why": line(2000),
            "figures": FIGURES,
            "meta": META,
        },
    ),
    "acknowledge": Rule(
        "transactions",
        {"transactions": listing(_of_a_unit_or_the_host, 1000)},
        # What a run has told, for the next one to leave out; it is only kept, and bounded.
        {
            "notices": thing(
                Rule("transactions", {"about": _about, "messages": listing(text(), 1000)}),
                "notices",
            )
        },
    ),
    "bye": Rule("requests", {}, reads=True),
}
# What they ask for changes the host, or costs the app's workers time.
COUNTED = ("apply", "undo", "submit")


def judge(message: Mapping[str, Any], scene: Scene) -> None:
    """Raises Refused."""
    ask = message.get("ask")
    rule = RULES.get(ask) if isinstance(ask, str) else None
    if rule is None:
        raise Refused("requests", f"there is no rule for the request {shown(ask)}")
    if scene.access != "change" and not rule.reads:
        raise Refused("access", f"{ask} changes the host, and access is {scene.access}")
    try:
        shape.judge(message, rule, scene, str(ask), known=ENVELOPE)
    except OperationError as error:
        raise Refused(rule.name, error.message) from None


def narrowed(message: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """The request with what it leaves open, or asks too much of."""
    if message["ask"] == "look":
        return {**message, "query": facts.narrowed(message["query"], scene)}
    if message["ask"] == "snapshot":
        most = min(message["limitBytes"], scene.policy.limits.bytes)
        return {**message, "limitBytes": most}
    return message
