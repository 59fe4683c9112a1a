"""Answers a test's requests, each in a fork of its own: a new process whose imports are done.

fork_server.py DRIVER REQUESTS ANSWERS: the driver is a file with `prepare(ask)`, which imports what
the request needs, and `answer(ask)`. Both others are FIFOs, with a line of JSON for each request.
"""

import importlib.util
import json
import os
import sys
import traceback
from typing import Any


def main() -> None:
    path, requests, answers = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("driver", path)
    assert spec is not None
    assert spec.loader is not None
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    with open(requests, encoding="utf-8") as asked, open(answers, "w", encoding="utf-8") as said:
        for line in asked:
            said.write(in_fork(driver, json.loads(line)) + "\n")
            said.flush()


def in_fork(driver: Any, ask: Any) -> str:
    driver.prepare(ask)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        said = None
        try:
            said = {"answer": driver.answer(ask)}
        finally:
            with os.fdopen(theirs, "w", encoding="utf-8") as pipe:
                pipe.write(json.dumps(said or {"failed": traceback.format_exc()}))
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, encoding="utf-8") as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    return answer or json.dumps({"failed": f"its process ended with status {status}"})


main()
