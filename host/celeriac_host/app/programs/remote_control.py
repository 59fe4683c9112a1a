"""Celery's remote control, one request at a time; and which node is the worker of a unit.

Python 3.6 and later, Celery 4.4 and later.
"""

import re
import socket
import time
from importlib import import_module
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from celeriac_host.app.programs.app_side import Problem, line_of

# How long to wait for the answers of all workers; longer at the second attempt.
ROLL_CALL_SECONDS = (2.0, 5.0)
ANSWER_SECONDS = 5.0
# A worker that is too busy to answer so soon is found by the roll call.
RUN_SECONDS = 1.0
# Without a limit, Celery takes as many messages as there are nodes asked: one is not enough where
# several have that name, or a late answer to another request comes first.
MOST_ANSWERS = 10_000
# Of the errors that workers answer, in a message.
MOST_ERRORS = 3
LONGEST_ERROR = 300
# A command of the support module.
CONSUMERS = "celeriac_consumers"
# `system.support`, which a program in the app's own Python cannot import.
SUPPORT = "celeriac_support"
# More than any worker holds.
MOST_TASKS = 1_000_000


class Worker(NamedTuple):
    node: str
    queues: List[str]


class Run(NamedTuple):
    """What the support module says of its worker; None: an older one, or it cannot know."""

    queues: List[str]
    polls: Optional[bool]
    """Whether it waits for the broker's next message, of a queue that may be cancelled by now."""
    unfinished: Optional[int]
    """Its running and reserved tasks."""

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do, and no message is on its way to it."""
        return not self.queues and self.polls is False and self.unfinished == 0


class SameName(Problem):
    """Several workers have this node name: a command to one reaches all."""

    def __init__(
        self, node: str, count: int, request: Dict[str, Any], cancelled: bool = False
    ) -> None:
        told = "%d workers share the node name %s; start each with its own --hostname (-n)"
        advice = "" if loads_module(request) else ", or load Celeriac's support module in it"
        harm = "; all of them were told to stop consuming: restart the others" if cancelled else ""
        super().__init__(told % (count, node) + advice + harm)
        self.node = node
        self.count = count


class _Heard(Exception):
    """What was waited for has been heard."""

    def __init__(self, node: Optional[str], said: Any) -> None:
        super().__init__()
        self.node = node
        self.said = said


def _has_queues(said: Any) -> bool:
    return isinstance(said, dict) and isinstance(said.get("queues"), list)


def _run(said: Dict[str, Any]) -> Run:
    polls, count = said.get("polls"), said.get("unfinished")
    return Run(
        [str(queue) for queue in said["queues"]],
        polls if isinstance(polls, bool) else None,
        # Any worker of the broker may answer.
        count if type(count) is int and 0 <= count <= MOST_TASKS else None,
    )


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
        heard = self._first(command, [node], lambda said: True, ANSWER_SECONDS, arguments)
        if heard is None:
            raise Problem("%s does not answer" % node)
        said = heard[1]
        if isinstance(said, dict) and "error" in said:
            raise Problem("%s failed on %s: %s" % (command, node, said["error"]))
        return said

    def ask_run(self, node: str, invocation: str, **arguments: Any) -> Run:
        """What this run of the unit says, whoever else has its node name. Raises Problem.

        An error may be another worker's, such as one without the command: it ends no waiting.
        """
        more = dict(arguments, invocation=invocation)
        errors: List[str] = []

        def is_run(said: Any) -> bool:
            if isinstance(said, dict) and "error" in said:
                errors.append(str(said["error"])[:LONGEST_ERROR])
            return _has_queues(said)

        heard = self._first(CONSUMERS, [node], is_run, ANSWER_SECONDS, more)
        if heard is None and errors:
            told = "; ".join(sorted(set(errors))[:MOST_ERRORS])
            raise Problem(
                "%s failed on the workers with the node name %s: %s" % (CONSUMERS, node, told)
            )
        if heard is None:
            raise Problem("no worker with the node name %s reports this invocation" % node)
        return _run(heard[1])

    def find_run(self, node: str, invocation: str) -> Optional[Worker]:
        """The worker of this run of the unit with this name, if its support module answers soon."""
        wish = {"invocation": invocation}
        heard = self._first(CONSUMERS, [node], _has_queues, RUN_SECONDS, wish)
        return None if heard is None else Worker(heard[0], list(map(str, heard[1]["queues"])))

    def count(self, node: str, command: str, seconds: float) -> List[Any]:
        """Every answer by this name within a time, at least."""
        return list(self._broadcast(command, [node], timeout=seconds, limit=MOST_ANSWERS))

    def _first(
        self,
        command: str,
        destination: Optional[List[str]],
        is_wanted: Callable[[Any], bool],
        seconds: float,
        arguments: Dict[str, Any],
    ) -> Optional[Tuple[str, Any]]:
        """The first such answer, and its node. Waits for no other; None: there is none."""
        end = time.monotonic() + seconds

        def hear(answer: Dict[str, Any]) -> None:
            for node, said in answer.items():
                if is_wanted(said):
                    raise _Heard(node, said)
            if time.monotonic() >= end:
                raise _Heard(None, None)

        more = {"arguments": arguments, "timeout": seconds, "limit": MOST_ANSWERS, "callback": hear}
        try:
            self._broadcast(command, destination, **more)
        except _Heard as heard:
            return None if heard.node is None else (heard.node, heard.said)
        return None

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
        except _Heard:
            raise
        except Exception as error:
            # The next request uses a new connection.
            self.connection.close()
            raise Problem("the request to the broker failed: " + line_of(error)) from error

    def queues(self, node: str) -> List[str]:
        return [queue["name"] for queue in self.ask(node, "active_queues") or []]

    def queues_of_all(self, node: str, seconds: float) -> List[List[str]]:
        """The same of each worker by this name that answers in time, or of the first later."""
        answers = self.count(node, "active_queues", seconds)
        told = [said or [] for each in answers for said in each.values()]
        found = [[queue["name"] for queue in said] for said in told if isinstance(said, list)]
        return found or [self.queues(node)]


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
        raise SameName(ours[0], max(len(ours), nodes.count(ours[0])), request)
    return Worker(ours[0], control.queues(ours[0]))


def listen(
    control: Control,
    node: str,
    request: Dict[str, Any],
    seconds: float,
    cancelled: bool = False,
) -> bool:
    """Waits. Returns whether this worker was heard in that time. Raises SameName.

    The first to answer by a name may be another worker, and ours may be late: but an answer to
    `stats` has its pid. `cancelled`: its consumers were cancelled by this name.
    """
    end = time.monotonic() + seconds
    try:
        answers = control.count(node, "stats", seconds)
    except Problem:
        answers = []
    told = [said.get("pid") for each in answers for said in each.values() if isinstance(said, dict)]
    pids = [pid for pid in told if pid is not None]
    others = [pid for pid in pids if pid != request["mainPid"] and pid not in request["children"]]
    if others or len(pids) > 1:
        raise SameName(node, max(2, len(pids)), request, cancelled)
    time.sleep(max(0.0, end - time.monotonic()))
    return bool(pids)


def find_run(control: Control, request: Dict[str, Any]) -> Optional[Worker]:
    """The worker of this run of the unit, if it loads the support module and answers.

    Much faster than to wait for the answers of all; but others may have the same node name. Only
    they are asked: a worker without the module logs an unknown command as an error.
    """
    if not loads_module(request) or not request["invocation"]:
        return None
    node = name_of(request["argv"])
    return None if node is None else control.find_run(node, request["invocation"])


def loads_module(request: Dict[str, Any]) -> bool:
    return any(SUPPORT in word for word in request["argv"])


def name_of(argv: List[str]) -> Optional[str]:
    """The node name that Celery gives a worker with this command line; None: it is not sure."""
    words = " ".join(argv).partition("worker")[2]
    given = re.findall(r"(?:^|\s)(?:-n\s*|--hostname[=\s])(\S+)", words)
    try:
        names = import_module("celery.utils.nodenames")
        return str(
            names.host_format(names.default_nodename(given[-1].rstrip(")") if given else None))
        )
    except Exception:
        return None


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
