#!/bin/bash
# The task list's final unit, its path adapted. It cannot start: systemd has no shell, so pkill is
# given '||' and 'true' as patterns, and refuses.
set -eu

cat >/etc/systemd/system/celery-worker.service <<'UNIT'
[Unit]
Description=Celery Worker for TikTok Slideshow Generator
After=network.target redis.service

[Service]
Type=simple
User=root
WorkingDirectory=/root/slideshow/backend
ExecStartPre=/usr/bin/pkill -f "celery.*worker" || true
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations
Restart=always
RestartSec=10
MemoryMax=800M
MemoryHigh=600M
WatchdogSec=300
StandardOutput=journal
StandardError=journal

[Install]
WantedBy=multi-user.target
UNIT

systemctl daemon-reload
systemctl --quiet enable celery-worker.service
if systemctl restart celery-worker.service 2>/dev/null; then
  echo 'the reference unit started, which it was known not to do' >&2
  exit 1
fi
