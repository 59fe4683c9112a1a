"""Counts the messages of an app's RabbitMQ, which tells how many there are, and not whose.

To read a message would be to take it: even if it is returned, it moves in its queue and counts as
redelivered. Shared by programs of the app's own interpreter (see `app_side`). Python 3.6 and later.
"""

import base64
import json
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

# Where the management API listens unless it is configured otherwise.
MANAGEMENT_PORT = 15672
MANAGEMENT_SECONDS = 3.0
ANSWER_BYTES = 16 * 1024 * 1024
# Quorum queues: tasks with a countdown pass through these, from the highest to the lowest.
DELAYED = ["celery_delayed_%d" % level for level in range(28)]


class Counts(NamedTuple):
    ready: int
    # Delivered and not acknowledged; None: only the management API knows.
    unacked: Optional[int]
    # Of all queues together.
    consumers: int


def names_of(app: Any, reported: Iterable[str]) -> Set[str]:
    """The queues that tasks of the app wait in."""
    found = {str(name) for name in app.amqp.queues}
    found.add(str(app.conf.task_default_queue))
    return found | {str(name) for name in reported}


def count(connection: Any, names: Set[str]) -> Counts:
    """The messages and consumers of these queues, and the messages on their way there."""
    ready = consumers = 0
    for name in sorted(names):
        seen = declared(connection, name)
        if seen is not None:
            ready += seen.message_count
            consumers += seen.consumer_count
    for name in DELAYED:
        seen = declared(connection, name)
        if seen is None:
            break
        ready += seen.message_count
    return Counts(ready, unacked_in(managed(connection), names), consumers)


def declared(connection: Any, name: str) -> Any:
    """What RabbitMQ says of a queue, without creating it; None if there is none."""
    try:
        channel = connection.channel()
        try:
            return channel.queue_declare(queue=name, passive=True)
        finally:
            channel.close()
    except connection.channel_errors as error:
        # Not found; anything else (no permission) must not look like an empty queue.
        if getattr(error, "reply_code", 404) == 404:
            return None
        raise


def managed(connection: Any) -> Optional[List[Dict[str, Any]]]:
    """The queues by the management API; None if it is off, or not for this user."""
    if connection.ssl or not connection.hostname:
        return None  # its password would leave without encryption
    where = "http://%s:%d/api/queues/%s" % (
        connection.hostname,
        MANAGEMENT_PORT,
        quote(connection.virtual_host or "/", safe=""),
    )
    user = "%s:%s" % (connection.userid or "guest", connection.password or "guest")
    token = base64.b64encode(user.encode("utf-8")).decode("ascii")
    try:
        opener = build_opener(ProxyHandler({}))
        request = Request(where, headers={"Authorization": "Basic " + token})
        with opener.open(request, timeout=MANAGEMENT_SECONDS) as response:
            said = json.loads(response.read(ANSWER_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return None
    return [each for each in said if isinstance(each, dict)] if isinstance(said, list) else None


def unacked_in(queues: Optional[List[Dict[str, Any]]], names: Set[str]) -> Optional[int]:
    """How many messages of these queues are unacknowledged; None if one of them is not told."""
    if queues is None:
        return None
    total = 0
    for each in queues:
        if each.get("name") in names:
            if not isinstance(each.get("messages_unacknowledged"), int):
                return None
            total += each["messages_unacknowledged"]
    return total


def hidden(counts: Counts, consuming: int, holding: int) -> Optional[str]:
    """What a task that no worker reports may hide behind; None: nothing is left.

    `consuming`: how many consumers the workers that answer have; `holding`: their tasks.
    """
    if counts.ready:
        return "RabbitMQ reports that %s in its queues, but not which" % messages_are(counts.ready)
    if counts.unacked:
        unacked = messages_are(counts.unacked)
        return "RabbitMQ reports that %s unacknowledged, but not which" % unacked
    if counts.unacked is None and counts.consumers > consuming:
        return (
            "a worker that does not answer consumes its queues; only RabbitMQ's management API "
            "reports whether it holds a message"
        )
    if counts.unacked is None and holding:
        return (
            "workers hold %d task%s; only RabbitMQ's management API reports whether more messages "
            "are unacknowledged" % (holding, "" if holding == 1 else "s")
        )
    return None


def messages_are(count: int) -> str:
    return "1 message is" if count == 1 else "%d messages are" % count
