"""Interrupts work between two lines of the agent, as SIGKILL would."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, Callable, Iterator, Sequence

PR_SET_CHILD_SUBREAPER = 36
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "celeriac_host")


class Cut:
    """Runs `at` lines, and then stops before the next one."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.came_through = False

    def __call__(self, work: Callable[..., object], *words: Any) -> None:
        """Returns when the work and all its forks have ended."""
        before = _children()
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            self._be_child(work, words)
        os.close(theirs)
        status = os.waitpid(child, 0)[1]
        with os.fdopen(ours, "rb") as pipe:
            # Open while any of its forks runs that has not closed everything.
            said = pipe.read()
        assert said == b""
        for orphan in _children() - before:
            os.waitpid(orphan, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed by itself; see its stderr"
            self.came_through = True
        else:
            assert os.WTERMSIG(status) == signal.SIGKILL

    def _be_child(self, work: Callable[..., object], words: Sequence[Any]) -> None:
        code = 1
        try:
            sys.settrace(_Tracer(self.at).enter)
            work(*words)
            code = 0
        finally:
            sys.settrace(None)
            if code:
                traceback.print_exc()
            os._exit(code)


def _children() -> set[int]:
    """Also the orphans of ended children: from the first call on, they become ours."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


def cuts(step: int = 1) -> Iterator[Cut]:
    """Interrupts before the first line, the next…, until the work completes."""
    at = 0
    while True:
        cut = Cut(at)
        yield cut
        if cut.came_through:
            return
        at += step


class _Tracer:
    def __init__(self, left: int) -> None:
        self.left = left
        self.pid = os.getpid()

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._step if frame.f_code.co_filename.startswith(PROGRAM) else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        # Forks of the work continue, as they would.
        if event == "line" and os.getpid() == self.pid:
            if self.left == 0:
                os.kill(self.pid, signal.SIGKILL)
            self.left -= 1
        return self._step
