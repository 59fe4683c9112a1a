"""Workers that answer Celery's remote control, without Celery or a broker."""

from __future__ import annotations

import socket
from typing import Any, Callable, Dict, Iterator, List

from celeriac_host.app.programs.broker import Drain
from celeriac_host.app.programs.remote_control import Control

HERE = f"celery@{socket.gethostname()}"
REQUEST: Dict[str, Any] = {
    "mainPid": 812,
    "children": [],
    "argv": ["celery", "worker"],
    "invocation": "f00d",
    "policy": "kill",
    "timeoutSeconds": 600,
    "stuckSeconds": 600,
}
LOADED = ["celery", "worker", "-I", "celeriac_support"]


class Connection:
    """Counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Workers:
    """The workers behind `app.control`: node → command → its answer, or a function for it."""

    def __init__(self, *nodes: tuple[str, Dict[str, Any]]) -> None:
        self.nodes = nodes
        self.control = self
        self.said: list[tuple[str, Any]] = []
        self.broken: Callable[[], None] = lambda: None
        # Whether the worker with these answers is heard in time.
        self.hears: Callable[[Dict[str, Any], Dict[str, Any]], bool] = lambda answers, more: True

    def broadcast(self, command: str, **more: Any) -> List[Dict[str, Any]]:
        self.broken()
        self.said.append((command, more.get("arguments")))
        found: List[Dict[str, Any]] = []
        for node, answers in self.nodes:
            wanted = more["destination"]
            # As Kombu: without a limit, as many as nodes were asked.
            if len(found) == (more.get("limit") or (len(wanted) if wanted else None)):
                break
            asked = command in answers and (wanted is None or node in wanted)
            if asked and self.hears(answers, more):
                answer = answers[command]
                found.append({node: answer(more) if callable(answer) else answer})
                if more.get("callback"):
                    more["callback"](found[-1])
        return found if more["reply"] else []


def node(name: str = HERE, pid: int = 812, **more: Any) -> tuple[str, Dict[str, Any]]:
    queues = [{"name": "celery"}, {"name": "links"}]
    return name, {"stats": {"pid": pid}, "active_queues": queues, **more}


class Line:
    """Records the messages to the agent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.waits: Callable[[], None] = lambda: None

    def ask(self, kind: str, what: Any) -> None:
        self.asked.append((kind, what))
        if kind == "waiting":
            self.waits()


def drain(workers: Workers, line: Line, **request: Any) -> Dict[str, Any]:
    control = Control(workers, Connection())
    return Drain(control, {**REQUEST, **request}, line).run()  # type: ignore[arg-type]


class Loaded:
    """A worker that loads the support module; `name` may be that of others, too."""

    def __init__(self, invocation: str = "f00d", tasks: Any = ()) -> None:
        self.queues = ["celery", "links"]
        self.invocation = invocation
        self.tasks = list(tasks)
        self.polls: Iterator[Any] = iter(())

    def consumers(self, more: Dict[str, Any]) -> Dict[str, Any]:
        asked = more["arguments"]
        if asked["invocation"] != self.invocation:
            return {"ok": "ignored: meant for another worker"}
        told = list(self.queues)
        # Celery does it a moment later.
        self.queues = [name for name in self.queues if name not in asked.get("cancel", ())]
        unfinished = len(self.tasks)
        return {"queues": told, "polls": next(self.polls, None), "unfinished": unfinished}

    def answers(self) -> Dict[str, Any]:
        consumers, active = self.consumers, lambda _: self.tasks
        stats = {"pid": 812 if self.invocation == "f00d" else 900}
        reserved: List[Any] = []
        return {
            "celeriac_consumers": consumers,
            "active": active,
            "reserved": reserved,
            "stats": stats,
        }
