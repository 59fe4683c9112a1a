#!/bin/bash
# The three workers that nobody remembers starting, beside the unit's own.
set -eu

# Three by hand, from this login session; they outlive it. The unit's worker is the fourth.
cd /root/slideshow/backend
for number in 1 2 3; do
  nohup setsid celery -A celery_app worker --loglevel=info >"/tmp/celery-$number.log" 2>&1 </dev/null &
done

are_all_ready() {
  is_unit_ready && [ "$(grep -l ' ready\.$' /tmp/celery-[123].log | wc -l)" = 3 ]
}
wait_until are_all_ready
