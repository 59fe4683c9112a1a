"""Talks to one worker through its broker: drains it, cancels its consumers, or adds them again;
or looks whether it takes the messages of its queues.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`). It uses
Celery's own remote control. Python 3.6 and later, Celery 4.4 and later.
"""

import socket
import time
from importlib import import_module
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from celeriac_host.app.programs.app_side import (
    Line,
    Problem,
    bound,
    connect,
    line_of,
    serve,
    with_app,
)

# How long to wait for the answers of all workers; longer at the second attempt.
ROLL_CALL_SECONDS = (2.0, 5.0)
ANSWER_SECONDS = 5.0
POLL_SECONDS = 1.0
# A look loads worker and host while it lasts: at most a third of the time.
POLL_LOOKS = 2.0
NOTE_SECONDS = 5.0
# Do not wait longer for a worker that does not answer.
SILENT_SECONDS = 30.0
# A message may be on its way from the broker when the queue is cancelled.
EMPTY_POLLS = 2
# Commands of the support module.
CONSUME_AGAIN = "celeriac_consume_again"
CONSUMERS = "celeriac_consumers"
SUPPORT = "celeriac_support"
# Each attempt checks the result, and cancels once more if needed.
CANCEL_TRIES = 10
# An earlier BRPOP may still return a message within one second. A newer Kombu, which may wait
# longer, takes the message even while it closes its connection.
ON_ITS_WAY_SECONDS = 1.3
# Between two looks at the queues of a worker that seems to take nothing.
APART_SECONDS = 5.0
# A worker that has just lost its broker may need this long to come back: Celery's longest pause.
BACK_SECONDS = 45.0


class Worker(NamedTuple):
    node: str
    queues: List[str]


class SameName(Problem):
    """Several workers have this node name: a command to one reaches all."""

    def __init__(self, node: str, count: int) -> None:
        super().__init__(
            "%d workers share the node name %s; start each with its own --hostname (-n)"
            % (count, node)
        )
        self.node = node
        self.count = count


class Control:
    """Celery's remote control, one request at a time."""

    def __init__(self, app: Any, connection: Any) -> None:
        self.app = app
        self.connection = connection

    def everybody(self, command: str, seconds: float) -> List[Dict[str, Any]]:
        """Every answer as {node: answer}; two nodes with the same name are two answers."""
        answers = self._broadcast(command, None, timeout=seconds)
        return [{node: said} for each in answers for node, said in each.items()]

    def ask(self, node: str, command: str, **arguments: Any) -> Any:
        """The node's answer. Raises Problem if there is none, or an error."""
        answers = self._broadcast(
            command, [node], arguments=arguments, timeout=ANSWER_SECONDS, limit=1
        )
        if not answers:
            raise Problem("%s does not answer" % node)
        said = answers[0].get(node)
        if isinstance(said, dict) and "error" in said:
            raise Problem("%s failed on %s: %s" % (command, node, said["error"]))
        return said

    def ask_run(self, same: SameName, invocation: str, **arguments: Any) -> List[str]:
        """The queues of this run of the unit, among workers with the same name. Raises Problem."""
        answers = self._broadcast(
            CONSUMERS,
            [same.node],
            arguments=dict(arguments, invocation=invocation),
            timeout=ANSWER_SECONDS,
            limit=same.count,
        )
        for said in (said for each in answers for said in each.values()):
            if isinstance(said, dict) and isinstance(said.get("queues"), list):
                return [str(queue) for queue in said["queues"]]
        raise Problem("%s: none of them reports this invocation" % same)

    def tell(self, node: str, command: str, **arguments: Any) -> None:
        """Sends a command without waiting for an answer. Raises Problem if the broker fails."""
        self._broadcast(command, [node], arguments=arguments, reply=False)

    def _broadcast(self, command: str, destination: Optional[List[str]], **more: Any) -> Any:
        try:
            return (
                self.app.control.broadcast(
                    command,
                    destination=destination,
                    connection=self.connection,
                    **{"reply": True, **more},
                )
                or []
            )
        except Exception as error:
            # The next request uses a new connection.
            self.connection.close()
            raise Problem("the request to the broker failed: " + line_of(error)) from error

    def queues(self, node: str) -> List[str]:
        return [queue["name"] for queue in self.ask(node, "active_queues") or []]


def find(control: Control, request: Dict[str, Any]) -> Worker:
    """The worker with the main process of the unit. Raises Problem, SameName."""
    answers: List[Dict[str, Any]] = []
    for seconds in ROLL_CALL_SECONDS:
        answers = control.everybody("stats", seconds)
        nodes = [node for each in answers for node in each]
        found = [node for each in answers for node, said in each.items() if is_it(said, request)]
        ours = [node for node in found if is_here(node, request)]
        if ours:
            break
    else:
        others = ", ".join(sorted({node for each in answers for node in each})[:5])
        raise Problem(
            "it does not answer Celery's remote control (%s)"
            % ("only these workers do: " + others if others else "no worker does")
        )
    if len(ours) > 1 or nodes.count(ours[0]) > 1:
        raise SameName(ours[0], max(len(ours), nodes.count(ours[0])))
    return Worker(ours[0], control.queues(ours[0]))


def is_it(said: Any, request: Dict[str, Any]) -> bool:
    """Compares its pid, and those of its children if its pool reports them."""
    if not isinstance(said, dict) or said.get("pid") != request["mainPid"]:
        return False
    told = (said.get("pool") or {}).get("processes")
    children = set(request["children"])
    return not told or not children or bool(children & set(told))


def is_here(node: str, request: Dict[str, Any]) -> bool:
    """Pids do not identify the host: compare its name, also with the worker's arguments."""
    host = node.partition("@")[2]
    name = socket.gethostname()
    named = any(host and host in word for word in request["argv"])
    return host in (name, name.split(".")[0], socket.getfqdn()) or named


# --- cancelling --------------------------------------------------------------------------------


def cancel(control: Control, request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    """Stops the worker from consuming, and waits for messages on their way to it."""
    try:
        worker = find(control, request)
    except SameName as same:
        cancel_run(control, request, line, same)
    else:
        # The agent records it on disk before anything is cancelled.
        line.ask("found", {"node": worker.node, "queues": worker.queues})
        for _ in range(CANCEL_TRIES):
            cancel_all(control, worker)
            left = control.queues(worker.node)
            if not left:
                break
        else:
            raise Problem("%s still consumes %s" % (worker.node, ", ".join(left)))
    time.sleep(ON_ITS_WAY_SECONDS)
    return {}


def cancel_all(control: Control, worker: Worker) -> None:
    """Cancels all queues at once, then checks: each answer would cost a round trip."""
    for queue in worker.queues:
        control.tell(worker.node, "cancel_consumer", queue=queue)
    for queue in control.queues(worker.node):
        control.ask(worker.node, "cancel_consumer", queue=queue)


def cancel_run(control: Control, request: Dict[str, Any], line: Line, same: SameName) -> None:
    """Cancels the worker of this run among several with its name, by its support module."""
    if not any(SUPPORT in word for word in request["argv"]):
        raise Problem("%s, or load Celeriac's support module in it" % same)
    run = request["invocation"]
    left = control.ask_run(same, run)
    line.ask("found", {"node": same.node, "queues": left, "sharedBy": same.count})
    for turn in range(CANCEL_TRIES):
        if not left:
            return
        time.sleep(0.1 if turn else 0)
        left = control.ask_run(same, run, cancel=left)
    raise Problem("%s still consumes %s" % (same.node, ", ".join(left)))


# --- draining ----------------------------------------------------------------------------------


class Drain:
    """Stops the worker from consuming, and waits for its tasks."""

    def __init__(self, control: Control, request: Dict[str, Any], line: Line) -> None:
        self.control = control
        self.request = request
        self.line = line
        self.begun = time.monotonic()
        self.answered = time.monotonic()
        self.progressed = time.monotonic()
        self.tasks: List[Dict[str, Any]] = []
        self.known: Set[str] = set()

    def run(self) -> Dict[str, Any]:
        worker = find(self.control, self.request)
        # The agent records it on disk before anything is cancelled.
        self.line.ask("found", {"node": worker.node, "queues": worker.queues})
        cancel_all(self.control, worker)
        self.begun = self.progressed = time.monotonic()
        end = self.wait(worker.node)
        return {
            "end": end,
            "left": [described(task) for task in self.tasks],
            "seen": len(self.known),
            "seconds": time.monotonic() - self.begun,
        }

    def wait(self, node: str) -> str:
        empty = 0
        note_at = time.monotonic() + NOTE_SECONDS
        while True:
            looking = time.monotonic()
            answered = self.look(node)
            took = time.monotonic() - looking
            if answered:
                empty = 0 if self.tasks else empty + 1
                if empty >= EMPTY_POLLS:
                    return "drained"
            elif time.monotonic() - self.answered >= SILENT_SECONDS:
                return "silent"
            waited = time.monotonic() - self.begun
            if waited >= self.request["timeoutSeconds"]:
                if self.request["policy"] != "wait":
                    return "timeout"
                if time.monotonic() - self.progressed >= self.request["stuckSeconds"]:
                    return "stuck"
            if time.monotonic() >= note_at:
                note_at = time.monotonic() + NOTE_SECONDS
                # The agent checks the unit at each of these messages.
                self.line.ask("waiting", self.note(waited))
            time.sleep(max(POLL_SECONDS, POLL_LOOKS * took) if answered else POLL_SECONDS)

    def look(self, node: str) -> bool:
        """Reads its tasks; returns whether it answered."""
        try:
            active = self.control.ask(node, "active") or []
            reserved = self.control.ask(node, "reserved") or []
        except Problem:
            return False
        self.answered = time.monotonic()
        before = {task["id"] for task in self.tasks}
        running = {task["id"] for task in active}
        self.tasks = active + [task for task in reserved if task["id"] not in running]
        now = {task["id"] for task in self.tasks}
        self.known |= now
        if before - now:
            self.progressed = self.answered
        return True

    def note(self, waited: float) -> str:
        limit = self.request["timeoutSeconds"]
        silent = time.monotonic() - self.answered
        if silent > NOTE_SECONDS:
            return "no answer for %d s, %d s of %g" % (silent, waited, limit)
        count = "%d task%s" % (len(self.tasks), "" if len(self.tasks) == 1 else "s")
        oldest = max(self.tasks, key=age_of, default=None)
        more = "; oldest " + described(oldest) if oldest else ""
        return "%s still running, %d s of %g%s" % (count, waited, limit, more)


def age_of(task: Dict[str, Any]) -> float:
    """Seconds since a child took it; -1 if it waits or the worker does not report it."""
    begun = task.get("time_start")
    age = time.time() - begun if isinstance(begun, (int, float)) else -1.0
    return age if -5 < age < 30 * 86400 else -1.0


def described(task: Dict[str, Any]) -> str:
    """`process_link 5f2c… 120 s`"""
    name = str(task.get("name") or task.get("type") or "?").rsplit(".", 1)[-1]
    age = age_of(task)
    ident = str(task["id"])
    short = ident[:4] + "…" if len(ident) > 8 else ident
    return "%s %s %s" % (name, short, "%d s" % age if age >= 0 else "(waits)")


# --- consuming again ---------------------------------------------------------------------------


def give_back(control: Control, request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    """Has every queue consumed again, by the worker's own list. Retries until a timeout.

    With `orRestart`, a worker that would lose them at a reconnect is left as it is.
    """
    node = request["node"]
    if request.get("orRestart") and request["sharedBy"] == 1 and not lasts(control, node, []):
        return {"lasting": False, "given": False}
    again = consume_run if request["sharedBy"] > 1 else consume_again
    deadline = time.monotonic() + request["timeoutSeconds"]
    while True:
        try:
            missing, lasting = again(control, request)
            if not missing:
                return {"lasting": lasting}
            problem = "%s does not consume %s" % (node, ", ".join(sorted(missing)))
        except Problem as error:
            problem = str(error)
        if time.monotonic() >= deadline:
            raise Problem(problem)
        time.sleep(POLL_SECONDS)


def consume_again(control: Control, request: Dict[str, Any]) -> Tuple[Set[str], bool]:
    """The queues that it still does not consume; whether it consumes the others after a reconnect.

    `add_consumer` adds a cancelled queue, but before Celery 5.7 a reconnect leaves it out; a
    command of the support module prevents that.
    """
    node, queues = request["node"], request["queues"]
    consumed = control.queues(node)
    for queue in queues:
        if queue not in consumed:
            control.ask(node, "add_consumer", queue=queue)
    lasting = lasts(control, node, queues)
    return set(queues) - set(control.queues(node)), lasting


def lasts(control: Control, node: str, queues: List[str]) -> bool:
    """Whether it consumes them after a reconnect, too; has its support module see to it."""
    if tuple(import_module("celery").VERSION[:2]) >= (5, 7):
        return True
    try:
        said = control.ask(node, CONSUME_AGAIN, queues=queues)
        return isinstance(said, dict) and "ok" in said
    except Problem:
        return False


def consume_run(control: Control, request: Dict[str, Any]) -> Tuple[Set[str], bool]:
    """The same for one of several workers with this name."""
    node, queues = request["node"], request["queues"]
    same = SameName(node, request["sharedBy"])
    control.ask_run(same, request["invocation"], consume=queues)
    return set(queues) - set(control.ask_run(same, request["invocation"])), True


# --- looking whether it consumes ---------------------------------------------------------------


class Excuse(Exception):
    """Why a worker may leave messages waiting, or why it is unknown; for people."""


def consuming(app: Any, control: Control, request: Dict[str, Any]) -> Dict[str, Any]:
    """Whether an idle worker leaves messages waiting, at two looks.

    An expensive question, so it is only asked if messages wait.
    """
    names = request["queues"] or [str(name) for name in app.amqp.queues.consume_from]
    before = depths(app, control.connection, names)
    if not before:
        return {"kind": "consumes"}
    begun = time.monotonic()
    try:
        node, total = idle_node(app, control, request)
        time.sleep(max(0.0, APART_SECONDS - (time.monotonic() - begun)))
        # Between two short tasks it seems idle, too.
        if (node, total) != idle_node(app, control, request):
            return {"kind": "consumes"}
        consumed = names if node is None else control.queues(node)
    except Excuse as excuse:
        return {"kind": "unknown", "problem": str(excuse)}
    after = depths(app, control.connection, names)
    # Somebody took messages, whoever it was.
    if any(after.get(name, 0) < count for name, count in before.items()):
        return {"kind": "consumes"}
    waiting = {name: after[name] for name in before if name in consumed}
    if not waiting:
        return {"kind": "consumes"}
    seconds = round(time.monotonic() - begun, 1)
    answers = node is not None
    return {"kind": "nothing", "waiting": waiting, "answers": answers, "seconds": seconds}


def depths(app: Any, connection: Any, names: List[str]) -> Dict[str, int]:
    """The messages that wait in each of these queues; without those that hold none."""
    found: Dict[str, int] = {}
    for name in names:
        arguments = getattr(app.amqp.queues.get(name), "queue_arguments", None) or {}
        # Only one of its workers may take messages; or they stay in it.
        if arguments.get("x-single-active-consumer") or arguments.get("x-queue-type") == "stream":
            continue
        try:
            with connection.channel() as channel:
                count = int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:
            continue  # no such queue; in Redis, an empty one
        except Exception as error:
            raise Problem("cannot ask for the length of %s: %s" % (name, line_of(error))) from error
        if count:
            found[name] = count
    return found


def idle_node(app: Any, control: Control, request: Dict[str, Any]) -> Tuple[Optional[str], Any]:
    """The worker, which has nothing to do, and how many tasks it had. None: it is silent.

    Raises Excuse.
    """
    try:
        node = find(control, request).node
    except SameName as same:
        raise Excuse(str(same)) from same
    except Problem as problem:
        refuse_excuses(app, control, request, problem)
        return None, None
    if not holds_nothing(control):
        if control.ask(node, "scheduled"):
            raise Excuse("tasks with an ETA may fill its prefetch")
        if any("rate_limit=" in task for task in registered(control, node)):
            raise Excuse("a rate limit may make it wait")
    if control.ask(node, "active") or control.ask(node, "reserved"):
        raise Excuse("it is at work")
    return node, control.ask(node, "stats").get("total")


def holds_nothing(control: Control) -> bool:
    """Whether it is sure that no worker of this broker holds a message that it has not begun."""
    if control.connection.transport.driver_type != "redis":
        return False
    channel = control.connection.default_channel
    return not channel.client.hlen(channel.unacked_key)


def registered(control: Control, node: str) -> List[str]:
    """Its tasks, each with its rate limit, if it has one: `tasks.send [rate_limit=10/m]`."""
    said = control.ask(node, "registered", taskinfoitems=["rate_limit"])
    return [str(task) for task in said or []]


def refuse_excuses(app: Any, control: Control, request: Dict[str, Any], problem: Problem) -> None:
    """Raises Excuse unless the silence of this worker is a fault."""
    if not app.conf.worker_enable_remote_control or not request["forks"]:
        raise Excuse("%s, as it may: it has no remote control, or works in its loop" % problem)
    connection = control.connection
    if connection.transport.driver_type != "redis":
        raise Excuse(str(problem))
    uptime = connection.default_channel.client.info("server").get("uptime_in_seconds", 0)
    if min(float(uptime), float(request["activeSeconds"])) < BACK_SECONDS:
        raise Excuse("%s; it or its broker was started less than a minute ago" % problem)


# --- ------------------------------------------------------------------------------------------


def carry_out(request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    def work(app: Any) -> Dict[str, Any]:
        line.tell("stage", "connecting to the broker")
        if request["kind"] == "cancel":
            bound(request["timeoutSeconds"], line)
        control = Control(app, connect(app))
        line.tell("stage", "talking to the worker")
        if request["kind"] == "give-back":
            return give_back(control, request, line)
        if request["kind"] == "consuming":
            return consuming(app, control, request)
        if request["kind"] == "cancel":
            return cancel(control, request, line)
        return Drain(control, request, line).run()

    # What is to be restarted must import.
    return with_app(request, line, work, needs_tasks=bool(request.get("orRestart")))


if __name__ == "__main__":
    serve(carry_out)
