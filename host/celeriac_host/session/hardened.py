"""The agent that is installed on the host, for a key that may not do everything.

sudo runs it from the key's forced command. What the client asked SSH for, its arguments and its
environment are ignored; the policy of the host judges each request.
"""

from __future__ import annotations

import os
import signal
import sys

from celeriac_host.policy import budget
from celeriac_host.policy.judge import Judge
from celeriac_host.policy.refusal import Refused
from celeriac_host.session import agent
from celeriac_host.system import installed, own_program
from celeriac_host.system.system import System
from celeriac_host.transaction import detached


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
    try:
        # Open until this process ends.
        budget.take_place(asker)
    except (OSError, Refused) as error:
        sys.exit(f"celeriac: {error}")
    host = System()
    judge = Judge(host, own_program.sources(), asker, agent.PROTOCOL)
    # A session that lasts too long ends as if its client were gone; a transaction goes on.
    signal.signal(signal.SIGALRM, lambda signum, frame: setattr(host, "runner_gone", True))
    signal.alarm(judge.longest_session())
    about = {"hardened": True, "version": installed.version(), "access": judge.access()}
    agent.run(host, judge, about)
