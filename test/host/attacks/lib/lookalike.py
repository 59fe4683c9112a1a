"""Looks like a worker of the app by its arguments, ignores TERM, and hides its user."""

import ctypes
import os
import signal
import sys
import time

if sys.argv[1:2] != ["-A"]:
    name = sys.argv[1]
    os.execv(sys.executable, ["python3", "/tmp/bin/celery", "-A", name, "worker"])

signal.signal(signal.SIGTERM, signal.SIG_IGN)
# PR_SET_DUMPABLE: its folder in /proc belongs to root from now on.
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
time.sleep(4711)
