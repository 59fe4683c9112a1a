import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { ActionName } from '../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { mendedUnit } from './lib/units.ts';
import { shell, show, UNIT, UNIT_PATH, waitUntil } from './lib/worker.ts';

/** Short, so that several of its intervals fit into a test. */
const WATCHDOG_SECONDS = 12;

let machine: Machine;
let isFresh = true;

beforeAll(async () => {
  machine = await startMachine({ name: 'reference-unit', state: 'reference-unit' });
});

beforeEach(async () => {
  if (!isFresh) await machine.reset();
  isFresh = false;
});

afterAll(() => machine?.stop());

async function succeed(action: ActionName, inputs: Inputs = {}): Promise<BundleRun> {
  const run = await runBundle(action, inputsFor(machine, inputs));
  expect(run.code, run.log).toBe(0);
  return run;
}

const deploy = () =>
  succeed('deploy-worker', { ...taskListLimits, watchdog: `${WATCHDOG_SECONDS}s` });

test('a unit that cannot start is fixed, and its worker is healthy', async () => {
  expect((await show(machine, 'ActiveState')).ActiveState).not.toBe('active');
  await succeed('provision');

  const run = await deploy();
  expect(run.log).toMatch(
    /shell syntax in an Exec line \(ExecStartPre=\/usr\/bin\/pkill -f "celery\.\*worker" \|\| true\): .*The new unit fixes it/,
  );
  expect(run.log).toMatch(
    /a watchdog without watchdog notifications \(WatchdogSec=300\): .*The new unit fixes it/,
  );
  expect(run.log).toMatch(
    /Celery processes are killed by name \(ExecStartPre=.*The new unit fixes it/,
  );
  // A container has no swap of its own, and provision can't give it any.
  const hasSwap = machine.kind === 'vm';
  expect(await machine.readFile(UNIT_PATH)).toBe(
    mendedUnit({ watchdogSeconds: WATCHDOG_SECONDS, hasSwap, hadLimits: true }),
  );
  expect(
    await show(machine, 'ActiveState', 'NRestarts', 'WatchdogUSec', 'Type', 'MainPID'),
  ).toEqual({
    ActiveState: 'active',
    NRestarts: '0',
    WatchdogUSec: `${WATCHDOG_SECONDS}s`,
    Type: 'notify',
    MainPID: expect.stringMatching(/^[1-9]\d*$/),
  });

  const verify = await succeed('verify');
  expect(verify.outputs.healthy).toBe('true');
  expect(verify.log).toContain('1 canary to celery: done');
});

test('its worker outlives its watchdog; frozen, it is restarted and passes the gate again', {
  tags: ['nightly'],
}, async () => {
  await deploy();
  const names = ['MainPID', 'NRestarts', 'ActiveState', 'WatchdogTimestampMonotonic'] as const;
  const { MainPID: proved, ActiveEnterTimestampMonotonic } = await show(
    machine,
    'MainPID',
    'ActiveEnterTimestampMonotonic',
  );
  const ready = Number(ActiveEnterTimestampMonotonic) / 1e6;
  await waitUntil('three intervals have passed', async () => {
    const uptime = Number(await shell(machine, 'cut -d" " -f1 /proc/uptime'));
    return uptime > ready + 3 * WATCHDOG_SECONDS;
  });
  const { WatchdogTimestampMonotonic: pinged, ...seen } = await show(machine, ...names);
  expect(seen).toEqual({ MainPID: proved, NRestarts: '0', ActiveState: 'active' });
  // It did not live on because nobody watched.
  expect(Number(pinged) / 1e6).toBeGreaterThan(ready + 2 * WATCHDOG_SECONDS);

  await shell(machine, `kill -STOP ${proved}`);
  await waitUntil('another one is ready', async () => {
    const { MainPID, ActiveState } = await show(machine, 'MainPID', 'ActiveState');
    return MainPID !== proved && ActiveState === 'active';
  });
  expect((await show(machine, 'NRestarts')).NRestarts).toBe('1');
  expect(await shell(machine, `journalctl --sync; journalctl -u ${UNIT} -o cat`)).toContain(
    'Watchdog timeout',
  );

  const strict = await runBundle('verify', inputsFor(machine, { gate: 'none' }));
  expect(strict.code).toBe(1);
  expect(strict.log).toMatch(/^verify: restarts: 1 restart; expected none/m);
  const verify = await succeed('verify', { 'max-restarts': '1' });
  expect(verify.log).toContain('1 canary to celery: done');
});
