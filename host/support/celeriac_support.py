"""Module that a Celery worker loads besides its app: `celery -A app worker -I celeriac_support`.

It provides three features, none of which requires a change to the app:

- watchdog notifications: READY=1 when the worker consumes, WATCHDOG=1 while its main loop runs,
  STOPPING=1 when it begins to stop (sd_notify(3));
- a canary: a task that reports through the broker which process of which unit ran it;
- remote control commands that make the worker consume cancelled queues again.

It runs inside the user's worker, so all errors in here are logged once and ignored. Outside systemd
(no NOTIFY_SOCKET) the watchdog does nothing. Celery 4.4 and later, Python 3.6 and later.

As measured with systemd 252, prefork pools, Redis, Celery 4.4 to 5.7:

- Broker down: the consumer's timers stop. Each retry pings, at increasing intervals of at most
  32 s: a WatchdogSec of 40 s or more survives any outage, a shorter one only a short outage. When
  the broker is back, pinging resumes immediately.
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
from typing import Any, Dict, List, Optional, Set

from celery import Task, bootsteps, shared_task, signals
from celery.worker.control import control_command

log = logging.getLogger(__name__)

#: Maximum seconds between pings, however long WatchdogSec is.
LONGEST_INTERVAL = 10.0
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


def interval() -> Optional[float]:
    """Seconds between pings: a quarter of WatchdogSec. None if the watchdog is not enabled."""
    try:
        watched = int(os.environ.get('WATCHDOG_PID') or os.getpid())
        seconds = int(os.environ.get('WATCHDOG_USEC') or 0) / 1e6
    except ValueError as error:
        _complain('WATCHDOG_USEC or WATCHDOG_PID is not a number', error)
        return None
    if seconds <= 0 or watched != os.getpid():
        return None
    return min(seconds / 4, LONGEST_INTERVAL)


def ping() -> None:
    notify('WATCHDOG=1')


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
            if every is None:
                return
            ping()
            if type(consumer.pool).__module__ == 'celery.concurrency.solo':
                _ping_from_thread(every)
            else:
                self._ping_from_timer(consumer.timer, every)
        except Exception as error:
            _complain('could not start the watchdog', error)

    def _ping_from_timer(self, timer: Any, every: float) -> None:
        turn = self.turn

        # Not call_repeatedly: with gevent it cannot be cancelled and runs beside its successor.
        def beat() -> None:
            if self.turn == turn:
                ping()
                timer.call_after(every, beat)

        timer.call_after(every, beat)

    def stop(self, consumer: Any) -> None:
        # Reconnects also stop the steps, in state RUN. A shutdown gets here before the pool waits
        # for its tasks, including one by remote control, which sends no signal.
        try:
            self.turn += 1
            if consumer.blueprint.state != bootsteps.RUN:
                _announce_stop()
        except Exception as error:
            _complain('could not announce the stop', error)

    terminate = stop


def _ping_from_thread(every: float) -> None:
    name = 'celeriac-watchdog'
    if any(thread.name == name for thread in threading.enumerate()):
        return

    def run() -> None:
        while True:
            ping()
            time.sleep(every)

    threading.Thread(target=run, name=name, daemon=True).start()


class Retries(logging.Handler):
    """Pings whenever the consumer tries to reconnect to its broker.

    The retry loop blocks the main process and has no hook; its log line for every attempt (at most
    32 s apart) shows that it is running. Without this, an outage of the broker longer than
    WatchdogSec would kill the running tasks.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if 'Cannot connect to' in str(record.msg) and interval() is not None:
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
        status += ' from ' + ', '.join(sorted(sender.app.amqp.queues.consume_from))
    except Exception as error:
        _complain('could not list the queues', error)
    notify('READY=1', 'STATUS=' + status)


signals.worker_init.connect(_on_worker_init, weak=False)
signals.worker_ready.connect(_on_worker_ready, weak=False)
signals.worker_shutting_down.connect(_announce_stop, weak=False)


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
    """Changes and returns the queues of the worker if it is this run of its unit; others ignore it.

    For workers that share a node name: Celery's own commands would reach all of them.
    """
    if not invocation or invocation != os.environ.get('INVOCATION_ID'):
        return {'ok': 'ignored: meant for another worker'}
    try:
        consumer = state.consumer
        for name in cancel:
            consumer.call_soon(consumer.cancel_task_queue, str(name))
        if consume:
            celeriac_consume_again(state, queues=consume)
        return {'queues': [queue.name for queue in consumer.task_consumer.queues]}
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
