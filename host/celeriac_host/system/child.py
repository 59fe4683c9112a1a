"""Starts a child process, feeds its stdin and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Mapping, Sequence

from celeriac_host.system import services
from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity
from celeriac_host.system.keepers import Keepers, Kept
from celeriac_host.system.services import Restrictions

END_GRACE_SECONDS = 5.0


class Program(subprocess.Popen):  # type: ignore[type-arg]
    """A child; in a transient service, it is the systemd-run that waits for it."""

    service: services.Service | None = None
    end: services.End | None = None


def start(
    keepers: Keepers,
    argv: Sequence[str],
    whom: Identity | None,
    env: Mapping[str, str | None],
    cwd: str | None,
    stdin: Any = subprocess.PIPE,
    asked: Restrictions | None = None,
    in_service: bool = False,
    timeout: float = 60.0,
    network_of_unit: bool = True,
) -> Any:
    """Starts a command in its own session, as `whom`, with pipes for its output.

    `env` is merged into a small default environment; `None` removes a variable. With the
    restrictions of a unit it is the whole environment. `in_service`: in a transient service with
    the restrictions, if there are any, otherwise under a keeper in one. It is ended `timeout` and
    some seconds later at the latest. Another user's program never gains privileges, whether
    restricted or not. Raises OperationError, OSError, SubprocessError.
    """
    if whom is not None and os.geteuid() not in (0, whom.uid):
        raise OperationError(f"only root can run {argv[0]} as {whom.name}", ran=argv)
    merged = _environment(whom, env) if asked is None else _environment_of_unit(env)
    if asked is not None and in_service:
        return _start_service(argv, whom, merged, cwd, stdin, asked, timeout)
    if whom is not None and os.geteuid() == 0 and whom.uid != 0:
        where = cwd or "/"
        return keepers.start(
            argv, whom, merged, where, stdin, asked, timeout, in_service, network_of_unit
        )
    return Program(
        list(argv),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=merged,
        start_new_session=True,
    )


def _start_service(
    argv: Sequence[str],
    whom: Identity | None,
    env: Mapping[str, str],
    cwd: str | None,
    stdin: Any,
    asked: Restrictions,
    timeout: float,
) -> Program:
    service = services.prepare(env)
    # The last step of systemd: it would also remove what the environment sets.
    asked = asked._replace(unset=[name for name in asked.unset if name not in env])
    try:
        process = Program(
            services.command(service, argv, whom, cwd, asked, timeout),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_environment(None, {}),
            start_new_session=True,
        )
    except BaseException:
        services.ended(service)
        raise
    process.service = service
    return process


class Feed:
    """Writes a payload to a command's stdin as fast as the command reads it.

    Whoever watches the pipe closes it once it no longer does: epoll would report a duplicate of a
    closed descriptor for ever.
    """

    def __init__(self, pipe: Any, payload: bytes) -> None:
        self.pipe = pipe
        self.left = memoryview(payload)
        os.set_blocking(pipe.fileno(), False)

    def push(self, pipe: Any) -> bool:
        try:
            self.left = self.left[os.write(pipe.fileno(), self.left[:65536]) :]
        except BrokenPipeError:
            self.left = self.left[:0]
        return bool(self.left)


def end(process: Program | Kept) -> None:
    """Ends all that it has started: SIGTERM, then SIGKILL."""
    if isinstance(process, Kept):
        process.finish()
        return
    if process.service is not None and process.poll() is None:
        services.stop(process.service)
        # Then the systemd-run that waits for it ends by itself.
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_GRACE_SECONDS)
    if process.poll() is None:
        for name, grace in ((signal.SIGTERM, END_GRACE_SECONDS), (signal.SIGKILL, 10.0)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, name)
            try:
                process.wait(grace)
                break
            except subprocess.TimeoutExpired:
                continue
    # What it has left in its session.
    _kill_group(process.pid)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    if process.service is not None:
        process.end = services.ended(process.service)


def code_of(process: Program | Kept) -> int:
    """The exit code; negative when a signal ended the process. For one that `end` has ended."""
    if isinstance(process, Program) and process.end is not None:
        return process.end.code
    # None: not even SIGKILL ended it (a process in uninterruptible sleep).
    return -signal.SIGKILL if process.returncode is None else process.returncode


def refusal(process: Program | Kept, argv: Sequence[str], err: str) -> OperationError | None:
    """Why the program was not started, or did not end by itself; None: it was, and did."""
    if isinstance(process, Kept):
        lines = [line for line in err.splitlines() if line.strip()][-20:]
        why = f"{argv[0]} was ended: {process.why}"
        return OperationError(why, ran=argv, evidence=lines) if process.why else None
    if process.service is None:
        return None
    lines = [line for line in err.splitlines() if line.strip()]
    why = lines[-1] if lines else "systemd does not say why"
    if process.end is None:
        missing, _, reason = why.rpartition(": ")
        why = reason if missing.startswith("Failed to find executable") else f"systemd-run: {why}"
    elif process.end.code in services.STATUSES and not lines:
        why = services.STATUSES[process.end.code]
    else:
        return None
    return OperationError(f"could not start {argv[0]}: {why}", ran=argv, evidence=lines[-5:])


def _environment_of_unit(env: Mapping[str, str | None]) -> dict[str, str]:
    found = {name: value for name, value in env.items() if value is not None}
    found.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return found


def _environment(whom: Identity | None, env: Mapping[str, str | None]) -> dict[str, str]:
    merged: dict[str, str | None] = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "SYSTEMD_COLORS": "0",
        "SYSTEMD_PAGER": "",
        "SYSTEMD_URLIFY": "0",
    }
    person = whom or identity(str(os.geteuid()))
    merged.update(HOME=person.home, USER=person.name, LOGNAME=person.name, SHELL=person.shell)
    merged.update(env)
    return {name: value for name, value in merged.items() if value is not None}


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
