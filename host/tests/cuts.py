"""Interrupts work between two lines of the agent, as SIGKILL would.

The next process finds nothing of the one that was killed but its files. So most lines make no
difference: `cuts` interrupts before those that find other files than the line before them did.
`npm run test:all` interrupts before every line.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import stat
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

PR_SET_CHILD_SUBREAPER = 36
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "celeriac_host")
# From tools/python.ts.
EVERY_LINE = os.environ.get("CELERIAC_CUT_EVERY_LINE") == "1"

# A file of the agent, a line of it, and how often the work reaches it until then. Not the number of
# lines until then: how often a loop waits for another process differs from run to run.
Place = Tuple[str, int, int]


def cuts(folder: Path | str) -> Iterator[Cut]:
    """Lets the work complete, then interrupts it wherever it has changed what is below `folder`.

    For work that starts no process which goes on without it: see `line_cuts`. Each round begins
    with the same files.
    """
    if EVERY_LINE:
        yield from line_cuts()
        return
    whole = Cut(_Recorder(str(folder)))
    yield whole
    assert whole.came_through
    for place in whole.places:
        cut = Cut(_AtPlace(place))
        yield cut
        assert not cut.came_through, f"{place} was not reached again"


def line_cuts(step: int = 1) -> Iterator[Cut]:
    """Interrupts before the first line, the next…, until the work completes."""
    at = 0
    while True:
        cut = Cut(_AtLine(at))
        yield cut
        if cut.came_through:
            return
        at += 1 if EVERY_LINE else step


class Cut:
    """Runs work in a fork, which its tracer may end."""

    def __init__(self, tracer: _Tracer) -> None:
        self.came_through = False
        # Where the files differ from those at the line before.
        self.places: List[Place] = []
        self._tracer = tracer

    def __call__(self, work: Callable[..., object], *words: Any) -> None:
        """Returns when the work and all its forks have ended."""
        before = _children()
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            self._be_child(work, words, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            # Open while any of its forks runs that has not closed everything.
            said = pipe.read()
        status = os.waitpid(child, 0)[1]
        for orphan in _children() - before:
            os.waitpid(orphan, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed by itself; see its stderr"
            self.came_through = True
            self.places = pickle.loads(said)
        else:
            assert os.WTERMSIG(status) == signal.SIGKILL
            assert said == b""

    def _be_child(self, work: Callable[..., object], words: Sequence[Any], report: int) -> None:
        code = 1
        try:
            self._tracer.start()
            work(*words)
            sys.settrace(None)
            with os.fdopen(report, "wb") as pipe:
                pickle.dump(self._tracer.places, pipe)
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


class _Tracer:
    """Looks at each line of some files before it runs."""

    def __init__(self, files: str) -> None:
        self.files = files
        self.places: List[Place] = []

    def start(self) -> None:
        self.pid = os.getpid()
        sys.settrace(self._enter)

    def reach(self, file: str, line: int) -> None:
        raise NotImplementedError

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._step if frame.f_code.co_filename.startswith(self.files) else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        # Forks of the work continue, as they would.
        if event == "line" and os.getpid() == self.pid:
            self.reach(frame.f_code.co_filename, frame.f_lineno)
        return self._step


class _AtLine(_Tracer):
    """Runs so many lines, and then stops before the next one."""

    def __init__(self, left: int) -> None:
        super().__init__(PROGRAM)
        self.left = left

    def reach(self, file: str, line: int) -> None:
        if self.left == 0:
            os.kill(self.pid, signal.SIGKILL)
        self.left -= 1


class _AtPlace(_Tracer):
    def __init__(self, place: Place) -> None:
        file, self.line, self.left = place
        super().__init__(file)

    def reach(self, file: str, line: int) -> None:
        if line == self.line:
            self.left -= 1
            if self.left == 0:
                os.kill(self.pid, signal.SIGKILL)


class _Recorder(_Tracer):
    """Stops nowhere, and writes down where the files have changed."""

    def __init__(self, folder: str) -> None:
        super().__init__(PROGRAM)
        self.folder = folder
        self.found: Dict[str, Any] | None = None
        self.reached: Dict[Tuple[str, int], int] = {}

    def reach(self, file: str, line: int) -> None:
        count = self.reached.get((file, line), 0) + 1
        self.reached[file, line] = count
        found = files_below(self.folder)
        if found != self.found:
            self.places.append((file, line, count))
        self.found = found


def files_below(folder: str) -> Dict[str, Any]:
    """Everything that another process could find there."""
    found: Dict[str, Any] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            found[entry.path] = (about.st_mode, about.st_uid, about.st_gid, _content(entry, about))
            if stat.S_ISDIR(about.st_mode):
                found.update(files_below(entry.path))
    return found


def _content(entry: os.DirEntry[str], about: os.stat_result) -> Any:
    if entry.is_symlink():
        return os.readlink(entry.path)
    if not stat.S_ISREG(about.st_mode):
        return about.st_ino
    with open(entry.path, "rb") as file:
        return about.st_ino, about.st_mtime_ns, file.read()
