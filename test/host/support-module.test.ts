import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { startSupportedUnit, supportedUnit } from './lib/units.ts';
import {
  BACKEND,
  makeJob,
  readJob,
  sendJobs,
  shell,
  show as showUnit,
  UNIT,
  waitUntil,
} from './lib/worker.ts';

/** Short, so that the test sees several of its intervals; a worker's own is minutes. */
const WATCHDOG_SECONDS = 10;

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'support-module' });
});

afterAll(() => machine?.stop());

beforeEach(async () => {
  const service = `Restart=always\nRestartSec=1\nWatchdogSec=${WATCHDOG_SECONDS}\n`;
  await startSupportedUnit(machine, supportedUnit('celery,links', service));
});

const output = (command: string) => shell(machine, command);
const show = async (name: string) => (await showUnit(machine, name))[name] ?? '';
const uptime = async () => Number(await output('cut -d" " -f1 /proc/uptime'));
const statusOf = async (job: string) => (await readJob(machine, job))?.status;

/** A job that the worker has begun. */
async function beginJob(durationSeconds: number): Promise<string> {
  const job = makeJob(durationSeconds);
  await sendJobs(machine, [job]);
  await waitUntil('the job is taken', async () => (await statusOf(job.id)) === 'processing');
  return job.id;
}

test('a healthy worker survives its watchdog and an outage of the broker', async () => {
  // The start is over when it consumes.
  expect(await show('ActiveState')).toBe('active');
  expect(await show('StatusText')).toMatch(/^Consuming from celery, links(?: \[at=[^\]]*\])?$/);
  const pid = await show('MainPID');
  const begun = await show('ActiveEnterTimestamp');
  // The pauses between its attempts grow beyond the watchdog: an outage as short as it can be, not
  // as long as a busy disk makes a stop and a start of Redis.
  await machine.run(`timeout 60 sh -c "
    redis-cli config set port 6380 && redis-cli -p 6380 client kill type normal
    until journalctl -u ${UNIT} --since '${begun}' -o cat -q -g 'Connection to broker lost|Cannot connect' | grep -q .
    do sleep 0.1; done
    redis-cli -p 6380 config set port 6379"`);
  await waitUntil('the worker is connected again', async () =>
    (await output('redis-cli client list')).includes('cmd=brpop'),
  );
  const pinged = Number(await show('WatchdogTimestampMonotonic'));
  const end = (await uptime()) + 1.25 * WATCHDOG_SECONDS;
  await waitUntil('its watchdog has had time to bite', async () => (await uptime()) > end);
  expect(
    await show('MainPID'),
    await output(`journalctl -u ${UNIT} --since '${begun}' -o short-precise -q | tail -n 60`),
  ).toBe(pid);
  expect(await show('NRestarts')).toBe('0');
  // The pings go on: it did not live on because nobody watched.
  expect(Number(await show('WatchdogTimestampMonotonic'))).toBeGreaterThan(pinged);
});

test('a hanging main process is restarted', async () => {
  const pid = await show('MainPID');
  await machine.run(`kill -STOP ${pid}`);
  await waitUntil('it was replaced', async () => {
    return (await show('MainPID')) !== pid && (await show('ActiveState')) === 'active';
  });
  expect(await show('NRestarts')).toBe('1');
  expect(
    await output(`journalctl --sync; journalctl -u ${UNIT} _PID=1 -o cat -q -g 'Watchdog timeout'`),
  ).toContain('Watchdog timeout');
});

test('a remote shutdown longer than the watchdog loses no task, and the worker is restarted', {
  tags: ['nightly'],
}, async () => {
  const pid = await show('MainPID');
  const job = await beginJob(WATCHDOG_SECONDS + 5);
  const shutdown = 'from celery_app import celery_app as app; app.control.shutdown()';
  await machine.run(`cd ${BACKEND} && python3 -c '${shutdown}'`);
  await waitUntil('it says that it stops', async () => {
    return (await show('SubState')) === 'stop-sigterm';
  });
  expect(await show('StatusText')).toBe('Stopping: waiting for running tasks');
  await waitUntil('another one serves', async () => {
    return (await show('MainPID')) !== pid && (await show('ActiveState')) === 'active';
  });
  expect(await statusOf(job)).toBe('completed');
});

test('a stop lets the running task complete', { tags: ['nightly'] }, async () => {
  const job = await beginJob(3);
  await machine.run(`systemctl stop ${UNIT}`, { timeoutSeconds: 300 });
  expect(await statusOf(job)).toBe('completed');
  expect(await show('Result')).toBe('success');
});
