"""Finds messages in the app's broker: those that dead workers left, and those of given tasks.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`), with the app's
own Kombu. Redis shows its messages, RabbitMQ their number. Python 3.6 and later, Celery 4.4 and
later.
"""

import base64
import json
import time
from importlib import import_module
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from celeriac_host.app.programs import rabbitmq
from celeriac_host.app.programs.app_side import Line, Problem, connect, serve, with_app

ROLL_CALL_SECONDS = 2.0
# Each attempt waits longer, for slow workers and hosts.
ROLL_CALLS = (ROLL_CALL_SECONDS, 6.0, 20.0)
MUTEX_SECONDS = 10.0
# The oldest; more than this cannot be leftovers.
UNACKED_LIMIT = 10000
QUEUED_LIMIT = 200000
CHUNK = 1000
SHOWN = 20
# Of a time of these years; a clock since the boot shows less.
TIMES = (1e9, 1e10)
# Between the parts of a binding, as Kombu writes it.
SEPARATOR = b"\x06\x16"


# Node name and answer.
Answer = Tuple[str, Any]


class Unacked(NamedTuple):
    tag: str
    task: str
    ident: str
    exchange: str
    routing_key: str
    delivered_at: float
    message: Dict[str, Any]


class Workers:
    """The workers of an app, as they answer its remote control."""

    def __init__(self, app: Any, connection: Any) -> None:
        self.app = app
        self.connection = connection

    def everybody(self, command: str) -> Dict[str, Any]:
        return dict(self.answers(command, ROLL_CALL_SECONDS))

    def answers(self, command: str, seconds: float, limit: Optional[int] = None) -> List[Answer]:
        """Two workers with the same name are two answers."""
        found = self.app.control.broadcast(command, reply=True, timeout=seconds, limit=limit)
        return [(node, said) for each in found or [] for node, said in each.items()]


class Broker(Workers):
    """Kombu's Redis channel, and a client that reads any key by its whole name."""

    def __init__(self, app: Any, connection: Any) -> None:
        super().__init__(app, connection)
        self.channel = self.connection.default_channel
        redis = import_module("redis")
        pool = self.channel.client.connection_pool
        # Kombu's own client adds the prefix to the keys of some commands only.
        self.prefix = getattr(self.channel, "global_keyprefix", "") or ""
        self.raw = redis.Redis(connection_pool=pool)

    def key(self, name: str) -> str:
        return self.prefix + name

    def unacked(self) -> List[Unacked]:
        """Oldest first."""
        index, kept = self.key(self.channel.unacked_index_key), self.key(self.channel.unacked_key)
        rows = self.raw.zrange(index, 0, UNACKED_LIMIT - 1, withscores=True)
        found = []
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            for (tag, score), raw in zip(part, self.raw.hmget(kept, [tag for tag, _ in part])):
                message = unacked_of(tag, raw, score)
                if message is not None:
                    found.append(message)
        return found

    def queued(self) -> Iterator[bytes]:
        """Every message in a queue of this broker."""
        return (raw for _, raw in self.waiting())

    def waiting(self) -> Iterator[Tuple[str, bytes]]:
        """The same, each with the key of its list."""
        count = 0
        for name in sorted(self.queues()):
            for step in self.channel.priority_steps:
                key = self.key(self.channel._q_for_pri(name, step))
                if self.raw.type(key) != b"list":
                    continue
                for start in range(0, self.raw.llen(key), CHUNK):
                    for raw in self.raw.lrange(key, start, start + CHUNK - 1):
                        count += 1
                        if count > QUEUED_LIMIT:
                            raise Problem(
                                "its broker has more than %d queued messages" % QUEUED_LIMIT
                            )
                        yield key, raw

    def queues(self) -> Set[str]:
        found = {str(name) for name in self.app.amqp.queues}
        found.add(str(self.app.conf.task_default_queue))
        for key in self.raw.scan_iter(match=self.key("_kombu.binding.*"), count=1000):
            for binding in self.raw.smembers(key):
                found.add(binding.split(SEPARATOR)[-1].decode("utf-8", "replace"))
        return found

    def listeners(self) -> List[str]:
        """Clients of this database that subscribe to remote control or events, as workers do."""
        try:
            mine = self.raw.connection_pool.connection_kwargs.get("db") or 0
            rows = self.raw.client_list()
        except Exception:
            return []  # not every Redis allows this command
        return [
            row.get("addr", "?")
            for row in rows
            if int(row.get("psub", 0)) + int(row.get("sub", 0)) > 0
            and str(row.get("db")) == str(mine)
        ]


def unacked_of(tag: bytes, raw: Any, score: float) -> Any:
    """The message; None if it is gone or not in Kombu's format."""
    try:
        message, exchange, routing_key = json.loads(raw)
        ident, task = identify(message)
    except (TypeError, ValueError, AttributeError):
        return None
    return Unacked(tag.decode("utf-8"), task, ident, exchange, routing_key, score, message)


def identify(message: Dict[str, Any]) -> List[str]:
    """Id and name of a message's task."""
    headers = message.get("headers") or {}
    properties = message.get("properties") or {}
    ident = headers.get("id") or properties.get("correlation_id") or "?"
    return [str(ident), str(headers.get("task") or "?")]


# --- unacked -----------------------------------------------------------------------------------


def look(broker: Broker, request: Dict[str, Any]) -> Dict[str, Any]:
    """Messages that were delivered before a time, and the other workers that answer."""
    now = time.time()
    before = request["before"] or now
    found = [each for each in broker.unacked() if each.delivered_at < before]
    report: Dict[str, Any] = {"count": len(found), "restored": 0, "others": [], "why": None}
    if not found:
        return report
    names = [each.task for each in found]
    report["tasks"] = {name: names.count(name) for name in sorted(set(names))}
    report["oldestSeconds"] = max(now - found[0].delivered_at, 0.0)
    report["messages"] = [
        {"id": each.ident, "task": each.task, "queue": each.routing_key or each.exchange}
        for each in found[:SHOWN]
    ]
    alive = broker.everybody("stats")
    report["others"] = sorted(
        node
        for node, said in alive.items()
        if not (isinstance(said, dict) and said.get("pid") == request["mainPid"])
    )
    if request["kind"] == "restore":
        report["why"] = why_not(broker, request, report["others"])
        if report["why"] is None:
            restore(broker, found, report)
    return report


def why_not(broker: Broker, request: Dict[str, Any], others: List[str]) -> Any:
    """Why they may belong to a running worker; None if they cannot."""
    if others:
        return "other workers use this broker and may hold them: " + ", ".join(others[:5])
    if request["localWorkers"]:
        pids = ", ".join(map(str, request["localWorkers"][:5]))
        return "another worker of this app runs on this host and may hold them: process " + pids
    listening = broker.listeners()
    if listening:
        said = "%s subscribes to this Redis database and may be a worker that does not answer"
        return said % ", ".join(listening[:5])
    return None


def restore(broker: Broker, found: List[Unacked], report: Dict[str, Any]) -> None:
    """Restores as Kombu does after the visibility timeout, each message in one transaction."""
    kombu: Any = import_module("kombu.transport.redis")
    channel = broker.channel
    lost = []
    deadline = time.monotonic() + MUTEX_SECONDS
    while True:
        try:
            with channel.conn_or_acquire() as client, kombu.Mutex(
                client, channel.unacked_mutex_key, channel.unacked_mutex_expire
            ):
                for each in found:
                    # Kombu would remove it, and then find no queue for it.
                    if not channel._lookup(each.exchange, each.routing_key):
                        lost.append(each)
                        continue
                    channel.qos.restore_by_tag(each.tag, client)
                    report["restored"] += 1
            break
        except kombu.MutexHeld:
            if time.monotonic() >= deadline:
                raise Problem("another process is restoring messages") from None
            time.sleep(0.5)
    if lost:
        report["why"] = "%d of them no longer belong to a queue" % len(lost)


# --- tasks -------------------------------------------------------------------------------------


def trace(broker: Broker, request: Dict[str, Any]) -> Dict[str, Any]:
    """Which of these tasks are still in the broker, and which a running worker holds.

    A task moves from a queue to `unacked` and into a worker, and with a retry back into a queue.
    Reading in this order, and the broker once more at the end, finds it wherever it moves.
    """
    wanted = set(request["ids"])
    owed, waiting = in_broker(broker, wanted)
    everything = in_workers(broker, request)
    held = wanted.intersection(everything)
    later, left = in_broker(broker, wanted)
    return {
        "owed": sorted((owed | later) - held),
        "held": sorted(held),
        "begun": begun(everything, held),
        # Of whatever task: where nobody has any, a row that names none is nobody's.
        "holding": len(everything),
        "waiting": max(waiting, left),
        "hidden": None,
    }


def trace_counted(workers: Workers, request: Dict[str, Any]) -> Dict[str, Any]:
    """The same with RabbitMQ: `hidden` is why a task that no worker holds may still be queued."""
    queues = consumed(workers)
    names = rabbitmq.names_of(workers.app, queues)
    earlier = rabbitmq.count(workers.connection, names)
    everything = in_workers(workers, request)
    held = set(request["ids"]).intersection(everything)
    later = rabbitmq.count(workers.connection, names)
    reasons = (rabbitmq.hidden(each, len(queues), len(everything)) for each in (later, earlier))
    return {
        "owed": [],
        "held": sorted(held),
        "begun": begun(everything, held),
        "holding": len(everything),
        "waiting": max(each.ready + (each.unacked or 0) for each in (earlier, later)),
        "hidden": next((reason for reason in reasons if reason), None),
    }


def begun(everything: Dict[str, Any], held: Set[str]) -> Dict[str, float]:
    """When the workers began these tasks, since 1970; old versions of Celery count otherwise."""
    known = {ident: everything[ident] for ident in held}
    return {
        ident: float(at)
        for ident, at in known.items()
        if isinstance(at, (int, float)) and TIMES[0] < at < TIMES[1]
    }


def consumed(workers: Workers) -> List[str]:
    """The queue of each consumer of the workers that answer."""
    nodes = sorted(node for node, _ in workers.answers("stats", ROLL_CALL_SECONDS))
    told = all_of(workers, "active_queues", nodes) if nodes else []
    return [str(queue["name"]) for queues in told for queue in queues or []]


def left_to_rabbitmq(workers: Workers, request: Dict[str, Any]) -> Dict[str, Any]:
    """No leftovers: a message goes back to its queue when the connection of its worker ends."""
    return {"count": 0, "restored": 0, "others": [], "why": None}


def in_broker(broker: Broker, wanted: Set[str]) -> Tuple[Set[str], int]:
    """Those of the wanted that are to be run, and how many messages there are in all."""
    found: Set[str] = set()
    count = 0
    for key, raw in broker.waiting():
        # What workers answered to remote control is no task.
        count += ".pidbox" not in key
        if wanted:
            found |= owed_by(raw, wanted)
    for each in broker.unacked():
        count += 1
        if wanted:
            found |= ({each.ident} & wanted) | promised_in(each.message, wanted)
    return found, count


def in_workers(broker: Workers, request: Dict[str, Any]) -> Dict[str, Any]:
    """The tasks that workers hold, with their `time_start`.

    Raises Problem if a running worker does not report them.
    """
    main = request.get("mainPid", 0)
    expected = {pid for pid in [main, *request["localWorkers"]] if pid}
    answers: List[Answer] = []
    for seconds in ROLL_CALLS if expected else ROLL_CALLS[:1]:
        answers = broker.answers("stats", seconds)
        silent = expected - {said.get("pid") for _, said in answers if isinstance(said, dict)}
        if not silent:
            break
    else:
        if main in silent:
            raise Problem(
                "does not answer Celery's remote control: cannot tell which tasks it holds"
            )
        raise Problem(
            "another worker of this app runs on this host and does not answer: cannot tell which "
            "tasks it holds: process " + ", ".join(map(str, sorted(silent)[:5]))
        )
    nodes = sorted(node for node, _ in answers)
    found: Dict[str, Any] = {}
    for command in ("active", "reserved", "scheduled") if nodes else ():
        for tasks in all_of(broker, command, nodes):
            for task in tasks or []:
                ident = str(task.get("id") or (task.get("request") or {}).get("id"))
                found[ident] = task.get("time_start") or found.get(ident)
    return found


def all_of(broker: Workers, command: str, nodes: List[str]) -> List[Any]:
    """The answers of all nodes; several may have the same name. Raises Problem."""
    for seconds in ROLL_CALLS:
        answers = broker.answers(command, seconds, limit=len(nodes))
        missing = list(nodes)
        for node, _ in answers:
            if node in missing:
                missing.remove(node)
        if not missing:
            return [said for _, said in answers]
    raise Problem("%s does not report its %s tasks" % (missing[0], command))


def owed_by(raw: bytes, wanted: Set[str]) -> Set[str]:
    """The wanted tasks that run because of a message."""
    try:
        message = json.loads(raw)
        return ({identify(message)[0]} & wanted) | promised_in(message, wanted)
    except (TypeError, ValueError, AttributeError):
        return mentioned_in(raw, wanted)


def called_by(raw: bytes) -> Optional[str]:
    """The id of a message's own task; None if it is not in Kombu's format."""
    try:
        return identify(json.loads(raw))[0]
    except (TypeError, ValueError, AttributeError):
        return None


def promised_in(message: Dict[str, Any], wanted: Set[str]) -> Set[str]:
    """Tasks that follow its task: the rest of a chain, a chord's body, callbacks, a group's parts.

    Celery sends them only when that task is done; until then they exist nowhere else.
    """
    body = message.get("body")
    if not isinstance(body, str):
        return set()
    raw = body.encode("utf-8")
    try:
        if (message.get("properties") or {}).get("body_encoding") == "base64":
            raw = base64.b64decode(raw)
        packed = (message.get("headers") or {}).get("compression")
        if packed:
            raw = import_module("kombu.compression").decompress(raw, packed)
        return signed_in(json.loads(raw), wanted)
    except Exception:
        # Pickle, msgpack, yaml: loading could run code, so only search the bytes.
        return mentioned_in(raw, wanted)


def signed_in(root: Any, wanted: Set[str]) -> Set[str]:
    """The ids of all signatures in it: `{"task": …, "options": {"task_id": …}}`."""
    found: Set[str] = set()
    todo = [root]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo.extend(value)
        elif isinstance(value, dict):
            options = value.get("options")
            if "task" in value and isinstance(options, dict):
                found.add(str(options.get("task_id")))
            todo.extend(value.values())
    return found & wanted


def mentioned_in(raw: bytes, wanted: Set[str]) -> Set[str]:
    return {ident for ident in wanted if ident.encode("utf-8") in raw}


def withdraw(broker: Broker, request: Dict[str, Any]) -> Dict[str, Any]:
    """Removes the messages of these tasks from their queues; none that a worker has taken."""
    wanted = set(request["ids"])
    withdrawn: Set[str] = set()
    for key, raw in list(broker.waiting()):
        task = called_by(raw)
        if task and task in wanted and broker.raw.lrem(key, 1, raw):
            withdrawn.add(task)
    return {"withdrawn": sorted(withdrawn)}


# --- ------------------------------------------------------------------------------------------

KINDS = {"trace": trace, "look": look, "restore": look, "withdraw": withdraw}
# What RabbitMQ allows; a message in a queue cannot be taken out of it by its task.
KINDS_OF_RABBITMQ = {
    "trace": trace_counted,
    "look": left_to_rabbitmq,
    "restore": left_to_rabbitmq,
}


def carry_out(request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    def work(app: Any) -> Dict[str, Any]:
        line.tell("stage", "reading the broker")
        connection = connect(app)
        kind = getattr(connection.transport, "driver_type", "") or "another broker"
        if kind == "redis":
            return KINDS[request["kind"]](Broker(app, connection), request)
        if kind == "amqp" and request["kind"] in KINDS_OF_RABBITMQ:
            return KINDS_OF_RABBITMQ[request["kind"]](Workers(app, connection), request)
        if kind == "amqp":
            raise Problem("RabbitMQ does not give out single messages")
        raise Problem(
            "the messages of its broker (%s) can be neither read nor counted: only those of Redis "
            "and RabbitMQ can" % kind
        )

    return with_app(request, line, work, needs_tasks=False)


if __name__ == "__main__":
    serve(carry_out)
