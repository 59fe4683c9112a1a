"""Shared by the programs that an app's own interpreter runs.

`app_process` passes this text and the program's to `python -c`, as the unit's user in its
directory; no other module of ours is available. The request comes on stdin as one JSON line,
answers follow as further lines. Output is JSON lines with one key each, the last one `report`.
Python 3.6 and later.
"""

import json
import os
import re
import signal
import sys
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

TRACE_LINES = 12
LINE_LIMIT = 300
# In any URL of a line, for when the app's own settings cannot be read.
# Up to the last @ of the word: a password may contain others, and slashes.
URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):\S+@")
# What this process has imported: the app by its name, and why its tasks do not import.
_LOADED: Dict[str, Tuple[Any, Optional[BaseException]]] = {}
# Connections to the broker that a question has opened.
_CONNECTIONS: List[Any] = []
# The queues of each app before the first question.
_QUEUES: Dict[str, Tuple[Any, Set[str]]] = {}


class Problem(Exception):
    """The whole request failed; a sentence for people."""


class TimeUp(BaseException):
    """Not an `Exception`: a library that retries any failure must not swallow it."""


class Line:
    """The connection to the agent, both ways."""

    def __init__(self) -> None:
        # What the app prints during its import must not mix with our messages.
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.stage = ""
        # Whether what was asked leaves something behind: then another process answers the next.
        self.spent = False

    def tell(self, kind: str, what: Any) -> None:
        if kind == "stage":
            self.stage = what
        self.out.write(json.dumps({kind: what}) + "\n")
        self.out.flush()

    def ask(self, kind: str, what: Any) -> Any:
        """Sends a message and waits for the agent's answer. Exits if the agent is gone."""
        self.tell(kind, what)
        said = sys.stdin.readline()
        if not said:
            raise SystemExit(1)
        return json.loads(said)


def load_app(name: str, needs_tasks: bool = True) -> Any:
    """Finds the app as `celery -A` does, and loads it as a worker does, with Django's own setup.

    A result backend made of models, such as `django-db`, or a broker that the tasks' modules set,
    is not there before. What only talks to a running worker does not need the tasks: these may be
    the reason for which the worker must be stopped.

    Once in a process, which may answer several questions.
    """
    if name not in _LOADED:
        _LOADED[name] = _imported(name)
    app, trouble = _LOADED[name]
    if trouble is not None and needs_tasks:
        raise Problem("the app's tasks do not import: " + line_of(trouble)) from trouble
    return app


def _imported(name: str) -> Tuple[Any, Optional[BaseException]]:
    sys.path.insert(0, os.getcwd())
    try:
        from celery.app.utils import find_app

        app = find_app(name)
    except (Exception, SystemExit) as error:
        raise Problem("the app %s does not import: %s" % (name, line_of(error))) from error
    try:
        app.loader.import_default_modules()
        app.finalize()
    except (Exception, SystemExit) as error:
        return app, error
    return app, None


def connect(app: Any) -> Any:
    """A tested connection to the app's broker, which is open until the question is answered."""
    connection = app.connection_for_write()
    _CONNECTIONS.append(connection)
    try:
        connection.ensure_connection(max_retries=2, interval_start=0.5, interval_step=0.5)
    except Exception as error:
        where = connection.as_uri(include_password=False, mask="**")
        raise Problem("cannot reach the broker %s: %s" % (where, line_of(error))) from error
    return connection


def reach(app: Any, seconds: float) -> Dict[str, Any]:
    """Whether a worker of this app could connect to its broker now.

    `reached`, `unreachable` with the reason, or a `problem`: it could not be tried.
    """
    try:
        connection = app.connection_for_read()
        where = connection.as_uri(include_password=False, mask="**")
    except Exception as error:
        return {"problem": masked(app, line_of(error))}
    said = "cannot reach the broker %s: " % where
    errors = (OSError, *connection.connection_errors, *connection.channel_errors)

    def end(signum: int, frame: Any) -> None:
        raise TimeUp("no answer within %g s" % seconds)

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        # Each broker of a failover list at least once.
        most = max(2, len(getattr(connection, "alt", None) or ()))
        connection.ensure_connection(max_retries=most, interval_start=0.5, interval_step=0.5)
        return {"reached": True}
    except TimeUp as limit:
        return {"unreachable": masked(app, said + str(limit))}
    except Exception as error:
        is_refusal = isinstance(error, errors) or type(error).__name__ == "OperationalError"
        text = (said if is_refusal else "") + line_of(error)
        return {"unreachable" if is_refusal else "problem": masked(app, text)}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        with suppress(Exception):  # it may be broken
            connection.release()


def note_queues(name: str, app: Any) -> None:
    """Which queues it knows before the first question."""
    try:
        if name not in _QUEUES:
            _QUEUES[name] = (app, set(app.amqp.queues))
    except Exception:
        return  # whoever needs them tells why


def tidy() -> None:
    """Leaves the process as after its import: nothing of a question may count in the next one."""
    while _CONNECTIONS:
        try:
            _CONNECTIONS.pop().release()
        except Exception:
            continue  # it is broken
    for app, queues in _QUEUES.values():
        # To look up a queue that the app does not name adds it to those that a worker consumes.
        for name in set(app.amqp.queues) - queues:
            del app.amqp.queues[name]
        # A connection of a pool stays with its broker after a failover, or may be broken.
        app._pool = app.amqp._producer_pool = None
        if "control" in vars(app):
            vars(app.control.mailbox).pop("producer_pool", None)
    pools = sys.modules.get("kombu.pools")
    if pools is not None:
        pools.reset()
    database = sys.modules.get("django.db")
    if database is not None:
        # It may be broken, or in a transaction that sees an older state.
        database.connections.close_all()


def delivery(app: Any) -> Dict[str, Any]:
    """When the broker delivers a message again that is not acknowledged.

    `seconds` is None for a transport without such a limit, which waits for the connection to end.
    """
    found: Dict[str, Any] = {"transport": "", "seconds": None, "where": "", "problem": None}
    try:
        with app.connection_for_read() as connection:
            kind = connection.transport.driver_type
            options = dict(connection.transport_options or {})
            # Those of older versions of Kombu that are not virtual have none.
            channel = getattr(type(connection.transport), "Channel", None)
        found["transport"] = kind
        if kind not in ("redis", "sqs"):
            return found
        if kind == "sqs" and options.get("predefined_queues"):
            found["problem"] = "its queues are predefined in SQS, with a timeout of their own"
            return found
        known = options.get("visibility_timeout")
        found["where"] = "broker_transport_options" if known is not None else "the default"
        if known is None:
            # With SQS, the first of these is a property of the instance.
            names = ("visibility_timeout", "default_visibility_timeout")
            values = [getattr(channel, name, None) for name in names]
            known = next(each for each in values if isinstance(each, (int, float)))
        found["seconds"] = float(known)
        # The shortest one counts, also of the result backend.
        backend = (app.conf.get("result_backend_transport_options") or {}).get("visibility_timeout")
        uses_redis = re.match("rediss?:|sentinel:", str(app.conf.get("result_backend") or ""))
        if uses_redis and backend is not None and float(backend) < found["seconds"]:
            found.update(seconds=float(backend), where="result_backend_transport_options")
        return found
    except Exception as error:
        found.update(seconds=None, problem=masked(app, line_of(error)))
        return found


def line_of(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, lines[0]) if lines else type(error).__name__


def trace_of(error: BaseException) -> List[str]:
    """The last lines of its traceback; for a Problem, of its cause, if it has one."""
    cause = error.__cause__ if isinstance(error, Problem) else error
    if cause is None:
        return []
    # Only for what failed: the agent loads this module, too.
    import traceback

    text = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
    # Without the lines that mark columns.
    lines = [line.rstrip()[:LINE_LIMIT] for line in text.splitlines() if line.strip(" ^~")]
    return lines[-TRACE_LINES:]


def masked(app: Any, text: str) -> str:
    """Removes the passwords of broker and result backend, wherever a library put them."""
    text = URL_PASSWORD.sub(r"\1:**@", text)
    for password in passwords(app):
        text = text.replace(password, "**")
    return text


def passwords(app: Any) -> List[str]:
    """The passwords in the app's settings; none if there are no settings."""
    from urllib.parse import unquote

    urls: List[str] = []
    try:
        for name in ("broker_url", "broker_read_url", "broker_write_url", "result_backend"):
            value = app.conf.get(name)
            urls.extend(value if isinstance(value, (list, tuple)) else [value or ""])
    except Exception:
        return []
    found: List[str] = []
    # Several URLs in one are separated by semicolons, which a password may contain, too.
    for url in [each for whole in map(str, urls) for each in {whole, *whole.split(";")}]:
        login = url.partition("://")[2].rpartition("@")[0]
        password = login.partition(":")[2]
        # As it stands, and as a library has decoded it.
        found.extend(each for each in (password, unquote(password)) if each)
    return sorted(set(found), key=len, reverse=True)


def with_app(
    request: Dict[str, Any],
    line: Line,
    work: Callable[[Any], Dict[str, Any]],
    needs_tasks: bool = True,
) -> Dict[str, Any]:
    """Loads the app and returns the report of `work`.

    An error becomes a `problem`, with the end of its traceback as `evidence`, without passwords.
    """
    app = None
    try:
        if request["app"] not in _LOADED:
            line.tell("stage", "importing the app " + request["app"])
        app = load_app(request["app"], needs_tasks)
        note_queues(request["app"], app)
        return work(app)
    except TimeUp as limit:
        return {"problem": str(limit)}
    except Exception as error:
        said = str(error) if isinstance(error, Problem) else line_of(error)
        return {
            "problem": masked(app, said),
            "evidence": [masked(app, each) for each in trace_of(error)],
        }


def bound(seconds: float, line: Line) -> None:
    """Raises TimeUp after this time, whatever is running."""

    def end(signum: int, frame: Any) -> None:
        raise TimeUp("no answer within %g s while %s" % (seconds, line.stage))

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def leave(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)


def serve(carry_out: Callable[[Dict[str, Any], Line], Any]) -> None:
    """Never returns."""
    request = json.loads(sys.stdin.readline())
    line = Line()
    signal.signal(signal.SIGTERM, leave)
    line.tell("report", carry_out(request, line))
    # Threads that the app or its libraries started must not delay the exit.
    os._exit(0)
