#!/bin/bash
# A worker as it should be: one child, limits on its stop, nothing beside it.
set -eu

install_worker root /root/slideshow/backend \
  '/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations'
