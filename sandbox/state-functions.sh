#!/bin/bash
# What the states share: these lines stand before the script of each, and before what it runs after
# each boot.

# install_worker USER FOLDER COMMAND: the unit of a worker as it should be, with a limit on its stop;
# enabled and started.
install_worker() {
  cat >/etc/systemd/system/celery-worker.service <<UNIT
[Unit]
Description=Celery Worker
After=network.target redis.service redis-server.service
Wants=redis-server.service

[Service]
Type=simple
User=$1
WorkingDirectory=$2
ExecStart=$3
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
}

# is_unit_ready: the unit's worker has said since the last boot that it is ready.
is_unit_ready() {
  journalctl --unit=celery-worker.service --boot --grep=' ready\.$' --quiet >/dev/null
}

# wait_until COMMAND: tries it for two minutes.
wait_until() {
  for _ in $(seq 600); do
    "$@" && return
    sleep 0.2
  done
  echo "not so within 120 s: $*" >&2
  return 1
}
