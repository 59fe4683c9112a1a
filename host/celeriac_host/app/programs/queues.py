"""Tells how an app's broker is: its queues, unacknowledged messages, and whose they are.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`). It changes
nothing. Python 3.6 and later, Celery 4.4 and later.
"""

import os
import re
import time
from datetime import timedelta
from importlib import import_module
from typing import Any, Dict, List, Optional, Tuple

from celeriac_host.app.programs import rabbitmq
from celeriac_host.app.programs.app_side import (
    Line,
    Problem,
    connect,
    delivery,
    line_of,
    masked,
    with_app,
)
from celeriac_host.app.programs.remote_control import Control, find, find_run

# What a shelve may be called, by the library that Python found for it. SQLite, which Python 3.13
# prefers, writes to its log (-wal), and may leave the file itself as it is until beat ends.
SUFFIXES = ("", ".db", ".dat", ".dir", "-wal")
# Kombu's Broadcast: each process makes up a name of its own, `bcast.<uuid>`.
OF_ONE_PROCESS = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
DJANGO_SCHEDULER = "django_celery_beat"


def told(app: Any, request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    line.tell("stage", "connecting to the broker")
    beat = None if request["beat"] is None else schedule(app, request["beat"])
    try:
        connection = connect(app)
    except Problem as problem:
        return {"unreachable": masked(app, str(problem)), "beat": beat}
    line.tell("stage", "asking the broker")
    names = asked(app, request)
    try:
        lengths = {name: length(connection, name) for name in names}
        count, oldest = unacked(connection, names)
    except Problem:
        # It answers, so it is not gone.
        raise
    except Exception as error:
        return {"unreachable": masked(app, "the broker failed: " + line_of(error)), "beat": beat}
    line.tell("stage", "asking the worker")
    active, silence = consumed(app, connection, request)
    return {
        "transport": str(connection.transport.driver_type),
        "lengths": lengths,
        "unacked": count,
        "oldestUnackedSeconds": oldest,
        "redeliverySeconds": delivery(app)["seconds"],
        "active": active,
        "silence": silence and masked(app, silence),
        "beat": beat,
    }


def asked(app: Any, request: Dict[str, Any]) -> List[str]:
    """The queues by their real names; without those that each process names by itself."""
    known = app.amqp.queues
    names = request["queues"] or [str(name) for name in known.consume_from]
    real = [str(getattr(known.aliases.get(name), "name", name)) for name in names]
    return shared(real)


def shared(names: List[str]) -> List[str]:
    return [name for name in names if not OF_ONE_PROCESS.search(name)]


def length(connection: Any, name: str) -> int:
    """The messages that wait in a queue; 0 if there is none, as Redis has no empty queue."""
    try:
        channel = connection.channel()
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        finally:
            channel.close()
    except connection.channel_errors as error:
        # A text with Kombu's own transports. Any other refusal must not look like an empty queue.
        if str(getattr(error, "reply_code", 404)) == "404":
            return 0
        raise Problem("the broker refused to count %s: %s" % (name, line_of(error))) from error


def unacked(connection: Any, names: List[str]) -> Tuple[Optional[int], Optional[float]]:
    """How many messages of the broker are unacknowledged, and since when the oldest is delivered.

    Redis keeps the time of each delivery, of all queues and workers of its database. RabbitMQ
    keeps none, and only its management API counts them.
    """
    kind = connection.transport.driver_type
    if kind == "amqp":
        return rabbitmq.unacked_in(rabbitmq.managed(connection), set(names)), None
    if kind != "redis":
        return None, None
    channel = connection.default_channel
    prefix = getattr(channel, "global_keyprefix", "") or ""
    raw = import_module("redis").Redis(connection_pool=channel.client.connection_pool)
    index = prefix + channel.unacked_index_key
    first = raw.zrange(index, 0, 0, withscores=True)
    oldest = max(time.time() - float(first[0][1]), 0.0) if first else None
    return int(raw.zcard(index)), oldest


def consumed(
    app: Any, connection: Any, request: Dict[str, Any]
) -> Tuple[Optional[List[str]], Optional[str]]:
    """The queues that this unit's worker says it consumes; or why it did not say."""
    if not request["mainPid"]:
        return None, "the worker is not running"
    try:
        control = Control(app, connection)
        return shared((find_run(control, request) or find(control, request)).queues), None
    except Problem as problem:
        return None, str(problem)


# --- beat's schedule -----------------------------------------------------------------------------


def schedule(app: Any, beat: Dict[str, Any]) -> Dict[str, Any]:
    """When beat last wrote to its schedule, and how often something is due."""
    found: Dict[str, Any] = {"where": "", "advanced": None, "everySeconds": None, "problem": None}
    try:
        name = str(beat["scheduler"] or app.conf.beat_scheduler or "")
        if DJANGO_SCHEDULER in name or name == "django":
            return {**found, **of_django()}
        if "PersistentScheduler" not in name:
            return {**found, "problem": "its scheduler is %s, which keeps no known file" % name}
        path = str(beat["schedule"] or app.conf.beat_schedule_filename)
        path = os.path.join(beat["directory"], path)
        found["where"] = path
        found["everySeconds"] = shortest(app)
        times = [os.stat(path + each).st_mtime for each in SUFFIXES if os.path.exists(path + each)]
        if not times:
            return {**found, "problem": "there is no schedule at %s" % path}
        return {**found, "advanced": max(times)}
    except Exception as error:
        return {**found, "problem": masked(app, line_of(error))}


def shortest(app: Any) -> Optional[float]:
    """The shortest interval of the schedule; None: no entry has one, only times of the clock."""
    entries = (app.conf.beat_schedule or {}).values()
    found = [seconds_of(each.get("schedule")) for each in entries if isinstance(each, dict)]
    return min((each for each in found if each), default=None)


def seconds_of(when: Any) -> Optional[float]:
    every = getattr(when, "run_every", when)
    if isinstance(every, timedelta):
        return every.total_seconds()
    return float(every) if isinstance(every, (int, float)) else None


def of_django() -> Dict[str, Any]:
    models = import_module("django_celery_beat.models")
    rows = models.PeriodicTask.objects.filter(enabled=True)
    newest = rows.exclude(last_run_at=None).order_by("-last_run_at").first()
    every = [
        row.interval.schedule.run_every.total_seconds()
        for row in rows.exclude(interval=None).select_related("interval")[:1000]
    ]
    return {
        "where": "django_celery_beat",
        "advanced": newest.last_run_at.timestamp() if newest else None,
        "everySeconds": min(every, default=None),
        "problem": None if newest else "none of its tasks has run yet",
    }


# --- ------------------------------------------------------------------------------------------


def carry_out(request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    return with_app(request, line, lambda app: told(app, request, line))
