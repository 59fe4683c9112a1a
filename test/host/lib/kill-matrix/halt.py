"""Stops the work of a transaction at one point. Sent along by the kill matrix, never by Celeriac.

The work stands still (SIGSTOP) until somebody kills it, or lets it go on (SIGCONT).
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Sequence

HALT: dict[str, Any] = json.loads('@HALT@')
# Inside `files.write`: how far the file is.
CUTS = ("created", "written", "synced", "renamed")
IDENT = re.compile(r"\d{8}T\d{6}-[0-9a-f]{4}")
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


class Writing:
    """Halts within the first writing of one file; or only tells which files are written."""

    def __init__(self, halt: Halt, who: str) -> None:
        self.halt = halt
        self.who = who
        self.path = ""
        self.listed: set[str] = set()

    def arm(self) -> None:
        files: Any = importlib.import_module("celeriac_host.system.files")
        write, sync_folder = files.write, files.sync_folder
        create, fill, put = files._create, files._fill, files._put_in_place

        def do_write(path: str, *args: Any, **more: Any) -> None:
            self.path = IDENT.sub("<id>", path)
            if HALT["file"] is None and self.path not in self.listed:
                self.listed.add(self.path)
                message = "writes %s %s" % (self.who, self.path)
                self.halt.tell({"kind": "note", "message": message})
            try:
                write(path, *args, **more)
            finally:
                self.path = ""

        def do_create(beside: str) -> int:
            handle: int = create(beside)
            self.at("created")
            return handle

        def do_fill(*args: Any) -> None:
            fill(*args)
            self.at("written")

        def do_put(*args: Any) -> None:
            self.at("synced")
            put(*args)

        def do_sync(folder: str) -> None:
            self.at("renamed")
            sync_folder(folder)

        files.write, files._create, files._fill = do_write, do_create, do_fill
        files._put_in_place, files.sync_folder = do_put, do_sync

    def at(self, cut: str) -> None:
        if self.path and self.path == HALT["file"] and cut == HALT["phase"]:
            self.halt.here()


def arm(words: Sequence[str]) -> None:
    if not words:
        arm_agent()
    elif words[0] == "carry-out":
        arm_work()


def arm_agent() -> None:
    """What the agent itself writes, before it starts the work."""
    halt = Halt()
    control: Any = importlib.import_module("celeriac_host.transaction.control")
    apply = control.apply

    def do_apply(operations: Any, meta: Any, host: Any, emit: Any) -> Any:
        def tell(said: dict[str, Any]) -> None:
            emit(said)
            # Another thread sends it.
            time.sleep(0.2)

        halt.tell = tell
        return apply(operations, meta, host, emit)

    control.apply = do_apply
    Writing(halt, "agent").arm()


def arm_work() -> None:
    transaction: Any = importlib.import_module("celeriac_host.transaction.runner")

    halt = Halt()
    Writing(halt, "work").arm()
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
        halt.tell = self.tell
        ended: bool = forward(self)
        if HALT["index"] == len(self.operations) and HALT["phase"] == "after":
            halt.here()
        return ended

    transaction._Work._do = do
    transaction._Work._record_release = do_release
    transaction._Work.forward = do_forward
