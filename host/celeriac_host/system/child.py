"""Starts a child process, feeds its stdin and ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Callable, Mapping, Sequence

from celeriac_host.system.errors import OperationError
from celeriac_host.system.identities import Identity, identity

END_GRACE_SECONDS = 5.0


def start(
    argv: Sequence[str],
    whom: Identity | None,
    env: Mapping[str, str | None],
    cwd: str | None,
    stdin: Any = subprocess.PIPE,
) -> Any:
    """Starts a command in its own session, as `whom`, with pipes for its output.

    `env` is merged into a small default environment; `None` removes a variable. Raises
    OperationError, OSError, SubprocessError.
    """
    if whom is not None and os.geteuid() not in (0, whom.uid):
        raise OperationError(f"only root can run {argv[0]} as {whom.name}", ran=argv)
    become = whom is not None and os.geteuid() == 0 and whom.uid != 0
    return subprocess.Popen(
        list(argv),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=_environment(whom, env),
        start_new_session=True,
        preexec_fn=_becoming(whom) if whom is not None and become else None,
    )


class Feed:
    """Writes a payload to a command's stdin as fast as the command reads it."""

    def __init__(self, pipe: Any, payload: bytes) -> None:
        self.pipe = pipe
        self.left = memoryview(payload)
        os.set_blocking(pipe.fileno(), False)

    def push(self, pipe: Any) -> bool:
        try:
            self.left = self.left[os.write(pipe.fileno(), self.left[:65536]) :]
        except BrokenPipeError:
            self.left = self.left[:0]
        if not self.left:
            pipe.close()
        return bool(self.left)


def end(process: Any) -> None:
    """Ends the whole process group: SIGTERM, then SIGKILL."""
    if process.poll() is None:
        for name, grace in ((signal.SIGTERM, END_GRACE_SECONDS), (signal.SIGKILL, 10.0)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, name)
            try:
                process.wait(grace)
                break
            except subprocess.TimeoutExpired:
                continue
        _kill_group(process.pid)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def code_of(process: Any) -> int:
    """The exit code; negative when a signal ended the process."""
    # None: not even SIGKILL ended it (a process in uninterruptible sleep).
    return -signal.SIGKILL if process.returncode is None else process.returncode


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


def _becoming(whom: Identity) -> Callable[[], None]:
    groups, gid, uid = list(whom.groups), whom.gid, whom.uid

    def become() -> None:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)

    return become


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
