import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { runBundle } from '../lib/bundle.ts';
import {
  DEAF_CONTROLS,
  deafen,
  makeDeaf,
  sendQuick,
  startDeafWorker,
  workThrough,
} from './lib/deaf-workers.ts';
import { inputsFor } from './lib/inputs.ts';
import { hangLimitSeconds, prepareReconnects, reconnectOnce } from './lib/reconnects.ts';
import { BACKEND, shell, UNIT, waitUntil } from './lib/worker.ts';

/** Short, so that the test sees the whole of it; a worker's own is minutes. */
const watchdogSeconds = 20;
const limit = hangLimitSeconds(watchdogSeconds);

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'deaf-worker', state: 'healthy' });
});

afterAll(() => machine?.stop());

describe('a worker that runs and takes no messages', () => {
  test('gets the sockets back that its loop had lost, without a restart', async () => {
    await startDeafWorker(machine, { watchdogSeconds });
    const { repaired, told, restarts } = await deafen(machine, 'sockets', 2 * limit);
    expect({ repaired, told, restarts }).toEqual({ repaired: 1, told: 0, restarts: 0 });
  });

  test('reconnects if that does not help, without a restart', { tags: ['nightly'] }, async () => {
    await startDeafWorker(machine, { watchdogSeconds });
    const { told, restarts } = await deafen(machine, 'channel', 2 * limit);
    expect(told).toBeGreaterThan(0);
    expect(restarts).toBe(0);
  });

  test('is ended by its watchdog if nothing helps', async () => {
    await startDeafWorker(machine, { watchdogSeconds });
    const { restarts } = await deafen(machine, 'lasting', 2 * limit);
    expect(restarts).toBeGreaterThan(0);
  });
});

test('a worker with reasons to leave messages waiting is left alone', async () => {
  await startDeafWorker(machine, { watchdogSeconds: 10, options: '--concurrency=2 -O fair' });
  const { told, restarts, done, repeated } = await workThrough(machine, 100, 600);
  expect({ told, restarts, done, repeated }).toEqual({
    told: 0,
    restarts: 0,
    done: 100,
    repeated: 0,
  });
});

test('a worker takes its jobs after each restart of Redis', { tags: ['nightly'] }, async () => {
  await prepareReconnects(machine, { watchdogSeconds, repairs: true });
  for (const number of [1, 2, 3, 4, 5, 6]) {
    const { sent, done, restarts } = await reconnectOnce(machine, number, watchdogSeconds);
    expect({ number, done, restarts }).toEqual({ number, done: sent, restarts: 0 });
  }
});

/** A younger worker, or broker, may be silent for a good reason. */
async function isGrown(): Promise<boolean> {
  const ages = await shell(
    machine,
    `redis-cli info server | sed -n 's/^uptime_in_seconds://p' | tr -d '\\r'
    echo $(($(cut -d. -f1 /proc/uptime) - $(systemctl show -P ActiveEnterTimestampMonotonic ${UNIT}) / 1000000))`,
  );
  return ages.split('\n').every((age) => Number(age) > 46);
}

const verify = () => runBundle('verify', inputsFor(machine, { unit: UNIT, gate: 'none' }));
const cause = 'it runs and consumes nothing: 2 messages wait in celery';

test('verify names the cause', { tags: ['nightly'] }, async () => {
  // It is to stay deaf meanwhile.
  await startDeafWorker(machine, { watchdogSeconds: 1200 });
  await waitUntil('the worker is as old as one that should consume', isGrown);
  await makeDeaf(machine, 'channel');
  await sendQuick(machine, [1, 2]);
  const red = await verify();
  expect(red.code, red.log).toBe(1);
  expect(red.log).toContain(cause);
  expect(JSON.parse(red.outputs.checks ?? '[]')).toContainEqual(
    expect.objectContaining({ id: 'consuming', verdict: 'fail' }),
  );
});

test('a deploy with nothing else to do restarts the worker', { tags: ['nightly'] }, async () => {
  await machine.reset();
  await machine.writeFile(`${BACKEND}/deaf_controls.py`, DEAF_CONTROLS);
  await shell(machine, `echo "imports = ('deaf_controls',)" >>${BACKEND}/celery_config.py`);
  const asked = inputsFor(machine, {
    unit: UNIT,
    watchdog: '20m',
    'min-healthy-time': '1s',
    'confirm-within': 'off',
  });
  const first = await runBundle('deploy-worker', asked);
  expect(first.code, first.log).toBe(0);
  const idle = await runBundle('deploy-worker', asked);
  expect(idle.outputs.changed, idle.log).toBe('false');
  await waitUntil('the worker is as old as one that should consume', isGrown);
  await makeDeaf(machine, 'channel');
  await sendQuick(machine, [1, 2]);
  // Until then it says that none waited, up to a minute ago.
  await waitUntil('it reports the messages', async () => {
    const status = `systemctl show -p StatusText ${UNIT}`;
    return (await shell(machine, status)).includes('waiting:celery=2');
  });

  const cure = await runBundle('deploy-worker', asked);
  expect(cure.code, cure.log).toBe(0);
  expect(cure.outputs.changed).toBe('true');
  expect(cure.log).toContain(cause);
  await waitUntil('the jobs are done', async () => {
    return (await shell(machine, 'redis-cli llen celery; wc -l </tmp/done')) === '0\n2';
  });
  const green = await verify();
  expect(green.log).toContain('no message is left waiting');
});
