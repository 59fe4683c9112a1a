import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { ActionName } from '../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { readTransaction, shell, show, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

/** Short, so that several of its intervals fit into this test. */
const WATCHDOG_SECONDS = 24;

/** The intent of the task list's final unit, in words that systemd understands. */
const UNIT_AFTER = `[Unit]
Description=Celery Worker for TikTok Slideshow Generator
After=network.target redis.service redis-server.service
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
User=root
WorkingDirectory=/root/slideshow/backend
Environment=PYTHONPATH=/usr/local/lib/celeriac
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations -I celeriac_support
Restart=always
RestartSec=10
MemoryMax=800M
MemoryHigh=600M
WatchdogSec=${WATCHDOG_SECONDS}
StandardOutput=journal
StandardError=journal
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=960
OOMPolicy=continue

[Install]
WantedBy=multi-user.target
`;

let machine: Machine;
/** The main process that the deploy proved. */
let proved: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'reference-unit', state: 'reference-unit' });
});

afterAll(() => machine?.stop());

async function succeed(action: ActionName, inputs: Inputs = {}): Promise<BundleRun> {
  const run = await runBundle(action, inputsFor(machine, inputs));
  expect(run.code, run.log).toBe(0);
  return run;
}

/** What provision is there for, whatever way led there. */
async function readSwap(): Promise<Record<string, string>> {
  const asked = {
    active: "awk 'NR > 1 {print $1, $2, $3}' /proc/swaps",
    file: 'stat -c "%F %a %U %G %s" /swapfile',
    format: 'blkid -p -s TYPE -o value /swapfile',
    fstab: 'cat /etc/fstab',
    swappiness: 'cat /proc/sys/vm/swappiness',
    settings: 'cat /etc/sysctl.d/*celeriac*',
  };
  const answers = await shell(machine, Object.values(asked).join('; echo ---; '));
  return Object.fromEntries(
    answers.split('---\n').map((answer, index) => [Object.keys(asked)[index], answer.trim()]),
  );
}

test('a unit that cannot start is mended, and its worker is healthy', {
  timeout: 900_000,
}, async () => {
  expect((await show(machine, 'ActiveState')).ActiveState).not.toBe('active');
  await succeed('provision');

  const run = await succeed('deploy-worker', { watchdog: `${WATCHDOG_SECONDS}s` });
  expect(run.log).toMatch(
    /shell syntax in an Exec line \(ExecStartPre=\/usr\/bin\/pkill -f "celery\.\*worker" \|\| true\): .*The new unit mends it/,
  );
  expect(run.log).toMatch(
    /a watchdog that nobody feeds \(WatchdogSec=300\): .*The new unit mends it/,
  );
  expect(run.log).toMatch(
    /Celery processes are killed by name \(ExecStartPre=.*The new unit mends it/,
  );
  expect(await machine.readFile(UNIT_PATH)).toBe(UNIT_AFTER);
  const seen = await show(machine, 'ActiveState', 'NRestarts', 'WatchdogUSec', 'Type', 'MainPID');
  expect(seen).toEqual({
    ActiveState: 'active',
    NRestarts: '0',
    WatchdogUSec: `${WATCHDOG_SECONDS}s`,
    Type: 'notify',
    MainPID: expect.stringMatching(/^[1-9]\d*$/),
  });
  proved = seen.MainPID;

  const verify = await succeed('verify');
  expect(verify.outputs.healthy).toBe('true');
  expect(verify.log).toContain('1 canary to celery: done');
});

test.each([
  {
    state: 'a file that mkswap never saw',
    script:
      "swapoff /swapfile; rm /swapfile; fallocate -l 2G /swapfile; chmod 600 /swapfile; sed -i '/swapfile/d' /etc/fstab",
    operations: ['make-swap', 'swap-on', 'write-file'],
  },
  {
    state: 'swap that fstab does not know',
    script: "sed -i '/swapfile/d' /etc/fstab",
    operations: ['write-file'],
  },
  {
    state: 'a line in fstab, and no file',
    script: 'swapoff /swapfile; rm /swapfile',
    operations: ['make-swap', 'swap-on'],
  },
  {
    state: 'swap of another size, in use',
    script:
      'swapoff /swapfile; rm /swapfile; fallocate -l 512M /swapfile; chmod 600 /swapfile; mkswap /swapfile; swapon /swapfile',
    operations: ['swap-off', 'make-swap', 'swap-on'],
  },
  {
    state: 'swap that others may read, in use',
    script: 'chmod 644 /swapfile',
    operations: ['set-mode'],
  },
])('half-done: $state', { tags: ['nightly'], timeout: 900_000 }, async ({ script, operations }) => {
  const desired = await readSwap();
  expect(desired).toMatchObject({
    active: '/swapfile file 2097148',
    file: 'regular file 600 root root 2147483648',
    format: 'swap',
    fstab: expect.stringMatching(/^\/swapfile none swap sw 0 0$/m),
    swappiness: '10',
  });
  await machine.run(`set -e; ${script}`);
  expect(await readSwap().catch(() => null)).not.toEqual(desired);

  const run = await succeed('provision');
  const { plan } = await readTransaction(machine, run.outputs.transaction ?? '');
  expect(plan.operations.map(({ op }) => op)).toEqual(operations);
  expect(await readSwap()).toEqual(desired);
  const again = await succeed('provision');
  expect(again.outputs.changed).toBe('false');
  expect(await readSwap()).toEqual(desired);
});

test('a healthy worker outlives its watchdog', {
  tags: ['nightly'],
  timeout: 900_000,
}, async () => {
  const uptime = async () => Number(await shell(machine, 'cut -d" " -f1 /proc/uptime'));
  const readyAt = async () =>
    Number((await show(machine, 'ActiveEnterTimestampMonotonic')).ActiveEnterTimestampMonotonic) /
    1e6;
  const ready = await readyAt();
  await waitUntil(
    'three intervals have passed',
    async () => (await uptime()) > ready + 3 * WATCHDOG_SECONDS,
  );
  const names = ['MainPID', 'NRestarts', 'ActiveState', 'WatchdogTimestampMonotonic'] as const;
  const { WatchdogTimestampMonotonic: pinged, ...seen } = await show(machine, ...names);
  expect(seen).toEqual({ MainPID: proved, NRestarts: '0', ActiveState: 'active' });
  // It did not live on because nobody watched.
  expect(Number(pinged) / 1e6).toBeGreaterThan(ready + 2 * WATCHDOG_SECONDS);
});

test('a worker that stands still is restarted, and passes the gate again', {
  tags: ['nightly'],
  timeout: 1_200_000,
}, async () => {
  await shell(machine, `kill -STOP ${proved}`);
  await waitUntil(
    'another one is ready',
    async () => {
      const { MainPID, ActiveState } = await show(machine, 'MainPID', 'ActiveState');
      return MainPID !== proved && ActiveState === 'active';
    },
    240,
  );
  expect((await show(machine, 'NRestarts')).NRestarts).toBe('1');
  expect(await shell(machine, `journalctl -u ${UNIT} -o cat`)).toContain('Watchdog timeout');

  const strict = await runBundle('verify', inputsFor(machine, { gate: 'none' }));
  expect(strict.code).toBe(1);
  expect(strict.log).toMatch(/^verify: restarts: 1 restart; expected none/m);
  const verify = await succeed('verify', { 'max-restarts': '1' });
  expect(verify.log).toContain('1 canary to celery: done');
});
