"""Talks to one worker through its broker: drains it, cancels its consumers, or adds them again;
or looks whether it takes the messages of its queues.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`). It uses
Celery's own remote control. Python 3.6 and later, Celery 4.4 and later.
"""

import time
from importlib import import_module
from typing import Any, Dict, List, Optional, Set, Tuple

from celeriac_host.app.programs.app_side import (
    Line,
    Problem,
    bound,
    connect,
    line_of,
    serve,
    with_app,
)
from celeriac_host.app.programs.remote_control import (
    Control,
    Run,
    SameName,
    Worker,
    find,
    find_run,
    listen,
)

POLL_SECONDS = 1.0
# A look loads worker and host while it lasts: at most a third of the time.
POLL_LOOKS = 2.0
NOTE_SECONDS = 5.0
# Do not wait longer for a worker that does not answer.
SILENT_SECONDS = 30.0
# A message may be on its way from the broker when the queue is cancelled.
EMPTY_POLLS = 2
# A command of the support module.
CONSUME_AGAIN = "celeriac_consume_again"
# Of a task that is only counted.
UNNAMED = "? (its name is not known)"
# Each attempt checks the result, and cancels once more if needed.
CANCEL_TRIES = 10
# An earlier BRPOP may still return a message within one second. A newer Kombu, which may wait
# longer, takes the message even while it closes its connection.
ON_ITS_WAY_SECONDS = 1.3
# Between two questions whether that has happened.
ASK_SECONDS = 0.1
# Between two looks at the queues of a worker that seems to take nothing.
APART_SECONDS = 5.0
# A worker that has just lost its broker may need this long to come back: Celery's longest pause.
BACK_SECONDS = 45.0


# --- cancelling --------------------------------------------------------------------------------


def cancel(control: Control, request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    """Stops the worker from consuming, and waits for messages on their way to it."""
    node, run = stop_consuming(control, request, line)
    cancelled = time.monotonic()
    if run is None:
        listen(control, node, request, ON_ITS_WAY_SECONDS, cancelled=True)
    elif not arrived(control, node, request["invocation"], run):
        time.sleep(max(0.0, cancelled + ON_ITS_WAY_SECONDS - time.monotonic()))
    return {}


def arrived(control: Control, node: str, invocation: str, run: Run) -> Optional[Run]:
    """What it says once no message is on its way to it. None: it does not say so in time."""
    end = time.monotonic() + ON_ITS_WAY_SECONDS
    try:
        while run.polls and time.monotonic() < end:
            time.sleep(ASK_SECONDS)
            run = control.ask_run(node, invocation)
    except Problem:
        return None
    return run if run.polls is False and not run.queues else None


def stop_consuming(
    control: Control, request: Dict[str, Any], line: Line
) -> Tuple[str, Optional[Run]]:
    """Returns its node, and what its support module says; others may have the same name then.

    Raises SameName, other Problems.

    The agent records the worker on disk before anything is cancelled.
    """
    run = find_run(control, request)
    if run is not None:
        line.ask("found", {"node": run.node, "queues": run.queues, "byRun": True})
        return run.node, cancel_run(control, request["invocation"], run)
    worker = find(control, request)
    # One of its name that missed the roll call would be cancelled, too, and never given back.
    listen(control, worker.node, request, POLL_SECONDS)
    line.ask("found", {"node": worker.node, "queues": worker.queues})
    for _ in range(CANCEL_TRIES):
        cancel_all(control, worker)
        left = control.queues(worker.node)
        if not left:
            return worker.node, None
    raise Problem("%s still consumes %s" % (worker.node, ", ".join(left)))


def cancel_all(control: Control, worker: Worker) -> None:
    """Cancels all queues at once, then checks: each answer would cost a round trip."""
    for queue in worker.queues:
        control.tell(worker.node, "cancel_consumer", queue=queue)
    for queue in control.queues(worker.node):
        control.ask(worker.node, "cancel_consumer", queue=queue)


def cancel_run(control: Control, invocation: str, worker: Worker) -> Run:
    """Cancels the worker of this run, whoever else has its node name, by its support module."""
    left = worker.queues
    for turn in range(CANCEL_TRIES):
        time.sleep(ASK_SECONDS if turn else 0)
        run = control.ask_run(worker.node, invocation, cancel=left)
        left = run.queues
        if not left:
            return run
    raise Problem("%s still consumes %s" % (worker.node, ", ".join(left)))


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
        self.by_run = False
        self.shared = False
        self.count = 0
        self.most = 0
        self.tasks: List[Dict[str, Any]] = []
        """Those of `count` that are known: where the name is shared, it is not known whose."""
        self.known: Set[str] = set()

    def run(self) -> Dict[str, Any]:
        node, run = stop_consuming(self.control, self.request, self.line)
        self.begun = self.progressed = time.monotonic()
        end = "drained"
        if run is None or not self.is_idle(node, run):
            empty = 0
            if run is not None and run.unfinished is not None:
                empty = self.count_by_run(node, run.unfinished)
            end = self.wait(node, empty)
        unnamed = self.count - len(self.tasks)
        return {
            "end": end,
            "left": [described(task) for task in self.tasks] + [UNNAMED] * unnamed,
            "seen": max(self.most, len(self.known)),
            "seconds": time.monotonic() - self.begun,
        }

    def is_idle(self, node: str, run: Run) -> bool:
        """Whether its support module says that it has nothing to do, whoever else has its name."""
        said = arrived(self.control, node, self.request["invocation"], run)
        return said is not None and said.is_idle

    def count_by_run(self, node: str, unfinished: int) -> int:
        """From now on, its support module counts its tasks; 1 if it has none, or 0."""
        self.by_run = True
        self.count = self.most = unfinished
        try:
            # Meanwhile, what was on its way arrives.
            listen(self.control, node, self.request, POLL_SECONDS)
        except SameName:
            self.shared = True
        return 0 if unfinished else 1

    def wait(self, node: str, empty: int) -> str:
        note_at = time.monotonic() + NOTE_SECONDS
        while True:
            looking = time.monotonic()
            answered = self.look(node)
            took = time.monotonic() - looking
            if answered:
                empty = 0 if self.count else empty + 1
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
            if not self.pause(node, POLL_LOOKS * took if answered else 0.0):
                empty = 0

    def pause(self, node: str, seconds: float) -> bool:
        """Waits. Returns whether the worker was heard, so that an empty look counts.

        Raises SameName.
        """
        if not self.by_run:
            pause = max(POLL_SECONDS, seconds)
            return listen(self.control, node, self.request, pause, cancelled=True)
        # Workers of its name without the module log each question as an error.
        time.sleep(max(NOTE_SECONDS if self.shared else POLL_SECONDS, seconds))
        return True

    def look(self, node: str) -> bool:
        """Reads its tasks; returns whether it answered."""
        try:
            count = self.unfinished(node) if self.by_run else None
            tasks = [] if count == 0 or self.shared else self.named(node)
        except Problem:
            return False
        self.answered = time.monotonic()
        if count is None:
            count = len(tasks)
        elif len(tasks) > count:
            tasks = []  # some are another worker's
        before = {task["id"] for task in self.tasks}
        now = {task["id"] for task in tasks}
        # By its run, the tasks may be another worker's.
        if count < self.count or (not self.by_run and before - now):
            self.progressed = self.answered
        self.count, self.tasks = count, tasks
        self.most = max(self.most, count)
        self.known |= now
        return True

    def unfinished(self, node: str) -> int:
        count = self.control.ask_run(node, self.request["invocation"]).unfinished
        if count is None:
            raise Problem("%s cannot tell its tasks just now" % node)
        return count

    def named(self, node: str) -> List[Dict[str, Any]]:
        """The tasks of the first to answer by this name."""
        active = self.control.ask(node, "active") or []
        reserved = self.control.ask(node, "reserved") or []
        running = {task["id"] for task in active}
        return active + [task for task in reserved if task["id"] not in running]

    def note(self, waited: float) -> str:
        limit = self.request["timeoutSeconds"]
        silent = time.monotonic() - self.answered
        if silent > NOTE_SECONDS:
            return "no answer for %d s, %d s of %g" % (silent, waited, limit)
        count = "%d task%s" % (self.count, "" if self.count == 1 else "s")
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
    if request.get("orRestart") and not request["byRun"] and not lasts(control, node, []):
        return {"lasting": False, "given": False}
    again = consume_run if request["byRun"] else consume_again
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

    Another worker may have its name by now: so none is left out because one of them consumes it.
    """
    node, queues = request["node"], request["queues"]
    for queue in queues:
        control.ask(node, "add_consumer", queue=queue)
    lasting = lasts(control, node, queues)
    consumed = control.queues_of_all(node, POLL_SECONDS)
    return {queue for queue in queues for each in consumed if queue not in each}, lasting


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
    """The same for a worker that its support module names, whoever else has its node name."""
    node, queues, run = request["node"], request["queues"], request["invocation"]
    control.ask_run(node, run, consume=queues)
    return set(queues) - set(control.ask_run(node, run).queues), True


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
        apart = max(0.0, APART_SECONDS - (time.monotonic() - begun))
        if node is None:
            time.sleep(apart)
        else:
            listen(control, node, request, apart)
        # Between two short tasks it seems idle, too.
        if (node, total) != idle_node(app, control, request):
            return {"kind": "consumes"}
        consumed = names if node is None else control.queues(node)
    except (Excuse, SameName) as excuse:
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
