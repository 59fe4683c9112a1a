"""Sends tasks by name, each with a given id, through the app's own Celery.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`). It asks the
agent before each call, and reports each call. Python 3.6 and later, Celery 4.4 and later.
"""

from typing import Any, Dict, List

from celeriac_host.app.programs.app_side import Line, Problem, connect, serve, with_app


def send(app: Any, request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    line.tell("stage", "sending tasks")
    if app.conf.get("task_always_eager"):
        raise Problem("task_always_eager is on: the tasks would run here, not in the worker")
    calls = request["calls"]
    unknown = sorted({call["task"] for call in calls if call["task"] not in app.tasks})
    if unknown:
        raise Problem("unknown task in the app: %s" % ", ".join(unknown))
    connection = connect(app)
    sent: List[str] = []
    for call in calls:
        if not line.ask("send", call["id"]):
            continue
        more = {"queue": call["queue"]} if call["queue"] else {}
        task = app.tasks[call["task"]]
        task.apply_async(args=call["args"], task_id=call["id"], connection=connection, **more)
        sent.append(call["id"])
        line.tell("sent", call["id"])
    return {"sent": sent}


def carry_out(request: Dict[str, Any], line: Line) -> Dict[str, Any]:
    return with_app(request, line, lambda app: send(app, request, line))


if __name__ == "__main__":
    serve(carry_out)
