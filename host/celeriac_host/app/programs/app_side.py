"""What every program of ours needs that is run by an app's own interpreter.

Text for `python -c`, put together by `app_process`: it runs as the unit's user in its directory,
beside nothing of ours but the program itself. The request comes on stdin as one line of JSON, what
is answered to it later as further lines; JSON lines go out, one key each, the last one `report`.
Python 3.6 and later.
"""

import json
import os
import re
import signal
import sys
import traceback
from typing import Any, Callable, Dict, List
from urllib.parse import urlsplit

TRACE_LINES = 12
LINE_LIMIT = 300
# Of any URL in a line of source, where the app's own settings can't be asked.
URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):[^\s@]+@")


class Problem(Exception):
    """What went wrong as a whole, as a sentence for people."""


class TimeUp(BaseException):
    """No `Exception`: a library that retries whatever fails must not swallow it."""


class Line:
    """Both ways to the agent."""

    def __init__(self) -> None:
        # What the app prints while it is imported must not be taken for ours.
        self.out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.stage = ""

    def tell(self, kind: str, what: Any) -> None:
        if kind == "stage":
            self.stage = what
        self.out.write(json.dumps({kind: what}) + "\n")
        self.out.flush()

    def ask(self, kind: str, what: Any) -> Any:
        """Tells it, and waits for the agent's word. Leaves when the agent is gone."""
        self.tell(kind, what)
        said = sys.stdin.readline()
        if not said:
            raise SystemExit(1)
        return json.loads(said)


def load_app(name: str) -> Any:
    """As `celery -A` finds it."""
    sys.path.insert(0, os.getcwd())
    try:
        from celery.app.utils import find_app

        return find_app(name)
    except (Exception, SystemExit) as error:
        raise Problem("the app %s does not import: %s" % (name, line_of(error))) from error


def load_tasks(app: Any) -> None:
    """Imports what a worker imports beside the app, with Django's own set-up.

    Before that a result backend that is made of models, as `django-db` is, can't be touched.
    """
    try:
        app.loader.import_default_modules()
    except (Exception, SystemExit) as error:
        raise Problem("the app's tasks do not import: " + line_of(error)) from error


def connect(app: Any) -> Any:
    """A connection to the app's broker that is known to work."""
    connection = app.connection_for_write()
    try:
        connection.ensure_connection(max_retries=2, interval_start=0.5, interval_step=0.5)
    except Exception as error:
        where = connection.as_uri(include_password=False, mask="**")
        raise Problem("the broker %s can't be reached: %s" % (where, line_of(error))) from error
    return connection


def line_of(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, lines[0]) if lines else type(error).__name__


def trace_of(error: BaseException) -> List[str]:
    """The last lines of its traceback; of a Problem, that of its cause, where it has one."""
    cause = error.__cause__ if isinstance(error, Problem) else error
    if cause is None:
        return []
    text = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
    # Without the lines that point at columns.
    lines = [line.rstrip()[:LINE_LIMIT] for line in text.splitlines() if line.strip(" ^~")]
    return lines[-TRACE_LINES:]


def masked(app: Any, text: str) -> str:
    """Without the passwords of broker and result backend, wherever a library put them."""
    text = URL_PASSWORD.sub(r"\1:**@", text)
    for password in passwords(app):
        text = text.replace(password, "**")
    return text


def passwords(app: Any) -> List[str]:
    """Those that the app's settings hold; none where there are no settings."""
    urls: List[str] = []
    try:
        for name in ("broker_url", "broker_read_url", "broker_write_url", "result_backend"):
            value = app.conf.get(name)
            urls.extend(value if isinstance(value, (list, tuple)) else [value or ""])
    except Exception:
        return []
    found: List[str] = []
    for url in ";".join(map(str, urls)).split(";"):
        try:
            password = urlsplit(url).password
        except ValueError:
            continue
        found.extend([password] if password else [])
    return found


def with_app(
    request: Dict[str, Any], line: Line, work: Callable[[Any], Dict[str, Any]]
) -> Dict[str, Any]:
    """What `work` makes of the app.

    What goes wrong is a `problem`, with its traceback's last lines as `evidence`; no passwords.
    """
    app = None
    try:
        line.tell("stage", "importing the app " + request["app"])
        app = load_app(request["app"])
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
    """From now on there is so much time: then whatever goes on ends, and that is the problem."""

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
    # Threads that the app or its libraries started may not hold this up.
    os._exit(0)
