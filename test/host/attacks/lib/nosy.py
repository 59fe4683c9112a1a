"""A program of the app that looks for a way out; prints what it finds, a line each."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import Callable, Optional


def say(name: str, value: object) -> None:
    print("attack %s=%s" % (name, value), flush=True)


def attempt(name: str, call: Callable[[], Optional[str]]) -> None:
    try:
        say(name, call() or "yes")
    except (OSError, subprocess.SubprocessError) as error:
        say(name, "refused: %s" % (getattr(error, "strerror", None) or error))


def status(key: str) -> str:
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(key + ":"))


def write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def gain() -> str:
    done = subprocess.run(["sudo", "-n", "id", "-u"], stdout=subprocess.PIPE, timeout=20)
    return done.stdout.decode().strip() or "refused: exit code %d" % done.returncode


def leave() -> None:
    """A double fork into a session of its own, deaf to TERM and HUP."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            subprocess.Popen(["/bin/sh", "-c", "trap '' TERM HUP; exec sleep 4711"])
            time.sleep(4711)
        os._exit(0)
    os.wait()


def links() -> str:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink("/proc/self/fd/" + name))
    return " ".join(each for each in found if not each.startswith(("pipe:", "/dev/null", "/proc/")))


if __name__ == "__main__":
    say("user", os.getuid())
    say("nnp", status("NoNewPrivs"))
    say("umask", "%04o" % os.umask(0o022))
    say("files", links() or "none")
    say("environment", " ".join(sorted(os.environ)))
    attempt("sudo", gain)
    attempt("usr", lambda: write("/srv/readonly/x"))
    attempt("tmp", lambda: write("/tmp/from-the-app"))
    attempt("allowed", lambda: write("/srv/allowed/x"))
    leave()
    if sys.argv[1:] == ["flood"]:
        line = b"x" * 4095 + b"\n"
        while True:
            os.write(1, line * 256)
    if sys.argv[1:] == ["signal"]:
        os.kill(os.getpid(), 11)
