"""Many processes that look like Celery, each with far more arguments than an answer can have."""

import os
import sys

COUNT = 60
SLEEP = "import time; time.sleep(600)"

for _ in range(COUNT):
    if os.fork() == 0:
        words = [b"\xff" * 120_000] * 2
        os.execv(sys.executable, [b"celery", b"-c", SLEEP.encode(), b"worker", *words])
print("all run", flush=True)
os.wait()
