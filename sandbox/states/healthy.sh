#!/bin/bash
# A worker as it should be: one child, limits on its stop, nothing beside it.
set -eu

cat >/etc/systemd/system/celery-worker.service <<'UNIT'
[Unit]
Description=Celery Worker
After=network.target redis.service redis-server.service
Wants=redis-server.service

[Service]
Type=simple
User=root
WorkingDirectory=/root/slideshow/backend
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations
Restart=always
RestartSec=10
KillMode=mixed
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
UNIT

systemctl daemon-reload
systemctl --quiet enable celery-worker.service
systemctl restart celery-worker.service
