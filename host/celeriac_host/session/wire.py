"""The two pipes of the protocol: one JSON object per line, at most 1 MiB each."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import Any, BinaryIO

from celeriac_host.system.errors import Fault
from celeriac_host.system.system import SLICE_SECONDS, System

LINE_LIMIT_BYTES = 1024 * 1024
UNSENT_LIMIT = 8
UNREAD_LIMIT = 16


class Wire:
    """Reading notices when the runner disconnects; writing never blocks and never raises."""

    def __init__(self, host: System, source: BinaryIO, sink: int) -> None:
        self.host = host
        self.source = source
        self.sink = sink
        # What a client sends without waiting for answers must not fill the memory.
        self.inbox: queue.Queue[bytes | None] = queue.Queue(UNREAD_LIMIT)
        self.outbox: queue.Queue[bytes] = queue.Queue()
        for task in (self._read, self._write):
            threading.Thread(target=task, daemon=True).start()

    def receive(self) -> bytes | None:
        """The next line; None if the runner is gone."""
        while not self.host.runner_gone:
            try:
                return self.inbox.get(timeout=1)
            except queue.Empty:
                continue
        return None

    def send(self, message: dict[str, Any]) -> None:
        """Raises Fault if the message is too long for a line."""
        line = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        if len(line) > LINE_LIMIT_BYTES:
            raise Fault(f"the answer has {len(line)} bytes; the limit is 1 MiB")
        self.outbox.put(line)

    def send_paced(self, message: dict[str, Any]) -> None:
        """For bulk data: waits while too much is unsent. Raises RunnerGone."""
        while self.outbox.unfinished_tasks > UNSENT_LIMIT:
            self.host.sleep(0.01)
        self.send(message)

    def flush(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while self.outbox.unfinished_tasks and time.monotonic() < end:
            time.sleep(SLICE_SECONDS / 20)

    def _read(self) -> None:
        try:
            while True:
                line = self.source.readline(LINE_LIMIT_BYTES + 1)
                if not line.endswith(b"\n"):
                    break
                self.inbox.put(line)
        except (OSError, ValueError):
            pass
        self.host.runner_gone = True
        self.inbox.put(None)

    def _write(self) -> None:
        while True:
            left = memoryview(self.outbox.get())
            try:
                while left:
                    left = left[os.write(self.sink, left) :]
            except OSError:
                self.host.runner_gone = True
            self.outbox.task_done()


def take_over(host: System) -> Wire:
    """Reserves stdout for the protocol: all other output goes to stderr."""
    sys.stdout.flush()
    sink = os.dup(1)
    os.dup2(2, 1)
    return Wire(host, sys.stdin.buffer, sink)
