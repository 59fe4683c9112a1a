"""A command that is followed: while it is silent, following it costs nothing."""

from __future__ import annotations

import sys

import pytest
from celeriac_host.system.following import follow
from celeriac_host.system.system import System

# Reads its request, is silent, asks, and repeats the answer.
TEXT = """
import sys, time
request = sys.stdin.readline()
time.sleep(1.5)
print("asked", flush=True)
print(request.strip() + sys.stdin.readline().strip(), flush=True)
"""


class Counting(System):
    """Counts the turns of whoever waits: each looks whether the runner is still there."""

    turns = 0

    def heed(self) -> None:
        self.turns += 1
        super().heed()


@pytest.mark.parametrize("payload", [b"request ", b"x" * 200_000], ids=["small", "large"])
def test_a_silent_program_is_not_asked_again_and_again(payload: bytes) -> None:
    said = []

    def answer(line: bytes) -> bytes | None:
        said.append(line)
        return b"answer\n" if line == b"asked" else None

    host = Counting()
    ended = follow(host, [sys.executable, "-c", TEXT], answer, 60, payload=payload + b"\n")
    assert (ended.code, said) == (0, [b"asked", payload.strip() + b"answer"])
    assert host.turns < 60
