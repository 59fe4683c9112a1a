"""Stops the work of a transaction at one point. Sent along by the kill matrix, never by Celeriac.

The work stands still (SIGSTOP) until somebody kills it, or lets it go on (SIGCONT).
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Sequence

HALT: dict[str, Any] = json.loads('@HALT@')
# A command is in full swing by then.
SWING_SECONDS = 0.3
CHANGES = ("os.rename", "os.remove", "os.symlink", "os.chmod", "os.chown")


class Halt:
    def __init__(self) -> None:
        self.tell: Callable[[dict[str, Any]], object] = print
        self.done = False
        self.inside = False
        self.timer: threading.Timer | None = None
        self.main = threading.get_ident()

    def here(self) -> None:
        if self.done:
            return
        self.done = True
        self.tell({"kind": "note", "message": "halted at " + HALT["phase"]})
        if HALT["seconds"]:
            after = "sleep %d; kill -CONT %d" % (HALT["seconds"], os.getpid())
            subprocess.Popen(["sh", "-c", after], start_new_session=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        # A moment for the signal to arrive.
        time.sleep(0.01)

    def heard(self, event: str, args: Any) -> None:
        if not self.inside or self.done or threading.get_ident() != self.main:
            return
        if event in CHANGES:
            self.here()
        elif event == "subprocess.Popen" and self.timer is None:
            self.timer = threading.Timer(SWING_SECONDS, self.here)
            self.timer.daemon = True
            self.timer.start()

    def around(self, do: Callable[..., Any]) -> Callable[..., Any]:
        """`do` is the change of the step alone: what says that it is done comes after it."""

        def halting(*args: Any) -> Any:
            self.inside = HALT["phase"] == "in"
            try:
                said = do(*args)
            finally:
                self.inside = False
            if HALT["phase"] in ("in", "unsaid"):
                self.here()
            return said

        return halting


class Module:
    """The operation's own, but for `do`."""

    def __init__(self, module: Any, do: Callable[..., Any]) -> None:
        self.check = module.check
        self.undo = module.undo
        self.do = do


def arm(words: Sequence[str]) -> None:
    if list(words[:1]) != ["carry-out"]:
        return
    transaction: Any = importlib.import_module("celeriac_host.transaction.runner")

    halt = Halt()
    sys.addaudithook(halt.heard)
    step = transaction._Work._do
    release = transaction._Work._record_release
    forward = transaction._Work.forward
    module_of = transaction.module_of

    def do(self: Any, index: int, operation: dict[str, Any]) -> None:
        halt.tell = self.tell
        if index != HALT["index"]:
            step(self, index, operation)
            return
        if HALT["phase"] == "before":
            halt.here()
        module = module_of(operation)
        transaction.module_of = lambda _: Module(module, halt.around(module.do))
        try:
            step(self, index, operation)
        finally:
            transaction.module_of = module_of
        if HALT["phase"] == "after":
            halt.here()

    def do_release(self: Any) -> None:
        if HALT["index"] != len(self.operations):
            release(self)
            return
        if HALT["phase"] == "before":
            halt.here()
        halt.around(release)(self)

    def do_forward(self: Any) -> bool:
        ended: bool = forward(self)
        if HALT["index"] == len(self.operations) and HALT["phase"] == "after":
            halt.here()
        return ended

    transaction._Work._do = do
    transaction._Work._record_release = do_release
    transaction._Work.forward = do_forward
