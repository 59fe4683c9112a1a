"""Runs a command and reads its output line by line while it runs."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import suppress
from typing import Callable, Mapping, NamedTuple, Sequence

from celeriac_host.system import child
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity
from celeriac_host.system.services import Restrictions
from celeriac_host.system.system import SLICE_SECONDS, System

STDERR_LIMIT_BYTES = 64 * 1024
LINE_LIMIT_BYTES = 1024 * 1024


class Budget(NamedTuple):
    """How much a command may print: bytes in all, and lines to stdout, which we handle."""

    total_bytes: int = 4 * 1024 * 1024 * 1024
    lines: int = 100_000_000


USUAL = Budget()


class Spent:
    """What a command has printed of its budget."""

    def __init__(self, name: str, most: Budget) -> None:
        self.name = name
        self.most = most
        self.bytes = 0
        self.lines = 0

    def take(self, piece: bytes, lines: int) -> None:
        """Raises OperationError beyond the budget."""
        self.bytes += len(piece)
        self.lines += lines
        if self.bytes > self.most.total_bytes:
            size = self.most.total_bytes // 1024
            raise OperationError(f"{self.name} was ended: it printed more than {size} KiB")
        if self.lines > self.most.lines:
            raise OperationError(
                f"{self.name} was ended: it printed more than {self.most.lines} lines"
            )


class Ended(NamedTuple):
    """How a command ended: its exit code, None after a timeout, and the end of its stderr."""

    code: int | None
    err: str

    def lines(self, last: int = 20) -> list[str]:
        return [line.rstrip() for line in self.err.splitlines() if line.strip()][-last:]


class _Lines:
    """Splits bytes into whole lines; keeps only the beginning of an overlong line."""

    def __init__(self, on_line: Callable[[bytes], object]) -> None:
        self.on_line = on_line
        self.rest = b""

    def take(self, piece: bytes) -> None:
        *lines, rest = (self.rest + piece).split(b"\n")
        for line in lines:
            self.on_line(line[:LINE_LIMIT_BYTES])
        self.rest = rest[: LINE_LIMIT_BYTES + 1]

    def end(self) -> None:
        if self.rest:
            self.on_line(self.rest[:LINE_LIMIT_BYTES])


class Dialogue:
    """A command that is running, and what it says to what it is told.

    Whoever starts one must `end` it: that ends everything that it started. Raises OperationError if
    it cannot be started.
    """

    def __init__(
        self,
        host: System,
        argv: Sequence[str],
        timeout: float,
        whom: Identity | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: str | None = None,
        asked: Restrictions | None = None,
    ) -> None:
        """`timeout`: how long it may live, if it runs in a service."""
        self.host = host
        self.argv = argv
        self.err = bytearray()
        service = host.starts_in_service(asked)
        try:
            self.process = child.start(
                host.keepers, argv, whom, env or {}, cwd, subprocess.PIPE, asked, service, timeout
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OperationError(f"could not start {argv[0]}: {reason}", ran=argv) from None
        # Open as long as it may be told something.
        self.stdin: int | None = os.dup(self.process.stdin.fileno())
        self.process.stdin.close()

    def exchange(
        self,
        payload: bytes,
        on_line: Callable[[bytes], bytes | None],
        timeout: float,
        most: Budget = USUAL,
        is_over: Callable[[], bool] = lambda: False,
    ) -> bool | None:
        """Tells it something and hears what it says, until `is_over`, or it ends.

        What `on_line` returns is written to its stdin. True: it goes on. False: it has ended. None:
        the time is up. Raises OperationError if it prints more than `most`, RunnerGone.
        """
        process = self.process
        self.err.clear()
        lines = _Lines(lambda line: self._answer(on_line(line)))
        spent = Spent(self.argv[0], most)

        def take_out(pipe: object) -> bool:
            piece = os.read(process.stdout.fileno(), 262144)
            spent.take(piece, piece.count(b"\n"))
            lines.take(piece)
            return bool(piece)

        def take_err(pipe: object) -> bool:
            piece = os.read(process.stderr.fileno(), 65536)
            spent.take(piece, 0)
            self.err.extend(piece)
            del self.err[:-STDERR_LIMIT_BYTES]
            return bool(piece)

        deadline = time.monotonic() + timeout
        assert self.stdin is not None
        told = os.fdopen(os.dup(self.stdin), "wb", buffering=0)
        with told, selectors.DefaultSelector() as selector:
            selector.register(told, selectors.EVENT_WRITE, child.Feed(told, payload).push)
            selector.register(process.stdout, selectors.EVENT_READ, take_out)
            selector.register(process.stderr, selectors.EVENT_READ, take_err)
            ended: float | None = None
            while not is_over() and (selector.get_map() or process.poll() is None):
                self.host.heed()
                now = time.monotonic()
                if now >= deadline:
                    return None
                if process.poll() is not None:
                    ended = ended or now
                    # A background process that it left may hold the pipes open: do not wait for it.
                    if now - ended > 1:
                        break
                if not selector.get_map():
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(0.02)
                    continue
                for key, _ in selector.select(SLICE_SECONDS):
                    if not key.data(key.fileobj):
                        selector.unregister(key.fileobj)
        if is_over():
            return True
        lines.end()
        return False

    def _answer(self, answer: bytes | None) -> None:
        if answer is None or self.stdin is None:
            return
        try:
            with suppress(BrokenPipeError):
                os.write(self.stdin, answer)
        except BlockingIOError:
            raise OperationError(
                f"{self.argv[0]} was ended: it does not read its answers", ran=self.argv[:1]
            ) from None

    def end(self, patience: float = 0.0) -> None:
        """Ends everything that it started. With `patience`, it may first leave by itself."""
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None
        if patience:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        child.end(self.process)

    def ended(self) -> Ended:
        """How it ended by itself, after `end`. Raises OperationError if it was never started."""
        self.host.tell_left(self.process, self.argv)
        said = bytes(self.err).decode("utf-8", "replace")
        refused = child.refusal(self.process, self.argv, said)
        if refused is not None:
            raise refused
        return Ended(child.code_of(self.process), said)

    def late(self) -> Ended:
        """The same after a timeout."""
        return Ended(None, bytes(self.err).decode("utf-8", "replace"))


def follow(
    host: System,
    argv: Sequence[str],
    on_line: Callable[[bytes], bytes | None],
    timeout: float,
    whom: Identity | None = None,
    env: Mapping[str, str | None] | None = None,
    cwd: str | None = None,
    payload: bytes = b"",
    asked: Restrictions | None = None,
    most: Budget = USUAL,
) -> Ended:
    """Runs a command in its own session, as `System.run` does; always ends all that it started.

    What `on_line` returns is written to its stdin, which stays open for that. With the restrictions
    of a unit, `env` is the whole environment. Raises OperationError if the command cannot be
    started or prints more than `most`, RunnerGone.
    """
    talk = Dialogue(host, argv, timeout, whom, env, cwd, asked)
    try:
        goes_on = talk.exchange(payload, on_line, timeout, most)
    finally:
        talk.end()
    return talk.late() if goes_on is None else talk.ended()
