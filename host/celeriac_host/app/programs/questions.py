"""Answers one question after the other in one process of the app, which imports the app once.

The app's interpreter runs it, as the unit's user in its directory (see `app_side`). A question
names a program, brings the modules that are not there yet, and is begun when the agent has answered
that it is the one. After each report the process waits for the next question, and leaves if none
comes.
Python 3.6 and later.
"""

import json
import os
import select
import signal
import sys
import types
from typing import Any, Dict, List, Optional

from celeriac_host.app.programs.app_side import Line, leave, tidy

# It holds the memory of the app. The next question follows the answer, or there is none.
IDLE_SECONDS = 10.0
PACKAGE = "celeriac_host.app.programs"


def load(modules: List[List[str]]) -> None:
    """Makes modules importable, each after those that it imports."""
    package: Any = sys.modules[PACKAGE]
    for name, text in modules:
        module = types.ModuleType(PACKAGE + "." + name)
        sys.modules[module.__name__] = module
        setattr(package, name, module)
        exec(compile(text, name + ".py", "exec"), module.__dict__)


def next_question(seconds: Optional[float]) -> Optional[Dict[str, Any]]:
    """None: there is no other one."""
    ready = seconds is None or select.select([sys.stdin], [], [], seconds)[0]
    text = sys.stdin.readline() if ready else ""
    return json.loads(text) if text else None


def answer(question: Dict[str, Any], line: Line) -> None:
    # Whoever gave up waiting for this process has asked another one.
    line.ask("question", question["name"])
    load(question["modules"])
    program = sys.modules[PACKAGE + "." + question["program"]]
    line.tell("report", program.carry_out(question["request"], line))
    tidy()


def main() -> None:
    """Never returns."""
    question = next_question(None)
    line = Line()
    signal.signal(signal.SIGTERM, leave)
    while question is not None:
        answer(question, line)
        question = None if line.spent else next_question(IDLE_SECONDS)
    # Threads that the app or its libraries started must not delay the exit.
    os._exit(0)


if __name__ == "__main__":
    main()
