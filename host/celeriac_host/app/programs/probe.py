"""Sends probes through an app's own Celery and waits for them.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`). Output is JSON
lines: `stage` for people, `probes` for where they stand, at the end one `report`. Python 3.6 and
later.
"""

import socket
import sys
import time
import uuid
from importlib import import_module
from typing import Any, Dict, List, NamedTuple, Optional, Set

from celeriac_host.app.programs.app_side import (
    Line,
    Problem,
    connect,
    delivery,
    line_of,
    with_app,
)
from celeriac_host.app.programs.probe_places import Places, messages

POLL_SECONDS = 0.3
# An answer may still be on its way when the time is up.
GRACE_SECONDS = 1.0
CANARY = "celeriac.canary"
STANDS = {
    "queued": "it is still queued",
    "reserved": "a worker has received it but not started it",
    "active": "it is running",
    "lost": "it is lost: neither its queue nor a worker has it",
}


class Job:
    def __init__(self, where: str) -> None:
        self.id = uuid.uuid4().hex
        self.where = where
        self.begun = time.monotonic()
        self.seconds: Optional[float] = None
        self.state = "timed-out"
        self.detail = ""
        self.waiting = True
        self.place = "unknown"

    def end(self, state: str, detail: str) -> None:
        self.waiting = False
        self.state, self.detail = state, detail
        self.seconds = time.monotonic() - self.begun

    def row(self) -> Dict[str, Any]:
        taken = time.monotonic() - self.begun if self.seconds is None else self.seconds
        return {
            "id": self.id,
            "where": self.where,
            "state": self.state,
            "detail": self.detail,
            "seconds": round(taken, 3),
            "place": self.standing(),
        }

    def standing(self) -> str:
        return self.state if self.state in ("done", "failed") else self.place

    def stands(self) -> str:
        """Where it is, as the end of a sentence."""
        return "; " + STANDS[self.place] if self.place in STANDS else ""


def tell_places(line: Line, places: Places, jobs: List[Job]) -> None:
    rows = [{"where": job.where, "place": job.standing(), "detail": ""} for job in jobs]
    line.tell("probes", {"seconds": places.seconds(), "probes": rows})


class Session(NamedTuple):
    """The context of every kind of probe."""

    app: Any
    connection: Any
    request: Dict[str, Any]
    line: Line
    deadline: float

    def left(self) -> float:
        return max(self.deadline - time.monotonic(), 0.0)


def queue_options(app: Any, name: str) -> Dict[str, Any]:
    """Options that send directly into this queue, ignoring routes; declared as the app does."""
    kombu: Any = import_module("kombu")
    try:
        queue = app.amqp.queues[name]
    except KeyError:  # task_create_missing_queues is off
        queue = kombu.Queue(name, kombu.Exchange(""), routing_key=name)
    return {"queue": queue, "exchange": "", "routing_key": name}


# --- canaries ----------------------------------------------------------------------------------


class Runs:
    """Which runs of a unit (InvocationID) answer for it: somebody may restart it meanwhile."""

    def __init__(self, request: Dict[str, Any], line: Line) -> None:
        self.line = line
        self.own = {request["invocation"]}
        self.others: Set[str] = set()

    def has(self, run: Any) -> bool:
        if not isinstance(run, str) or not run or run in self.others:
            return False
        if run in self.own:
            return True
        # One that was not seen before: the agent asks systemd what runs now.
        now = self.line.ask("run", "")
        if now:
            self.own.add(now)
        if run == now:
            return True
        # systemd may not have answered; then another canary asks it again.
        if now:
            self.others.add(run)
        return False


class Canaries:
    """One canary per queue, sent again while only other workers answer."""

    def __init__(self, session: Session) -> None:
        self.kombu: Any = import_module("kombu")
        self.session = session
        self.jobs = [Job(queue) for queue in session.request["queues"]]
        self.sent: Dict[str, Job] = {}
        self.tasks: Dict[str, Job] = {}
        self.strangers: Dict[str, List[str]] = {}
        self.again: List[Job] = []
        self.withdrawn: Set[str] = set()
        self.places = Places(session.app)
        self.runs = Runs(session.request, session.line)
        name = "celeriac.reply." + uuid.uuid4().hex
        self.deadline = time.time() + session.left()
        self.replies = self.kombu.Queue(
            name,
            self.kombu.Exchange(""),
            routing_key=name,
            auto_delete=True,
            expires=session.left() + 120,
        )

    def run(self) -> Dict[str, Any]:
        channel = self.session.connection.channel()
        bound = self.replies(channel)
        try:
            bound.declare()
            with self.kombu.Consumer(
                channel,
                [bound],
                callbacks=[self.take],
                accept=["json"],
                no_ack=True,
                on_decode_error=lambda message, error: None,
            ):
                self.send(self.jobs)
                self.wait(self.session.deadline)
                if self.missing():
                    self.wait(time.monotonic() + GRACE_SECONDS)
                if self.missing():
                    self.locate()
        finally:
            # Also after SIGTERM.
            self.clear_up()
        for job in self.missing():
            self.give_up(job)
        return report(self.jobs, self.problem())

    def missing(self) -> List[Job]:
        return [job for job in self.jobs if job.waiting]

    def send(self, jobs: List[Job]) -> None:
        for job in jobs:
            nonce = uuid.uuid4().hex
            self.sent[nonce] = job
            left = max(self.session.left(), 1.0)
            # Before it is sent: SIGTERM may come in between.
            task = uuid.uuid4().hex
            self.tasks[task] = job
            self.session.app.send_task(
                CANARY,
                task_id=task,
                args=[nonce, self.replies.name, self.deadline],
                expires=left,
                expiration=left,
                ignore_result=True,
                declare=[],  # a probe must not create a missing queue
                **queue_options(self.session.app, job.where),
            )

    def take(self, body: Any, message: Any) -> None:
        job = self.sent.get(str(body.get("nonce"))) if isinstance(body, dict) else None
        if job is None or not job.waiting:
            return
        who = "pid %s on %s" % (body.get("pid"), body.get("host"))
        if self.runs.has(body.get("invocation")):
            job.end("done", "answered by " + who)
            return
        known = self.strangers.setdefault(job.id, [])
        known.extend([] if who in known else [who])
        self.again.append(job)

    def wait(self, deadline: float) -> None:
        while self.missing() and time.monotonic() < deadline:
            try:
                self.session.connection.drain_events(timeout=0.2)
            except socket.timeout:
                again, self.again = self.again, []
                if self.session.left() > 0:
                    self.send([job for job in again if job.waiting])
            if self.places.is_due():
                self.locate()
                tell_places(self.session.line, self.places, self.jobs)

    def locate(self) -> None:
        """Where the canaries are that nobody has answered: the newest, of those sent again."""
        newest = {job.id: task for task, job in self.tasks.items() if job.waiting}
        whose = {task: job for job in self.missing() for task in [newest[job.id]]}
        found = self.places.look({task: job.where for task, job in whose.items()})
        for task, job in whose.items():
            job.place = found[task]

    def give_up(self, job: Job) -> None:
        """Records why, and what happened to the canary."""
        limit = "%g s" % self.session.request["timeoutSeconds"]
        strangers = self.strangers.get(job.id)
        if strangers:
            said = "only other workers answered on %s within %s: %s"
            detail = said % (job.where, limit, ", ".join(strangers[:5]))
        else:
            detail = "no worker answered on %s within %s" % (job.where, limit)
        waiting = self.depth(job.where)
        detail += "; %d other messages are queued there" % waiting if waiting else ""
        if not strangers:
            detail += job.stands()
            back = job.id in self.withdrawn
            detail += "; its canary was removed" if back else "; its canary has expired"
        job.end("timed-out", detail)

    def clear_up(self) -> None:
        """On a new connection: the other may have been interrupted in the middle of an answer."""
        try:
            with self.session.app.connection_for_write() as connection:
                for job in self.missing():
                    self.withdraw(job, connection.default_channel)
                self.replies(connection.default_channel).delete()
        except Exception:
            return  # the broker is gone: both expire

    def withdraw(self, job: Job, channel: Any) -> None:
        """Only Redis can remove one message of a queue; elsewhere it expires."""
        tasks = [task.encode() for task, whose in self.tasks.items() if whose is job]
        try:
            for key, raw in messages(channel, job.where):
                if any(task in raw for task in tasks) and channel.client.lrem(key, 1, raw):
                    self.withdrawn.add(job.id)
        except Exception:
            return  # another broker, or it is gone

    def depth(self, queue: str) -> int:
        try:
            with self.session.connection.channel() as channel:
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except Exception:
            return 0  # no such queue, or a broker that does not report it

    def problem(self) -> Optional[str]:
        silent = [job for job in self.jobs if job.state != "done"]
        if not silent:
            return None
        limit = "%g s" % self.session.request["timeoutSeconds"]
        others = [job for job in silent if self.strangers.get(job.id)]
        nobody = [job for job in silent if job not in others]
        parts = []
        if nobody:
            parts.append("no worker answered on %s within %s" % (places(nobody), limit))
        if others:
            parts.append("only other workers answered on %s within %s" % (places(others), limit))
        return "; ".join(parts)


def places(jobs: List[Job]) -> str:
    seen: List[str] = []
    for job in jobs:
        seen.extend([] if job.where in seen else [job.where])
    return ", ".join(seen)


def queue_of(app: Any, task: Any, name: str) -> Optional[str]:
    """The queue to which the app routes a task; None if that cannot be read."""
    try:
        found = getattr(task, "queue", None) or app.amqp.router.route({}, name).get("queue")
        return str(getattr(found, "name", found)) if found else None
    except Exception:
        return None


# --- a task of the app's own -------------------------------------------------------------------


class Tasks:
    """Calls of one task, followed in the result backend."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.name = session.request["task"]
        self.results: Dict[str, Any] = {}
        self.states: Dict[str, str] = {}
        self.queue: Optional[str] = session.request["queue"]
        self.places = Places(session.app)
        self.jobs: List[Job] = []
        self.replies: Any = None

    def run(self) -> Dict[str, Any]:
        task = self.known_task()
        self.queue = self.queue or queue_of(self.session.app, task, self.name)
        self.replies = self.reply_queue()
        # Its queue is removed at the end, and this process would not declare it again.
        self.session.line.spent = self.replies is not None
        try:
            for call in self.session.request["calls"]:
                self.send(task, call["args"])
            self.follow()
        finally:
            # Also after SIGTERM.
            self.clear_up()
        if self.waiting():
            self.locate()
        for job in self.waiting():
            job.end("timed-out", self.last_word(job))
        bad = [job for job in self.jobs if job.state != "done"]
        problem = None
        if bad:
            problem = "%d of %d calls of %s did not succeed: %s" % (
                len(bad),
                len(self.jobs),
                self.name,
                bad[0].detail,
            )
        return report(self.jobs, problem)

    def follow(self) -> None:
        while self.waiting():
            for job in self.waiting():
                self.look(job)
            if not self.waiting() or self.session.left() <= 0:
                break
            if self.places.is_due():
                self.locate()
                tell_places(self.session.line, self.places, self.jobs)
            if self.replies is None:
                time.sleep(POLL_SECONDS)

    def known_task(self) -> Any:
        """The task, if the app imports it; None if only the workers know it."""
        from celery.backends.base import DisabledBackend

        app = self.session.app
        if isinstance(app.backend, DisabledBackend):
            raise Problem(
                "the app has no result backend, so it is unknown when %s is done: "
                "set result_backend, or use canaries or an HTTP call" % self.name
            )
        task = app.tasks.get(self.name)
        if task is not None and task.ignore_result:
            raise Problem(
                "%s has ignore_result, so it is unknown when it is done: "
                "use another task, canaries or an HTTP call" % self.name
            )
        return task

    def send(self, task: Any, args: List[Any]) -> None:
        app, queue = self.session.app, self.session.request["queue"]
        options = queue_options(app, queue) if queue else {}
        options["expires"] = max(self.session.left(), 1.0)
        # Through the task itself, so that its own options apply; but never run it here.
        if task is not None and not app.conf.task_always_eager:
            result = task.apply_async(args=args, **options)
        else:
            result = app.send_task(self.name, args=args, **options)
        job = Job(queue or self.name)
        job.id = result.id
        self.jobs.append(job)
        self.results[job.id] = result

    def waiting(self) -> List[Job]:
        return [job for job in self.jobs if job.waiting]

    def look(self, job: Job) -> None:
        result = self.results[job.id]
        try:
            state = self.states[job.id] = self.state_of(result)
        except Exception as error:
            raise Problem("cannot read the result backend: " + line_of(error)) from error
        if state not in ("SUCCESS", "FAILURE", "REVOKED", "REJECTED"):
            return
        if state == "SUCCESS":
            job.end("done", state)
        else:
            job.end("failed", "%s: %s" % (state, self.error_of(result)))
        try:
            result.forget()
        except Exception:
            return  # not every backend supports it; it expires

    def state_of(self, result: Any) -> str:
        if self.replies is not None:
            from celery.exceptions import TimeoutError as StillWaiting

            # Reading the state puts the answer back into the queue; waiting for it takes it.
            try:
                result.get(timeout=POLL_SECONDS, propagate=False)
            except StillWaiting:
                return "PENDING"
        return str(result.state)

    def reply_queue(self) -> Any:
        """The queue of this process to which workers answer with `rpc://`; None elsewhere."""
        backend = self.session.app.backend
        # An app with another backend need not have imported this one.
        rpc = getattr(sys.modules.get("celery.backends.rpc"), "RPCBackend", ())
        return backend.binding if isinstance(backend, rpc) else None

    def clear_up(self) -> None:
        """On a new connection: the other may have been interrupted in the middle of an answer."""
        if self.replies is None:
            return
        try:
            with self.session.app.connection_for_write() as connection:
                self.replies(connection.default_channel).delete()
        except Exception:
            return  # the broker is gone: it expires

    def error_of(self, result: Any) -> str:
        try:
            found = result.result
        except Exception as error:
            found = error
        return line_of(found) if isinstance(found, BaseException) else str(found)[:500]

    def last_word(self, job: Job) -> str:
        state = self.states.get(job.id, "PENDING")
        said = "not done within %g s, last state %s" % (
            self.session.request["timeoutSeconds"],
            state,
        )
        if state == "PENDING":
            said += " (no worker has reported it; it expires if no worker takes it)"
        return said + job.stands()

    def locate(self) -> None:
        found = self.places.look({job.id: self.queue for job in self.waiting()})
        for job in self.waiting():
            job.place = found[job.id]


# --- ------------------------------------------------------------------------------------------


def report(jobs: List[Job], problem: Optional[str]) -> Dict[str, Any]:
    ok = problem is None and all(job.state == "done" for job in jobs)
    return {"ok": ok, "jobs": [job.row() for job in jobs], "problem": problem}


def send(app: Any, request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    line.tell("stage", "connecting to the broker")
    connection = connect(app)
    deadline = time.monotonic() + request["timeoutSeconds"]
    session = Session(app, connection, request, line, deadline)
    line.tell("stage", "waiting for the probes")
    work = Canaries(session) if request["kind"] == "canary" else Tasks(session)
    try:
        return {**work.run(), "delivery": delivery(app)}
    except Problem:
        raise
    except Exception as error:
        raise Problem("could not send or follow the probes: " + line_of(error)) from error


def carry_out(request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    return with_app(request, line, lambda app: send(app, request, line))
