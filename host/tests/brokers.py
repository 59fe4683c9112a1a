"""A fake broker for `programs/messages.py`: Redis as dictionaries, and workers that answer."""

from __future__ import annotations

import base64
import fnmatch
import json
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Set, Tuple

from celeriac_host.app.programs.messages import SEPARATOR, Broker

Message = Dict[str, Any]


def signature(ident: str, **kwargs: Any) -> Message:
    """How a task refers to another that follows it."""
    return {"task": "tasks.step", "args": [], "kwargs": kwargs, "options": {"task_id": ident}}


def body(kwargs: Message | None = None, **after: Any) -> bytes:
    """A message of Celery's protocol 2."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **after}
    return json.dumps([["argument"], kwargs or {}, embed]).encode()


def message(ident: str, content: bytes | None = None, **headers: Any) -> Message:
    return {
        "body": base64.b64encode(body() if content is None else content).decode(),
        "headers": {"id": ident, "task": "tasks.step", **headers},
        "properties": {"body_encoding": "base64", "correlation_id": ident},
    }


class Redis:
    """The commands of redis-py that are used; keys and values are bytes."""

    def __init__(self) -> None:
        self.lists: Dict[str, List[bytes]] = {}
        self.hashes: Dict[str, Dict[bytes, bytes]] = {}
        self.scores: Dict[str, Dict[bytes, float]] = {}
        self.sets: Dict[str, Set[bytes]] = {}
        self.strings: Dict[str, bytes] = {}
        self.clients: List[Message] | None = []
        self.connection_pool = SimpleNamespace(connection_kwargs={"db": 1})

    def type(self, key: str) -> bytes:
        return b"list" if key in self.lists else b"string" if key in self.strings else b"none"

    def llen(self, key: str) -> int:
        return len(self.lists[key])

    def lrange(self, key: str, first: int, last: int) -> List[bytes]:
        return self.lists[key][first : last + 1]

    def lrem(self, key: str, count: int, value: bytes) -> int:
        if value not in self.lists.get(key, []):
            return 0
        self.lists[key].remove(value)
        return count

    def zrange(
        self, key: str, first: int, last: int, withscores: bool
    ) -> List[Tuple[bytes, float]]:
        rows = sorted(self.scores.get(key, {}).items(), key=lambda row: row[1])
        return rows[first : last + 1]

    def hmget(self, key: str, names: List[bytes]) -> List[bytes | None]:
        return [self.hashes.get(key, {}).get(name) for name in names]

    def scan_iter(self, match: str, count: int) -> Iterator[str]:
        return (key for key in self.sets if fnmatch.fnmatchcase(key, match))

    def smembers(self, key: str) -> Set[bytes]:
        return self.sets[key]

    def client_list(self) -> List[Message]:
        if self.clients is None:
            raise PermissionError("this user has no permissions to run the 'client|list' command")
        return self.clients


class FakeBroker(Broker):
    """Kombu's Redis transport with this Redis; `workers`: node → its answer to each command."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.raw = Redis()
        self.workers: List[Tuple[str, Dict[str, Any]]] = []
        # How many times each command is sent before a worker answers.
        self.deaf: Dict[str, int] = {}
        self.channel = SimpleNamespace(
            unacked_key="unacked",
            unacked_index_key="unacked_index",
            priority_steps=[0, 3, 6, 9],
            _q_for_pri=lambda name, step: f"{name}\x06\x16{step}" if step else name,
        )
        self.app = SimpleNamespace(
            amqp=SimpleNamespace(queues={"links": None}),
            conf=SimpleNamespace(task_default_queue="celery"),
        )

    def answers(
        self, command: str, seconds: float, limit: int | None = None
    ) -> List[Tuple[str, Any]]:
        if self.deaf.get(command, 0) > 0:
            self.deaf[command] -= 1
            return []
        return [(node, said[command]) for node, said in self.workers if command in said][:limit]

    def put(self, queue: str, content: Message | bytes, step: int = 0) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        key = self.key(self.channel._q_for_pri(queue, step))
        self.raw.lists.setdefault(key, []).append(raw)

    def deliver(self, content: Message | bytes, at: float, tag: str, exchange: str = "") -> None:
        """A worker has taken it and not acknowledged it."""
        raw = content
        if not isinstance(content, bytes):
            raw = json.dumps([content, exchange, "links"]).encode()
        assert isinstance(raw, bytes)
        self.raw.scores.setdefault(self.key("unacked_index"), {})[tag.encode()] = at
        self.raw.hashes.setdefault(self.key("unacked"), {})[tag.encode()] = raw

    def bind(self, exchange: str, *queues: str) -> None:
        bindings = {SEPARATOR.join([b"", b"", queue.encode()]) for queue in queues}
        self.raw.sets[self.key(f"_kombu.binding.{exchange}")] = bindings

    def listen(self, address: str) -> None:
        """A client subscribes to remote control, but never answers."""
        assert self.raw.clients is not None
        self.raw.clients.append({"addr": address, "db": "1", "psub": "1"})

    def add_worker(self, node: str, pid: int, **said: Any) -> None:
        nothing: Dict[str, Any] = {"active": [], "reserved": [], "scheduled": []}
        self.workers.append((node, {"stats": {"pid": pid}, **nothing, **said}))
