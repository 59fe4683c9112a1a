"""Module that a Celery worker loads besides its app: `celery -A app worker -I celeriac_support`.

It provides five features, none of which requires a change to the app:

- watchdog notifications: READY=1 when the worker consumes, WATCHDOG=1 while its main loop runs
  and it takes messages, STOPPING=1 when it begins to stop (sd_notify(3));
- the repair of a worker that runs and takes no messages, if its watchdog does not have to bite;
- once a minute, how many messages wait and how many tasks run, at the end of the unit's status;
- a canary: a task that reports through the broker which process of which unit ran it;
- remote control commands that make the worker consume cancelled queues again.

It runs inside the user's worker, so all errors in here are logged once and ignored. Outside systemd
(no NOTIFY_SOCKET) the watchdog does nothing. Celery 4.4 and later, Python 3.6 and later.

As measured with systemd 252, prefork pools, Redis, Celery 4.4 to 5.7:

- Broker down: the consumer's timers stop. Each retry pings, at increasing intervals of at most
  32 s: a WatchdogSec of 40 s or more survives any outage, a shorter one only a short outage.
- Stopping: nothing pings while the main process waits for its children, and nothing has to.
  systemd does not enforce WatchdogSec in stop-sigterm; TimeoutStopSec limits the wait. STOPPING=1
  puts the unit into that state even if the stop did not come from systemd (`control shutdown`, a
  manual TERM), so a drain longer than WatchdogSec succeeds, and Restart= applies afterwards.
"""

import logging
import os
import socket
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Set
from urllib.parse import quote

from celery import Task, bootsteps, shared_task, signals
from celery.worker import state as requests
from celery.worker.control import control_command

log = logging.getLogger(__name__)

#: Maximum seconds between pings, however long WatchdogSec is.
LONGEST_INTERVAL = 10.0
#: Seconds without a message, while messages wait, after which a worker is deaf; 0: never.
DEAF_AFTER = 'CELERIAC_DEAF_AFTER_SEC'
#: WatchdogSec as assumed if there is none; the worker is then only reported, never ended.
USUAL_WATCHDOG = 300.0
#: Limit in seconds of each step of a look at the queues, which the main loop waits for.
LOOK_LIMIT = 2.0
#: Options that apply it, by the driver; others do not tell how many messages wait.
LIMITS = {
    'redis': dict.fromkeys(('socket_timeout', 'socket_connect_timeout'), LOOK_LIMIT),
    'amqp': dict.fromkeys(('read_timeout', 'write_timeout'), LOOK_LIMIT),
}
KIND = 'x-queue-type'
#: Seconds between two reports in the unit's status.
REPORT_EVERY = 60.0
#: A queue is left out of a report beyond these numbers: systemd takes 4 KiB.
REPORT_QUEUES, REPORT_BYTES = 50, 2000
#: Seconds after which the broker drops an answer (if it supports expiry).
ANSWER_EXPIRES = 60

_main_pid: Optional[int] = None
_logged: Set[str] = set()


def _complain(what: str, error: BaseException) -> None:
    """Logs each kind of problem once, so that it cannot flood the log."""
    if what not in _logged:
        _logged.add(what)
        log.warning('celeriac: %s: %r (logged once)', what, error)


# --- systemd -----------------------------------------------------------------------------------


def notify(*lines: str) -> None:
    """Sends the lines to systemd, from the main process only (children inherit the environment)."""
    address = os.environ.get('NOTIFY_SOCKET')
    if not address or os.getpid() != _main_pid:
        return
    if address.startswith('@'):  # an abstract socket
        address = '\0' + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(2)
            channel.connect(address)
            channel.sendall('\n'.join(lines).encode('utf-8', 'replace'))
    except Exception as error:
        _complain('could not notify systemd', error)


def watchdog() -> Optional[float]:
    """WatchdogSec. None if the watchdog is not enabled."""
    try:
        watched = int(os.environ.get('WATCHDOG_PID') or os.getpid())
        seconds = int(os.environ.get('WATCHDOG_USEC') or 0) / 1e6
    except ValueError as error:
        _complain('WATCHDOG_USEC or WATCHDOG_PID is not a number', error)
        return None
    return seconds if seconds > 0 and watched == os.getpid() else None


def interval() -> Optional[float]:
    """Seconds between pings: a quarter of WatchdogSec. None if the watchdog is not enabled."""
    seconds = watchdog()
    return None if seconds is None else min(seconds / 4, LONGEST_INTERVAL)


def ping() -> None:
    if not _hearing.deaf:
        notify('WATCHDOG=1')


def _say(status: str, report: Optional[str] = None) -> None:
    """For people; a new report, for the sampler of the host, is also told by an old status."""
    if status != _hearing.status or report is not None:
        _hearing.status = status
        _hearing.report = _hearing.report if report is None else report
        notify('STATUS=' + status + _hearing.report)


class Pulse(bootsteps.StartStopStep):  # type: ignore[misc]
    """Pings from the consumer's own timer, so a hung loop is noticed.

    It is a step of the consumer because a reconnect clears all timers and restarts the consumer's
    steps. While the broker is down the timer does not run; `Retries` pings then. A solo pool runs
    its tasks in the loop itself, which blocks it: there a thread pings, which only proves that the
    process is not stopped.
    """

    name = 'celeriac_support.Pulse'
    requires = ('celery.worker.consumer.connection:Connection',)
    turn = 0

    def start(self, consumer: Any) -> None:
        try:
            every = interval()
            if every is not None:
                ping()
                if type(consumer.pool).__module__ == 'celery.concurrency.solo':
                    _ping_from_thread(every)
            _hearing.listen(consumer)
            self._turn_with(consumer, min(every or LONGEST_INTERVAL, _hearing.pace.look))
        except Exception as error:
            _complain('could not start the watchdog', error)

    def _turn_with(self, consumer: Any, every: float) -> None:
        turn = self.turn

        # Not call_repeatedly: with gevent it cannot be cancelled and runs beside its successor.
        def beat() -> None:
            if self.turn != turn:
                return
            consumer.timer.call_after(every, beat)
            repair(consumer)
            lost = _hearing.check(consumer)
            ping()
            if lost is not None:
                raise lost  # the loop takes it as the loss of its connection, and reconnects

        consumer.timer.call_after(0, beat)  # the first turn of its loop: its sockets must be there

    def stop(self, consumer: Any) -> None:
        # Reconnects also stop the steps, in state RUN. A shutdown gets here before the pool waits
        # for its tasks, including one by remote control, which sends no signal.
        try:
            self.turn += 1
            if consumer.blueprint.state != bootsteps.RUN:
                _announce_stop()
            elif not _hearing.deaf:
                _say('Reconnecting to the broker')
        except Exception as error:
            _complain('could not announce the stop', error)

    terminate = stop


def _ping_from_thread(every: float) -> None:
    name = 'celeriac-watchdog'

    def run() -> None:
        while True:
            ping()
            time.sleep(every)

    if not any(thread.name == name for thread in threading.enumerate()):
        threading.Thread(target=run, name=name, daemon=True).start()


class Retries(logging.Handler):
    """Pings whenever the consumer tries to reconnect to its broker.

    The retry loop blocks the main process and has no hook; its log line for every attempt (at most
    32 s apart) shows that it is running. Without this, an outage of the broker longer than
    WatchdogSec would kill the running tasks.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if 'Cannot connect to' in str(record.msg):
            _hearing.heard()  # it cannot take messages from a broker that is away
            _say('Waiting for the broker')
            if interval() is not None:
                ping()


def _announce_stop(**_: Any) -> None:
    notify('STOPPING=1', 'STATUS=Stopping: waiting for running tasks')


def _on_worker_init(sender: Any = None, **_: Any) -> None:
    global _main_pid
    try:
        _main_pid = os.getpid()
        if os.environ.get('NOTIFY_SOCKET'):
            sender.app.steps['consumer'].add(Pulse)
            logging.getLogger('celery.worker.consumer.consumer').addHandler(Retries(logging.ERROR))
    except Exception as error:
        _complain('could not set up the watchdog', error)


def _on_worker_ready(sender: Any = None, **_: Any) -> None:
    status = 'Consuming'
    try:
        status = _consuming(sender.app.amqp.queues.consume_from)
    except Exception as error:
        _complain('could not list the queues', error)
    notify('READY=1', 'STATUS=' + status + _hearing.report)


def _consuming(queues: Any) -> str:
    return 'Consuming from ' + (', '.join(sorted(queues)) or 'no queue')


signals.worker_init.connect(_on_worker_init, weak=False)
signals.worker_ready.connect(_on_worker_ready, weak=False)
signals.worker_shutting_down.connect(_announce_stop, weak=False)


# --- a worker that runs and takes nothing ------------------------------------------------------


class Pace(NamedTuple):
    """Seconds between looks, and of suspicion after which it is deaf, or must be ended."""

    look: float
    deaf: float
    hopeless: float


def pace(watchdog_seconds: float, deaf_after: Optional[float]) -> Pace:
    """Suspicion begins with a look: the messages may be older by one pause."""
    patience = watchdog_seconds / 2 if deaf_after is None else deaf_after
    if patience <= 0:
        return Pace(LONGEST_INTERVAL, float('inf'), float('inf'))
    look = max(patience / 5, 1.0)
    most = max(watchdog_seconds, 2 * patience)
    return Pace(look, max(patience - look, 2 * look), max(most - 2 * look, 3 * look))


def suspicion(
    since: Optional[float], last: float, now: float, waiting: Optional[int], look: float
) -> Optional[float]:
    """When the worker was first seen to leave messages that it could take. None: not suspect.

    `waiting` is None if the worker has no room or the broker did not tell. After a long pause, of a
    busy loop or a host that was frozen, it starts again: the worker had no chance to take any.
    """
    if not waiting:
        return None
    return now if since is None or now - last > 2 * look + LOOK_LIMIT else since


class Hearing:
    """Whether the worker takes messages, from looks at its queues while it takes none."""

    since: Optional[float] = None
    last = 0.0
    pace = pace(USUAL_WATCHDOG, 0)
    deaf = silent = failed = sees_sockets = away = False
    status = report = ''
    reported = float('-inf')
    own: Any = None

    def heard(self) -> None:
        self.since = None
        self.deaf = self.silent = False

    def listen(self, consumer: Any) -> None:
        """Notes each message that the consumer gets. Before its loop asks for the handler."""
        try:
            after = os.environ.get(DEAF_AFTER)
            self.pace = pace(watchdog() or USUAL_WATCHDOG, float(after) if after else None)
            self.forget()  # it may have been lost with the consumer's
            create = consumer.create_task_handler
            if getattr(create, 'celeriac', False):
                return

            def create_task_handler(*args: Any, **kwargs: Any) -> Any:
                handle = create(*args, **kwargs)

                def on_message(message: Any) -> Any:
                    self.heard()
                    return handle(message)

                return on_message

            create_task_handler.celeriac = True  # type: ignore[attr-defined]
            consumer.create_task_handler = create_task_handler
        except Exception as error:
            self.pace = pace(USUAL_WATCHDOG, 0)
            _complain('cannot notice that the worker consumes nothing', error)

    def check(self, consumer: Any) -> Optional[Exception]:
        """Looks, if it is time to. An error if the consumer is to reconnect."""
        try:
            # A look that failed may have taken seconds.
            if time.monotonic() - self.last >= self.pace.look * (10 if self.failed else 1):
                waiting = self.look(consumer)
                now, last = time.monotonic(), self.last
                self.last, self.silent = now, True
                self.since = suspicion(self.since, last, now, waiting, self.pace.look)
                if self.since is not None and now - self.since >= self.pace.deaf:
                    return self.give_up(consumer, waiting or 0, now - self.since)
                self.deaf = False
            report = self.news(consumer)
            if not self.deaf:
                _say(_consuming([queue.name for queue in consumed(consumer)]), report)
        except Exception as error:
            _complain('could not check whether the worker consumes', error)
        return None

    def look(self, consumer: Any) -> Optional[int]:
        """The messages that it could take and did not. None: unknown, or none that it must."""
        self.failed = False
        try:
            if self.silent and self.pace.deaf != float('inf') and has_room(consumer):
                return self.count(consumer)
        except Exception as error:
            _complain('could not ask for the messages in its queues', error)
            self.forget()
            self.failed = True
        return None

    def news(self, consumer: Any) -> Optional[str]:
        """What is to be reported. None: it is not yet time to."""
        now = time.monotonic()
        if now - self.reported < REPORT_EVERY * (10 if self.away else 1):
            return None
        self.reported = now
        lengths: Optional[Dict[str, int]] = None
        try:
            self.away = False
            queues = consumed(consumer)
            lengths = self.lengths(consumer, queues[:REPORT_QUEUES])
            # A part of them would pass for all.
            if any(queue.name not in lengths for queue in queues if is_measured(queue)):
                lengths = None
        except Exception as error:
            # Each attempt may have blocked the loop for seconds.
            self.away = True
            _complain('could not ask how many messages wait', error)
            self.forget()
        try:
            return report(now, lengths)
        except Exception as error:
            _complain('could not report', error)
            return None

    def forget(self) -> None:
        own, self.own, self.failed = self.own, None, False
        if own is not None:
            own.release()

    def give_up(self, consumer: Any, waiting: int, seconds: float) -> Optional[Exception]:
        """Reconnects first, if it can. Then it must be ended, before the lack of pings does it."""
        what = '%d messages waited for %d s and it took none' % (waiting, seconds)
        _say('Consumes nothing: ' + what)
        log.error('celeriac: the worker consumes nothing: %s', what)
        if self.deaf:
            if seconds >= self.pace.hopeless and watchdog() is not None:
                notify('WATCHDOG=trigger')
            return None
        self.deaf = True
        lost = ConnectionResetError('celeriac: the worker consumes nothing, so it reconnects')
        # Outside a hub the error would reach nobody; without retries it would end the worker.
        caught = consumer.hub and isinstance(lost, consumer.connection_errors)
        return lost if caught and consumer.app.conf.broker_connection_retry else None

    def count(self, consumer: Any) -> int:
        """The messages that wait in its queues and that it must take."""
        # Of a single active consumer, others wait for its end.
        alone = 'x-single-active-consumer'
        asked = [queue for queue in consumed(consumer) if not argument(queue, alone)]
        return sum(self.lengths(consumer, asked).values())

    def lengths(self, consumer: Any, queues: List[Any]) -> Dict[str, int]:
        """The messages that wait, by queue, asked by a connection of its own; some may lack."""
        names = [queue.name for queue in queues if is_measured(queue)]
        driver = consumer.connection.transport.driver_type
        found: Dict[str, int] = {}
        if driver not in LIMITS:
            return found
        if self.own is None:
            self.own = consumer.app.connection_for_read(
                heartbeat=0, connect_timeout=LOOK_LIMIT, transport_options=LIMITS[driver]
            )
        channel, end = None, time.monotonic() + LOOK_LIMIT
        for name in names:
            if time.monotonic() > end:
                break
            channel = channel or self.own.channel()
            try:
                found[name] = channel.queue_declare(queue=name, passive=True).message_count
            except self.own.channel_errors:  # empty in Redis; AMQP also closes the channel
                if driver == 'redis':
                    found[name] = 0
                channel = channel if getattr(channel, 'is_open', True) else None
        if channel is not None:
            channel.close()
        return found


_hearing = Hearing()


def report(now: float, lengths: Optional[Dict[str, int]]) -> str:
    """` [at=86400 active=2 processed=120 queues=1 waiting:celery=3]`, `at` in seconds since boot.

    Without `queues`, the lengths are not known; if it says more than follow, the list is cut off.
    Only digits, printable ASCII and single blanks: names are quoted as in URLs.
    """
    words = ['at=%d' % now, 'active=%d' % len(requests.active_requests)]
    words.append('processed=%d' % requests.all_total_count[0])
    if lengths is None:
        return ' [' + ' '.join(words) + ']'
    words.append('queues=%d' % len(lengths))
    room = REPORT_BYTES
    for name, count in sorted(lengths.items()):
        word = 'waiting:%s=%d' % (quote(name, safe=''), count)
        room -= len(word) + 1
        if room >= 0:
            words.append(word)
    return ' [' + ' '.join(words) + ']'


def consumed(consumer: Any) -> List[Any]:
    """The queues that it consumes: not those that were cancelled."""
    tasks = consumer.task_consumer
    return [queue for queue in tasks.queues if tasks.consuming_from(queue.name)] if tasks else []


def is_measured(queue: Any) -> bool:
    """A stream keeps what was consumed."""
    return bool(argument(queue, KIND) != 'stream')


def polls(consumer: Any) -> Optional[bool]:
    """Whether it waits for the next message of its queues. None: unknown, or not only BRPOP.

    Kombu 4.6 to 5.6 passes a message on before it forgets its BRPOP, and begins none without a
    queue. Without a hub (gevent, eventlet), acknowledgements may still wait for their turn.
    """
    try:
        channel = consumer.task_consumer.channel
        driver = consumer.connection.transport.driver_type
        if driver != 'redis' or not consumer.hub or channel._in_listen:
            return None
        return bool(channel._in_poll or channel.active_queues)
    except Exception as error:
        _complain('could not tell whether a message is on its way', error)
        return None


def unfinished() -> Optional[int]:
    """How many tasks it has. None: unknown, as a thread of its pool changes them just now."""
    try:
        return len(set(requests.reserved_requests) | set(requests.active_requests))
    except RuntimeError:
        return None


def argument(queue: Any, name: str) -> Any:
    return (queue.queue_arguments or {}).get(name)


def has_room(consumer: Any) -> bool:
    """Whether it would take another task at once. False if there may be a reason to wait."""
    pool, qos = consumer.pool, consumer.qos
    busy = len(set(requests.reserved_requests) | set(requests.active_requests))
    slots = pool.limit if getattr(pool, 'is_green', False) else pool.num_processes
    limited = any(bucket and bucket.contents for bucket in list(consumer.task_buckets.values()))
    # Tasks with an ETA fill the prefetch if a setting limits it, or with quorum queues.
    most = getattr(qos, 'max_prefetch', None)
    if any(argument(queue, KIND) == 'quorum' for queue in consumed(consumer)):
        most = consumer.initial_prefetch_count + 1
    prefetch = getattr(consumer.task_consumer.channel, 'qos', None)
    can_consume = getattr(prefetch, 'can_consume', lambda: True)
    room = busy < slots and not limited and not (most and qos.value >= most)
    return bool(room and can_consume())


def repair(consumer: Any) -> None:
    """Registers the consumer's sockets with its loop again if they have been lost.

    An attempt to reach a Redis that is away leaves a connection behind. When the garbage collector
    finds it, after the worker has reconnected, Kombu 5.2.3 to 5.3 takes that for the loss of the
    new one, and the loop never reads from the broker again (celery#8030). A message on its way
    then waits in the socket, and is lost in a restart.
    """
    try:
        hub, connection = consumer.hub, consumer.connection
        if not hub or not connection or not connection.connected:
            return
        if _is_polled(hub, connection):
            _hearing.sees_sockets = True
        elif _hearing.sees_sockets:  # else Kombu keeps them in another way
            connection.transport.register_with_event_loop(connection.connection, hub)
            _hearing.sees_sockets = _is_polled(hub, connection)
            log.warning('celeriac: the loop had lost its sockets to the broker; it has them again')
    except Exception as error:
        _complain('could not check the sockets', error)


def _is_polled(hub: Any, connection: Any) -> bool:
    if connection.transport.driver_type != 'redis':
        sock = getattr(connection.connection, 'sock', None)
        return sock is not None and sock.fileno() in hub.readers
    cycle = connection.transport.cycle
    cells = [cell for poll in hub.on_tick for cell in getattr(poll, '__closure__', None) or ()]
    return any(cell.cell_contents is cycle for cell in cells)


# --- remote control ----------------------------------------------------------------------------


@control_command(args=[('queues', list)], signature='<queues>')
def celeriac_consume_again(state: Any, queues: Any = (), **_: Any) -> Dict[str, str]:
    """Makes the worker consume these queues, also after every reconnect.

    Celery's `cancel_consumer` removes a queue from the list that a reconnect starts from, and
    before 5.7 its `add_consumer` does not add a queue back if the app already knows it.
    """
    try:
        known = state.consumer.app.amqp.queues
        names: List[str] = [str(name) for name in queues]
        known.select([*names, *(name for name in known.consume_from if name not in names)])
        for name in names:
            state.consumer.call_soon(state.consumer.add_task_queue, name)
    except Exception as error:
        _complain('could not consume queues again', error)
        return {'error': repr(error)}
    return {'ok': 'consumes ' + ', '.join(names)}


@control_command(args=[('invocation', str)], signature='<invocation>')
def celeriac_consumers(
    state: Any, invocation: str = '', cancel: Any = (), consume: Any = (), **_: Any
) -> Dict[str, Any]:
    """Changes the queues of the worker if it is this run of its unit; others ignore it.

    Returns them, whether a message may be on its way to it (None: unknown), and how many tasks it
    has. For workers that share a node name: Celery's own commands would reach all of them.
    """
    if not invocation or invocation != os.environ.get('INVOCATION_ID'):
        return {'ok': 'ignored: meant for another worker'}
    try:
        consumer = state.consumer
        for name in cancel:
            consumer.call_soon(consumer.cancel_task_queue, str(name))
        if consume:
            celeriac_consume_again(state, queues=consume)
        return {
            'queues': [queue.name for queue in consumer.task_consumer.queues],
            'polls': polls(consumer),
            'unfinished': unfinished(),
        }
    except Exception as error:
        _complain('could not report the queues', error)
        return {'error': repr(error)}


# --- canary ------------------------------------------------------------------------------------


def identity() -> Dict[str, Any]:
    """Identity of this process. systemd's INVOCATION_ID is unique to one start of one unit."""
    boot = ''
    try:
        with open('/proc/sys/kernel/random/boot_id') as file:
            boot = file.read().strip()
    except OSError as error:
        _complain('could not read the boot id', error)
    return {
        'host': socket.gethostname(),
        'pid': os.getpid(),
        'parentPid': os.getppid(),
        'bootId': boot,
        'invocation': os.environ.get('INVOCATION_ID', ''),
    }


# The plain Task class, not the app's: a canary must not run what an app attaches to its own tasks.
@shared_task(
    bind=True,
    base=Task,
    name='celeriac.canary',
    ignore_result=True,
    acks_late=False,
    max_retries=0,
    track_started=False,
    expires=60,
)
def canary(self: Any, nonce: str, reply_to: str, deadline: float) -> None:
    """Answers on the queue `reply_to`, unless it is later than `deadline` (epoch seconds)."""
    if time.time() > deadline:  # the sender and its queue are gone
        return
    try:
        answer = dict(identity(), nonce=nonce, node=self.request.hostname)
        with self.app.producer_or_acquire() as producer:
            producer.publish(
                answer,
                serializer='json',
                compression=None,
                exchange='',
                routing_key=reply_to,
                expiration=ANSWER_EXPIRES,
                retry=True,
                retry_policy={'max_retries': 3, 'interval_start': 0.1, 'interval_step': 0.5},
            )
    except Exception as error:
        _complain('could not answer a canary', error)
