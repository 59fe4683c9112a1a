import type { Machine } from '../../../sandbox/machine.ts';
import { supportDirectoryOf } from '../../../src/config/support-directory.ts';
import { supportModuleText } from '../../../src/use-case/support-module.ts';
import { BACKEND, UNIT, UNIT_PATH } from './worker.ts';

/** Where a worker that no deploy has touched finds the support module. */
export const SUPPORT_FOLDER = '/opt/celeriac';

/** A worker that loads the support module; `service`: further lines of its `[Service]`. */
export const supportedUnit = (queues: string, service = ''): string => `[Unit]
Description=Celery worker
After=redis-server.service

[Service]
Type=notify
NotifyAccess=main
Environment=PYTHONPATH=${SUPPORT_FOLDER}
WorkingDirectory=${BACKEND}
ExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support -l info --concurrency=1 -Q ${queues}
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=120
${service}`;

/** Installs it with its module, and starts it. */
export async function startSupportedUnit(machine: Machine, text: string): Promise<void> {
  await machine.run(`mkdir -p ${SUPPORT_FOLDER}`);
  await machine.writeFile(`${SUPPORT_FOLDER}/celeriac_support.py`, supportModuleText());
  await machine.writeFile(UNIT_PATH, text);
  await machine.run(`systemctl daemon-reload && systemctl restart ${UNIT}`);
}

/** Lines of the task list's unit that only one of its versions has. */
interface Mended {
  readonly watchdogSeconds: number;
  /** MemoryHigh= is for hosts that have swap. */
  readonly hasSwap: boolean;
  /** The old unit had lines for its limits, and for the journal, where they are kept. */
  readonly hadLimits: boolean;
}

/** What deploy-worker makes of the task list's unit. */
export const mendedUnit = ({ watchdogSeconds, hasSwap, hadLimits }: Mended): string => {
  const memory = `MemoryMax=800M\n${hasSwap ? 'MemoryHigh=600M\n' : ''}`;
  const watchdog = `WatchdogSec=${watchdogSeconds}\n`;
  const journal = 'StandardOutput=journal\nStandardError=journal\n';
  const stop = 'KillMode=mixed\nTimeoutStartSec=120\nTimeoutStopSec=960\n';
  const oom = 'OOMPolicy=continue\n';
  return `[Unit]
Description=Celery Worker for TikTok Slideshow Generator
After=network.target redis.service redis-server.service
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
User=root
WorkingDirectory=${BACKEND}
Environment=PYTHONPATH=${supportDirectoryOf(supportModuleText())}
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations -I celeriac_support
Restart=always
RestartSec=10
${hadLimits ? memory + watchdog + journal + stop + oom : stop + memory + oom + watchdog}
[Install]
WantedBy=multi-user.target
`;
};

/** Stands for a worker: as many children as asked, ready when they are there. */
export const POOL = `#!/usr/bin/python3 -IS
import os, signal, socket, sys, time
children, mood = int(sys.argv[1]), sys.argv[2:]
if 'stubborn' in mood:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if 'broken' in mood:
    import tasks
for _ in range(children):
    if os.fork() == 0:
        time.sleep(100000)
address = os.environ.get('NOTIFY_SOCKET')
if address and 'silent' not in mood:
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', address)
if 'short' in mood:
    time.sleep(1)
    sys.exit('went away')
time.sleep(100000)
`;
