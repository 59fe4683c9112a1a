"""The host, as operations and facts see it: running commands, waiting, telling."""

from __future__ import annotations

import grp
import os
import pwd
import selectors
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import (
    Any,
    BinaryIO,
    Callable,
    Iterator,
    Mapping,
    NamedTuple,
    Sequence,
)

from celeriac_host.system.errors import OperationError, RunnerGone

STATE_FOLDER = "/var/lib/celeriac"
SLICE_SECONDS = 0.2
END_GRACE_SECONDS = 5.0
STDERR_LIMIT_BYTES = 64 * 1024


class Completed(NamedTuple):
    """How a command ended; `code` is negative when a signal ended it."""

    argv: Sequence[str]
    code: int
    out: str
    err: str
    truncated: bool

    def lines(self, last: int = 20) -> list[str]:
        """The last lines of its stderr, or of its stdout when it wrote none."""
        text = self.err if self.err.strip() else self.out
        return [line for line in text.splitlines() if line.strip()][-last:]


class Identity(NamedTuple):
    """Whom a command runs as."""

    name: str
    uid: int
    gid: int
    groups: Sequence[int]
    home: str
    shell: str


class Tick(NamedTuple):
    """Called every so often while a command runs, e.g. to tell what it waits for."""

    seconds: float
    call: Callable[[], None]


def identity(user: str, group: str = "", supplementary: Sequence[str] = ()) -> Identity:
    """Resolves names or numeric ids of a user and groups."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise OperationError(f"there is no user {user} on this host") from None
    gid = group_id(group) if group else entry.pw_gid
    groups = {gid, *os.getgrouplist(entry.pw_name, gid)}
    groups.update(group_id(name) for name in supplementary)
    return Identity(entry.pw_name, entry.pw_uid, gid, sorted(groups), entry.pw_dir, entry.pw_shell)


def group_id(group: str) -> int:
    try:
        return (grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)).gr_gid
    except KeyError:
        raise OperationError(f"there is no group {group} on this host") from None


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


class System:
    """One for the life of the agent. `state` is where transactions and backups are kept."""

    def __init__(self, state: str = STATE_FOLDER) -> None:
        self.state = state
        # A plain flag, set by the reader thread or a signal handler: an Event could deadlock there.
        self.runner_gone = False
        self.note: Callable[[str], None] = lambda message: None
        # Unit → the run of it whose consumers were cancelled, as far as this process did it.
        self.cancelled: dict[str, str] = {}
        self._shields = 0

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Inside, nothing is broken off because the runner is gone."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def heed(self) -> None:
        """Raises RunnerGone when it is, unless shielded; long loops call it."""
        if self.runner_gone and not self._shields:
            raise RunnerGone

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self.heed()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, SLICE_SECONDS))

    def run(
        self,
        argv: Sequence[str],
        timeout: float = 60.0,
        input: bytes | None = None,
        user: str | Identity | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: str | None = None,
        check: bool | Sequence[int] = True,
        limit_bytes: int = 4 * 1024 * 1024,
        tick: Tick | None = None,
        stdin: BinaryIO | None = None,
    ) -> Completed:
        """Runs a command in a session of its own and waits for it.

        `stdin` is an open file that it reads on, also one that its user may not open.

        `env` is laid over a small environment of ours; `None` removes a name. `check` is what
        exit codes are good: True is `(0,)`, False is any. stdout keeps its first `limit_bytes`,
        stderr its last 64 KiB. Its whole process group ends when the time is up or the runner is
        gone. Raises OperationError, RunnerGone.
        """
        whom = identity(user) if isinstance(user, str) else user
        if whom is not None and os.geteuid() not in (0, whom.uid):
            raise OperationError(f"only root can run {argv[0]} as {whom.name}", ran=argv)
        become = whom is not None and os.geteuid() == 0 and whom.uid != 0
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=stdin or (subprocess.DEVNULL if input is None else subprocess.PIPE),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=_environment(whom, env or {}),
                start_new_session=True,
                preexec_fn=_becoming(whom) if whom is not None and become else None,
            )
        except FileNotFoundError as error:
            missing = os.fsdecode(error.filename or argv[0])
            if check is False and missing == argv[0]:
                return Completed(argv, 127, "", f"{missing}: not found", False)
            raise OperationError(f"{missing} is not there", ran=argv) from None
        except (OSError, subprocess.SubprocessError) as error:
            raise OperationError(f"{argv[0]} could not be started: {error}", ran=argv) from None
        output = _Output(limit_bytes)
        try:
            in_time = self._follow(process, input, timeout, output, tick)
        finally:
            _end(process)
        done = output.completed(argv, _code(process))
        if not in_time:
            raise OperationError(
                f"{argv[0]} did not end within {timeout:g} s",
                ran=argv,
                evidence=done.lines(),
            )
        good = (0,) if check is True else check
        if good is not False and done.code not in good:
            lines = done.lines()
            raise OperationError(
                f"{argv[0]} failed: {lines[-1] if lines else _ending(done.code)}",
                ran=argv,
                exit_code=done.code if done.code >= 0 else None,
                evidence=lines,
            )
        return done

    def _follow(
        self,
        process: Any,
        payload: bytes | None,
        timeout: float,
        output: _Output,
        tick: Tick | None,
    ) -> bool:
        """Moves bytes until the process ended; False when the time was up before."""
        now = time.monotonic()
        deadline = now + timeout
        next_tick = now + tick.seconds if tick else 0.0
        ended: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, output.take_out)
            selector.register(process.stderr, selectors.EVENT_READ, output.take_err)
            if payload is not None:
                feed = _Feed(process.stdin, payload)
                selector.register(feed.pipe, selectors.EVENT_WRITE, feed.push)
            while True:
                self.heed()
                now = time.monotonic()
                if ended is None and process.poll() is not None:
                    ended = now
                # What it left behind may hold its pipes open; that is not waited for.
                if ended is not None and (not selector.get_map() or now - ended > 1):
                    return True
                if ended is None and now >= deadline:
                    return False
                if tick and ended is None and now >= next_tick:
                    next_tick = now + tick.seconds
                    tick.call()
                if not selector.get_map():
                    time.sleep(0.02)
                    continue
                for key, _ in selector.select(min(SLICE_SECONDS, max(deadline - now, 0.01))):
                    if not key.data(key.fileobj):
                        selector.unregister(key.fileobj)


class _Output:
    """What a command writes, within bounds."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.out = bytearray()
        self.err = bytearray()
        self.truncated = False

    def take_out(self, pipe: Any) -> bool:
        piece = os.read(pipe.fileno(), 65536)
        room = self.limit_bytes - len(self.out)
        self.truncated = self.truncated or len(piece) > room
        self.out += piece[: max(room, 0)]
        return bool(piece)

    def take_err(self, pipe: Any) -> bool:
        piece = os.read(pipe.fileno(), 65536)
        self.err += piece
        del self.err[:-STDERR_LIMIT_BYTES]
        return bool(piece)

    def completed(self, argv: Sequence[str], code: int) -> Completed:
        out, err = (bytes(part).decode("utf-8", "replace") for part in (self.out, self.err))
        return Completed(tuple(argv), code, out, err, self.truncated)


class _Feed:
    """What is written to a command's stdin, as it takes it."""

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


def _end(process: Any) -> None:
    """Leaves no process of the group behind: TERM, then KILL."""
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


def _code(process: Any) -> int:
    # None: not even KILL ended it (a process in uninterruptible sleep).
    return -signal.SIGKILL if process.returncode is None else process.returncode


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
