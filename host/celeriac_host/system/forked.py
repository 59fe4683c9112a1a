"""Work of our own on files of our own user, in a child that can be ended if it hangs.

A child of the agent itself starts much sooner than another Python. It starts no program, and what
it reads is nobody else's: the files of another user are read by a process of that user.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import time
from contextlib import suppress
from typing import Any, Callable

from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import SLICE_SECONDS, System

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024


def value(host: System, what: str, work: Callable[[], Any], timeout: float) -> Any:
    """What `work` returns, as JSON. `what` is for people. Raises OperationError, RunnerGone."""
    ours, theirs = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(ours)
        os.close(theirs)
        raise OperationError(f"could not start a process: {error.strerror}") from None
    if child == 0:
        _work(work, theirs, timeout)
    os.close(theirs)
    try:
        answer = _answer(host, what, ours, timeout)
    finally:
        os.close(ours)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _reap(child)
    try:
        found = json.loads(answer)
    except ValueError:
        raise OperationError(f"{what} failed: its process ended without an answer") from None
    if "error" in found:
        raise OperationError(f"{what} failed: {found['error']}")
    return found["value"]


def _work(work: Callable[[], Any], into: int, timeout: float) -> None:
    """In the child, which has no other thread and takes no lock of one. Never returns."""
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        # If the agent is killed, nobody else ends it.
        signal.alarm(math.ceil(timeout) + 1)
        _close_all_but(into)
        left = memoryview(_said(work).encode("ascii"))
        while left:
            left = left[os.write(into, left) :]
    finally:
        os._exit(0)


def _said(work: Callable[[], Any]) -> str:
    try:
        return json.dumps({"value": work()})
    except OperationError as error:
        return json.dumps({"error": error.message})
    except Exception as error:
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


def _close_all_but(kept: int) -> None:
    """The host's lock, the runner's pipes and the keepers are the agent's: they end with it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with suppress(OSError):
                os.close(int(name))


def _answer(host: System, what: str, ours: int, timeout: float) -> bytes:
    end = time.monotonic() + timeout
    found = bytearray()
    while True:
        host.heed()
        left = end - time.monotonic()
        if left <= 0:
            raise OperationError(f"{what} did not finish within {timeout:g} s")
        if not select.select([ours], [], [], min(SLICE_SECONDS, left))[0]:
            continue
        piece = os.read(ours, 65536)
        if not piece:
            return bytes(found)
        found += piece
        if len(found) > ANSWER_LIMIT_BYTES:
            raise OperationError(f"{what} failed: its answer is too long")


def _reap(child: int) -> None:
    """Waits for it, unless the kernel does not end it, e.g. on a file system that hangs."""
    end = time.monotonic() + 10.0
    while time.monotonic() < end:
        try:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(0.001)
