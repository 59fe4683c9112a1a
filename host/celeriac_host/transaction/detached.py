"""Starts the work in its own control group (a transient scope), outside the SSH session.

The process inherits the host's lock and holds it until it ends, whatever happens to its parent.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Sequence

from celeriac_host.system.errors import Fault
from celeriac_host.system.system import System
from celeriac_host.transaction import live, lock, program

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
}


def launch(host: System, ident: str, words: Sequence[str], held: lock.Lock) -> None:
    """Starts `work.py` with `words`; `live.follow(ident)` shows its progress. Raises Fault.

    The lock is handed over: it is free again when the process has ended.
    """
    live.forget(ident)
    scope = f"celeriac-{ident}-{os.urandom(2).hex()}.scope"
    argv = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={scope}"]
    argv += ["--description=Celeriac transaction", "--"]
    argv += program.command(host.state, [*words, str(held.handle)])
    try:
        os.makedirs(live.FOLDER, 0o700, exist_ok=True)
        with open(_complaints(ident), "wb") as complaints:
            # systemd-run executes the program in its own place, which so inherits the lock.
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=complaints,
                stderr=complaints,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
                pass_fds=(held.handle,),
            )
    except OSError as error:
        raise Fault(
            f"could not start the transaction process: {error}; nothing was changed"
        ) from None
    held.hand_over()


def complaints(ident: str) -> list[str]:
    """What the process, or systemd-run, wrote to stderr: normally nothing."""
    with suppress(OSError), open(_complaints(ident), encoding="utf-8", errors="replace") as file:
        return [line for line in file.read().splitlines() if line.strip()][-20:]
    return []


def _complaints(ident: str) -> str:
    return os.path.join(live.FOLDER, ident + ".stderr")
