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


def follow(
    host: System,
    argv: Sequence[str],
    on_line: Callable[[bytes], "bytes | None"],
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
    in_service = host.starts_in_service(asked)
    try:
        process = child.start(
            host.keepers, argv, whom, env or {}, cwd, subprocess.PIPE, asked, in_service, timeout
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OperationError(f"could not start {argv[0]}: {reason}", ran=argv) from None
    answers = os.dup(process.stdin.fileno())

    def take_line(line: bytes) -> None:
        answer = on_line(line)
        if answer is not None:
            try:
                with suppress(BrokenPipeError):
                    os.write(answers, answer)
            except BlockingIOError:
                raise OperationError(
                    f"{argv[0]} was ended: it does not read its answers", ran=argv[:1]
                ) from None

    lines = _Lines(take_line)
    err = bytearray()
    spent = Spent(argv[0], most)

    def take_out(pipe: object) -> bool:
        piece = os.read(process.stdout.fileno(), 262144)
        spent.take(piece, piece.count(b"\n"))
        lines.take(piece)
        return bool(piece)

    def take_err(pipe: object) -> bool:
        piece = os.read(process.stderr.fileno(), 65536)
        spent.take(piece, 0)
        err.extend(piece)
        del err[:-STDERR_LIMIT_BYTES]
        return bool(piece)

    deadline = time.monotonic() + timeout
    try:
        with selectors.DefaultSelector() as selector:
            feed = child.Feed(process.stdin, payload)
            selector.register(feed.pipe, selectors.EVENT_WRITE, feed.push)
            selector.register(process.stdout, selectors.EVENT_READ, take_out)
            selector.register(process.stderr, selectors.EVENT_READ, take_err)
            ended: float | None = None
            while selector.get_map() or process.poll() is None:
                host.heed()
                now = time.monotonic()
                if now >= deadline:
                    return Ended(None, bytes(err).decode("utf-8", "replace"))
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
                        if key.events == selectors.EVENT_WRITE:
                            process.stdin.close()
        lines.end()
    finally:
        os.close(answers)
        child.end(process)
    host.tell_left(process, argv)
    said = bytes(err).decode("utf-8", "replace")
    refused = child.refusal(process, argv, said)
    if refused is not None:
        raise refused
    return Ended(child.code_of(process), said)
