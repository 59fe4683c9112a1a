"""Tells somebody at once what the host saw or did alone: opt-in, by the owner's file.

`/etc/celeriac/webhook` has the URL, which is a secret: it is read by the process that sends, and
shown nowhere. Sending never delays who asks for it: it is a service of its own, with a time limit.
"""

from __future__ import annotations

import binascii
import json
import os
from typing import Any

from celeriac_host.state import program_file
from celeriac_host.system.errors import OperationError
from celeriac_host.system.system import System

SETTING = "/etc/celeriac/webhook"
LAUNCH_SECONDS = 10.0
LONGEST_SECONDS = 30
TEXT_LIMIT = 1000


def tell(host: System, event: dict[str, Any]) -> None:
    """Has the event (`unit`, `what`, `at`) sent, once, if the owner wants that. Never fails."""
    if not os.path.lexists(SETTING):
        return
    short = {**event, "what": str(event["what"])[:TEXT_LIMIT]}
    argv = ["systemd-run", "--no-block", "--collect", "--quiet"]
    argv += [f"--unit=celeriac-webhook-{os.urandom(4).hex()}.service"]
    argv += ["--description=Celeriac: tell the webhook", f"-pRuntimeMaxSec={LONGEST_SECONDS}"]
    # systemd would expand variables in it.
    packed = binascii.b2a_base64(json.dumps(short).encode("ascii"), newline=False).decode("ascii")
    argv += ["--", *program_file.command(host.state, ["tell", packed])]
    try:
        with host.shielded():
            host.run(argv, timeout=LAUNCH_SECONDS, check=False)
    except OperationError:
        # E.g. systemd does not answer: what happened is in the ledger and the samples, too.
        return
