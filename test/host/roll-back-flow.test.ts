import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { beginFlow, endFlow, haltFlow, prepareFlow } from './lib/task-flow.ts';
import { shell, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

/** Tasks a second: so many that one is always on its way to the worker. */
const PACE = 8;
/** More than are sent before the test stops that. */
const ENDLESS = 1_000_000;

let machine: Machine;
/** The unit that every rollback comes back to. */
let released: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'roll-back-flow', state: 'healthy' });
  await prepareFlow(machine);
  const first = await deploy({ 'confirm-within': 'off' });
  expect(first.code, first.log).toBe(0);
  released = await machine.readFile(UNIT_PATH);
});

afterAll(() => machine?.stop());

function deploy(more: Inputs, options: BundleOptions = {}): Promise<BundleRun> {
  const inputs = {
    // What they have to do is a little more than one of them could.
    concurrency: '4',
    'memory-max': '900M',
    'memory-high': '600M',
    'longest-task': '60s',
    'min-healthy-time': '2s',
    ...more,
  };
  return runBundle('deploy-worker', inputsFor(machine, inputs), options);
}

const verify = (more: Inputs): Promise<BundleRun> =>
  runBundle('verify', inputsFor(machine, { 'gate-timeout': '2m', ...more }));

async function expectBack(): Promise<void> {
  expect(await machine.readFile(UNIT_PATH)).toBe(released);
  expect(await shell(machine, `systemctl is-active ${UNIT}`)).toBe('active');
}

/** What the worker's runs wrote of their ends, in turn; once, however often it was told. */
async function readEnds(): Promise<readonly string[]> {
  const log = await shell(machine, `journalctl --sync; journalctl -u ${UNIT} -o cat --no-pager`);
  const words = log.match(/Canceling queue celery$|Warm shutdown \(MainProcess\)$/gm) ?? [];
  const ends = words.map((word) => (word.startsWith('Canceling') ? 'cancelled' : 'stopped'));
  return ends.filter((end, index) => end !== ends[index - 1]);
}

/** Nobody confirms it: the host puts it back by itself. */
async function expire(): Promise<void> {
  const expiring = await deploy({ 'memory-max': '901M', 'confirm-within': '1s' });
  expect(expiring.code, expiring.log).toBe(0);
  const isBack = async () => (await shell(machine, `cat ${UNIT_PATH}`)) === released.trimEnd();
  await waitUntil('the host has put the release back', isBack);
  const isUnguarded = async () =>
    (await shell(machine, 'systemctl is-active celeriac-guard.service || true')) === 'inactive';
  await waitUntil('its guard is at rest', isUnguarded);
}

/** A red gate, and what deploy.yml does then. */
async function rollBack(): Promise<void> {
  const bad = await deploy({ 'memory-max': '902M' });
  expect(bad.code, bad.log).toBe(0);
  const failing = { 'gate-task': 'tasks.process_job', 'gate-args': '[null, 0, 0, "error"]' };
  const gate = await verify({ gate: 'task', ...failing });
  expect(gate.code, gate.log).toBe(1);
  const back = await deploy({ 'roll-back': bad.outputs.transaction ?? '' });
  expect(back.code, back.log).toBe(0);
  expect(back.log).toContain(`undone: ${UNIT} stopped again`);
}

/** The deploy itself fails, when its new worker is at work. */
async function fail(): Promise<void> {
  let told = false;
  const failed = await deploy(
    { 'memory-max': '903M', 'min-healthy-time': '10m' },
    {
      onLog: (text) => {
        if (told || !text.includes('stable')) return;
        told = true;
        void shell(machine, "systemctl stop 'celeriac-*.scope'");
      },
    },
  );
  expect(failed.code, failed.log).toBe(1);
  expect(failed.log).toContain('interrupted by a signal on the host');
}

async function expectNoneLost(...ways: readonly (() => Promise<void>)[]): Promise<void> {
  const before = await readEnds();
  await beginFlow(machine, ENDLESS, PACE);
  for (const goBack of ways) {
    await goBack();
    await expectBack();
  }
  const sent = await haltFlow(machine);
  // Each time two are stopped: the worker before the release, and that of the release.
  const ends = (await readEnds()).slice(before.length);
  const each = Array.from({ length: 2 * ways.length }, () => ['cancelled', 'stopped']);
  expect(ends).toEqual(each.flat());
  expect(await endFlow(machine, sent, 300)).toEqual({
    sent,
    done: sent,
    lost: [],
    repeatedEarly: [],
    repeatedLate: [],
    processing: 0,
  });
}

describe('8 tasks per second flow, and none is lost', () => {
  test('when the host rolls back by itself', () => expectNoneLost(expire));

  test('when a deploy fails, or is rolled back', { tags: ['nightly'] }, () =>
    expectNoneLost(fail, rollBack),
  );
});
