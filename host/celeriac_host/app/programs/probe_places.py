"""Where probes stand that are not done: in a queue, received by a worker, running, or nowhere.

Asked only of probes that take longer than usual: it costs the worker an answer. Python 3.6 and
later, Celery 4.4 and later.
"""

import time
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from celeriac_host.app.programs.remote_control import is_here

# Of the first look; a healthy worker has answered by then. Each look then takes at most a third of
# the time, and waits for the answers of all workers.
FIRST_SECONDS = 3.0
EVERY_SECONDS = 5.0
PAUSES = 2.0
ANSWER_SECONDS = 1.0
# How many of the newest messages of a queue are searched.
DEPTH = 5000
# Celery's words for a task that a worker has received.
STATES = {"active": "active", "reserved": "reserved", "ready": "reserved"}


class Places:
    """Where tasks are, by their ids."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.begun = time.monotonic()
        self.due = self.begun + FIRST_SECONDS
        # Found nowhere by the last look: a message may be on its way.
        self.missing: Set[str] = set()

    def is_due(self) -> bool:
        return time.monotonic() >= self.due

    def seconds(self) -> float:
        return round(time.monotonic() - self.begun, 3)

    def look(self, tasks: Dict[str, Optional[str]]) -> Dict[str, str]:
        """Task id → place; the queue of each, None if it is not known. Never raises."""
        begun = time.monotonic()
        try:
            return self.found(tasks)
        except Exception:
            # The broker is gone, or refuses.
            return dict.fromkeys(tasks, "unknown")
        finally:
            now = time.monotonic()
            self.due = now + max(EVERY_SECONDS, PAUSES * (now - begun))

    def found(self, tasks: Dict[str, Optional[str]]) -> Dict[str, str]:
        places: Dict[str, str] = {}
        with self.app.connection_for_write() as connection:
            queues = {queue for queue in tasks.values() if queue}
            waiting = {name: contents(connection, name) for name in queues}
            received, told = self.received(connection, list(tasks))
        missing = set()
        for task, queue in tasks.items():
            holds = waiting[queue].holds(task) if queue else None
            if task in received:
                places[task] = received[task]
            elif holds:
                places[task] = "queued"
            elif holds is None or not told:
                places[task] = "unknown"
            else:
                missing.add(task)
                places[task] = "lost" if task in self.missing else "unknown"
        self.missing = missing
        return places

    def received(self, connection: Any, ids: List[str]) -> Tuple[Dict[str, str], bool]:
        """The tasks that workers know, and whether one of this host answered."""
        answers = (
            self.app.control.broadcast(
                "query_task",
                arguments={"ids": ids},
                reply=True,
                timeout=ANSWER_SECONDS,
                connection=connection,
            )
            or []
        )
        found: Dict[str, str] = {}
        here = False
        for node, said in ((node, said) for each in answers for node, said in each.items()):
            if not isinstance(said, dict) or "error" in said:
                continue
            here = here or is_here(node, {"argv": []})
            for task, state in said.items():
                word = state[0] if isinstance(state, (list, tuple)) and state else ""
                found[task] = STATES.get(word, "reserved")
        return found, here


class Contents:
    """The messages of a queue: themselves if the broker shows them, otherwise how many."""

    def __init__(self, messages: Optional[List[bytes]], count: int) -> None:
        self.messages = messages
        self.count = count

    def holds(self, task: str) -> Optional[bool]:
        """None: it may or may not."""
        if self.messages is None:
            return None if self.count else False
        if any(task.encode() in raw for raw in self.messages):
            return True
        return None if self.count > len(self.messages) else False


def contents(connection: Any, name: str) -> Contents:
    channel = connection.channel()
    try:
        try:
            count = int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors as error:
            if str(getattr(error, "reply_code", 404)) != "404":
                raise
            return Contents([], 0)
        if connection.transport.driver_type != "redis":
            return Contents(None, count)
        return Contents([raw for _, raw in messages(channel, name)], count)
    finally:
        channel.close()


def messages(channel: Any, name: str) -> Iterable[Tuple[str, bytes]]:
    """The newest messages of a queue in Redis, of each priority, with their keys."""
    prefix = getattr(channel, "global_keyprefix", "") or ""
    names = [channel._q_for_pri(name, step) for step in channel.priority_steps]
    for key in sorted({start + key for start in ("", prefix) for key in names}):
        for raw in channel.client.lrange(key, 0, DEPTH - 1):
            yield key, raw
