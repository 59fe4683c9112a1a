"""One tick of the sampler: a sample of each unit whose release is not proven.

sample        take a sample of each unit now

It reads, and writes only to Celeriac's own folders; a file or a unit that cannot be read costs its
part of one sample. It imports no app and asks no broker: what only the worker knows, the support
module tells systemd as the unit's status.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import suppress
from typing import Any, Sequence

from celeriac_host.sampler import failures, metrics, reading
from celeriac_host.state import lock_file, sampler_timer, samples, sampling, textfile, webhook
from celeriac_host.system.errors import OperationError, describe
from celeriac_host.system.system import System

LOCK = "sampler.lock"
# Eight days: nobody judged the release, so nobody reads its samples either.
LONGEST_TICKS = 8 * 24 * 60
# Below the TimeoutStartSec of the service by what one unit may take.
TICK_SECONDS = 30.0


def main(words: Sequence[str]) -> None:
    try:
        tick(System())
    except OSError as error:
        # E.g. the disk is full: the minute is missing, and says so; the timer goes on.
        complain(f"no samples: {error.strerror}")


def tick(host: System) -> None:
    """Nothing if another tick is at work."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(os.path.join(host.state, LOCK), flags, 0o600)
    try:
        if lock_file.taken(handle, fcntl.LOCK_EX):
            _tick(host)
    finally:
        os.close(handle)


def _tick(host: System) -> None:
    end = time.monotonic() + TICK_SECONDS
    known = {unit: sampling.seen(host.state, unit) for unit in sampling.wanted(host.state)}
    # Those that the last tick did not get to come first.
    wanted = sorted(known, key=lambda unit: _last(known[unit]))
    # The host's lock is held while a run changes the host: what it stops has not failed. Before
    # systemd is asked, and after: a run may end, or begin, in between.
    held = lock_file.is_held(host.state)
    states = reading.unit_states(host, wanted)
    held = held or lock_file.is_held(host.state)
    shown = []
    for unit in wanted:
        if time.monotonic() > end:
            complain(f"no sample of {unit}: the others took {TICK_SECONDS:g} s")
            continue
        seen = known[unit]
        try:
            sample, now = reading.sample(host, unit, states.get(unit), seen, held)
            shown.append((unit, sample, now["totals"]))
            _keep(host, unit, sample, now, seen)
        except Exception as error:
            complain(f"no sample of {unit}: {describe(error)}")
    if shown:
        try:
            textfile.write(metrics.text(shown))
        except (OSError, OperationError) as error:
            complain(f"no metrics: {describe(error)}")
    sampler_timer.disarm(host)


def _last(seen: dict[str, Any]) -> float:
    at = seen.get("at")
    return at if isinstance(at, float) else 0.0


def _keep(
    host: System, unit: str, sample: dict[str, Any], now: dict[str, Any], seen: dict[str, Any]
) -> None:
    events, now["told"] = failures.find(sample, seen, sample["changing"])
    try:
        os.makedirs(samples.folder(host.state), 0o700, exist_ok=True)
        samples.append(host.state, unit, sample)
    except (OSError, ValueError) as error:
        complain(f"no sample of {unit}: {error}")
    # Before the message: an event is told once, even if this process ends here.
    with suppress(OSError):
        sampling.see(host.state, unit, now)
        for what in events:
            webhook.tell(host, {"unit": unit, "what": what, "at": time.time()})
    if now["ticks"] >= LONGEST_TICKS and sampling.is_wanted(host.state, unit):
        complain(f"{unit} is not sampled any more: nobody judged its release within eight days")
        sampling.forget(host.state, unit)


def complain(what: str) -> None:
    """One line in the journal, as a warning."""
    print(f"<4>celeriac: {what}", file=sys.stderr)
