import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { makeJob, sendJobs } from './lib/worker.ts';

/** Short, so that the test sees several of its intervals; a worker's own is minutes. */
const WATCHDOG_SECONDS = 20;

const UNIT = `[Unit]
Description=Celery worker with the support module
After=redis-server.service

[Service]
Type=notify
NotifyAccess=main
Environment=PYTHONPATH=/opt/celeriac
WorkingDirectory=/root/slideshow/backend
ExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support --concurrency=1 -Q celery,links
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=120
WatchdogSec=${WATCHDOG_SECONDS}
`;

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'support-module' });
  const module = join(import.meta.dirname, '../../host/support/celeriac_support.py');
  await machine.run('mkdir -p /opt/celeriac');
  await machine.writeFile('/opt/celeriac/celeriac_support.py', readFileSync(module));
  await machine.writeFile('/etc/systemd/system/celery-worker.service', UNIT);
  await machine.run('systemctl daemon-reload && systemctl start celery-worker');
});

afterAll(() => machine?.stop());

async function show(property: string): Promise<string> {
  const { stdout } = await machine.run(`systemctl show celery-worker -p ${property} --value`);
  return stdout.trim();
}

async function waitUntil(title: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 90_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 90 s: ${title}`);
    await pause(1);
  }
}

const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function runInApp(statement: string): Promise<string> {
  const code = `from celery_app import celery_app as app; ${statement}`;
  const { stdout } = await machine.run(`cd /root/slideshow/backend && python3 -c "${code}"`);
  return stdout.trim();
}

/** Sends a job, without the time that an import of the app would take; returns its id. */
async function sendJob(seconds: number): Promise<string> {
  const job = makeJob(seconds);
  await sendJobs(machine, [job]);
  return job.id;
}

async function statusOf(job: string): Promise<string> {
  const query = `SELECT status FROM jobs WHERE id = '${job}'`;
  const { stdout } = await machine.run(
    `sqlite3 -cmd '.timeout 5000' /root/slideshow/backend/batch_processing.db "${query}"`,
  );
  return stdout.trim();
}

test('the start is over when the worker consumes, and the status names its queues', async () => {
  expect(await show('ActiveState')).toBe('active');
  expect(await show('StatusText')).toBe('Consuming from celery, links');
});

test('a healthy worker outlives its watchdog and a broker that went away meanwhile', async () => {
  const pid = await show('MainPID');
  await machine.run('systemctl stop redis-server');
  await pause(6);
  await machine.run('systemctl start redis-server');
  await waitUntil('the worker is connected again', async () => {
    const { stdout } = await machine.run('redis-cli client list');
    return stdout.includes('cmd=brpop');
  });
  const pinged = Number(await show('WatchdogTimestampMonotonic'));
  await pause(1.5 * WATCHDOG_SECONDS);
  expect(await show('MainPID')).toBe(pid);
  expect(await show('NRestarts')).toBe('0');
  // The pings go on: it did not live on because nobody watched.
  expect(Number(await show('WatchdogTimestampMonotonic'))).toBeGreaterThan(pinged);
});

test('a remote shutdown longer than the watchdog loses no task, and the worker comes back', {
  tags: ['nightly'],
}, async () => {
  const pid = await show('MainPID');
  const job = await sendJob(WATCHDOG_SECONDS + 5);
  await waitUntil('the job is taken', async () => (await statusOf(job)) === 'processing');
  await runInApp('app.control.shutdown()');
  await waitUntil('it says that it stops', async () => (await show('SubState')) === 'stop-sigterm');
  expect(await show('StatusText')).toBe('Stopping: waiting for running tasks');
  await waitUntil('another one serves', async () => {
    return (await show('MainPID')) !== pid && (await show('ActiveState')) === 'active';
  });
  expect(await statusOf(job)).toBe('completed');
});

test('a main process that stands still is restarted', async () => {
  const pid = await show('MainPID');
  const restarts = Number(await show('NRestarts'));
  await machine.run(`kill -STOP ${pid}`);
  await waitUntil('it was replaced', async () => {
    return (await show('MainPID')) !== pid && (await show('ActiveState')) === 'active';
  });
  expect(Number(await show('NRestarts'))).toBe(restarts + 1);
  const { stdout } = await machine.run('journalctl -u celery-worker -o cat -g "Watchdog timeout"');
  expect(stdout).toContain('Watchdog timeout');
});

test('a stop lets the running task complete', { tags: ['nightly'] }, async () => {
  const job = await sendJob(8);
  await waitUntil('the job is taken', async () => (await statusOf(job)) === 'processing');
  await machine.run('systemctl stop celery-worker', { timeoutSeconds: 300 });
  expect(await statusOf(job)).toBe('completed');
  expect(await show('Result')).toBe('success');
});
