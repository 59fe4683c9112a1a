#!/bin/bash
# The three workers that nobody remembers starting, beside the unit's own.
set -eu

# Three by hand, from this login session; they outlive it. The unit's worker is the fourth.
cd /root/slideshow/backend
for number in 1 2 3; do
  nohup setsid celery -A celery_app worker --loglevel=info >"/tmp/celery-$number.log" 2>&1 </dev/null &
done

is_ready() {
  journalctl --unit=celery-worker.service --boot --grep=' ready\.$' --quiet >/dev/null &&
    [ "$(grep -l ' ready\.$' /tmp/celery-[123].log | wc -l)" = 3 ]
}
for _ in $(seq 600); do
  is_ready && exit 0
  sleep 0.2
done
echo 'the workers did not become ready within 120 s' >&2
exit 1
