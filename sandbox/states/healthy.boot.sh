#!/bin/bash
# The unit's worker is there.
set -eu

for _ in $(seq 300); do
  journalctl --unit=celery-worker.service --boot --grep=' ready\.$' --quiet >/dev/null && exit 0
  sleep 0.2
done
echo 'the worker did not become ready within 60 s' >&2
exit 1
