"""The agent that is installed on the host, for a key that may not do everything.

sudo runs it from the key's forced command. What the client asked SSH for, its arguments and its
environment are ignored; the policy of the host judges each request.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys

from celeriac_host.policy.judge import Judge
from celeriac_host.session import agent
from celeriac_host.system.system import System
from celeriac_host.transaction import detached, program

DIGITS = 12


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("celeriac: this program is for root: it is started by `sudo -n`")
    # sudo sets it, whatever the client's environment was.
    asker = os.environ.get("SUDO_USER", "")
    os.environ.clear()
    os.environ.update(detached.ENVIRONMENT)
    del sys.argv[1:]
    os.chdir("/")
    os.umask(0o022)
    host = System()
    judge = Judge(host, program.SOURCES, asker, agent.PROTOCOL)
    # A session that lasts too long ends as if its client were gone; a transaction goes on.
    signal.signal(signal.SIGALRM, lambda signum, frame: setattr(host, "runner_gone", True))
    signal.alarm(judge.longest_session())
    about = {"hardened": True, "version": version(), "access": judge.access()}
    agent.run(host, judge, about)


def version() -> str:
    """Which agent this is: the digest of its sources."""
    digest = hashlib.sha256()
    for path in sorted(program.SOURCES):
        for part in (path, program.SOURCES[path]):
            digest.update(part.encode("utf-8") + b"\0")
    return digest.hexdigest()[:DIGITS]
