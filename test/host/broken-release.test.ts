import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { beginHeldJob, installHeldJobs } from './lib/held-jobs.ts';
import { listProcesses } from './lib/host-state.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { expectOneError } from './lib/one-error.ts';
import {
  BACKEND,
  beginOf,
  completeJob,
  isRunningAt,
  listTransactions,
  readJob,
  readTransaction,
  receivedJobs,
  SUPPORT,
  shell,
  show,
  UNIT,
  UNIT_PATH,
  waitUntil,
} from './lib/worker.ts';

let machine: Machine;
/** The unit before Celeriac came, and as it deployed it. */
let original: string;
let deployed: string;
/** Of that deploy. */
let transaction: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'broken-release', state: 'healthy' });
  original = await machine.readFile(UNIT_PATH);
});

/** A release is deployed: a fresh one unless the test before left it as it found it. */
beforeEach(async () => {
  const { ActiveState } = await show(machine, 'ActiveState');
  if (ActiveState === 'active' && (await machine.readFile(UNIT_PATH)) === deployed) return;
  await machine.reset();
  await installHeldJobs(machine);
  // A worker of this app refuses to start with a queue that it does not know.
  await shell(machine, `echo task_create_missing_queues = False >>${BACKEND}/celery_config.py`);
  const run = await deploy();
  expect(run.code, run.log).toBe(0);
  transaction = run.outputs.transaction ?? '';
  deployed = await machine.readFile(UNIT_PATH);
  expect(deployed).not.toBe(original);
});

afterAll(() => machine?.stop());

function deploy(inputs: Inputs = {}, options: BundleOptions = {}): Promise<BundleRun> {
  const short = { ...taskListLimits, 'min-healthy-time': '2s', 'confirm-within': 'off', ...inputs };
  return runBundle('deploy-worker', inputsFor(machine, short), options);
}

function verify(inputs: Inputs = {}): Promise<BundleRun> {
  return runBundle('verify', inputsFor(machine, inputs));
}

/** The deployed unit, to the byte, and its worker at work. */
async function expectDeployedServes(): Promise<void> {
  expect(await machine.readFile(UNIT_PATH)).toBe(deployed);
  const seen = await show(machine, 'ActiveState', 'NeedDaemonReload', 'MemoryMax', 'MainPID');
  expect(seen).toMatchObject({
    ActiveState: 'active',
    NeedDaemonReload: 'no',
    MemoryMax: '838860800',
  });
  const workers = (await listProcesses(machine)).filter(({ command }) =>
    command.includes('celery_app'),
  );
  expect(workers.map(({ parent }) => parent)).toEqual([1, Number(seen.MainPID)]);
  await completeJob(machine);
}

test('an app that cannot be imported: the run fails, and the old worker is never stopped', async () => {
  const { MainPID } = await show(machine, 'MainPID');
  const app = `${BACKEND}/celery_app.py`;
  await shell(machine, `cp -p ${app} /root/kept.py; echo 'import no_such_module' >>${app}`);
  try {
    const run = await deploy();
    expectOneError(run);
    expect(run.log).toMatch(
      /^deploy-worker: the app celery_app does not import as user root in \/root\/slideshow\/backend: ModuleNotFoundError: No module named 'no_such_module'\.$/m,
    );
    expect(run.log).toContain('undone: nothing; no changes had been made.');
    expect(run.outputs).toMatchObject({ changed: 'false', transaction: '' });
    expect((await show(machine, 'MainPID')).MainPID).toBe(MainPID);
    await expectDeployedServes();
  } finally {
    await shell(machine, `mv /root/kept.py ${app}`);
  }
});

test('a unit that cannot live: red, and the old one is back', {
  tags: ['nightly'],
}, async () => {
  const { MainPID } = await show(machine, 'MainPID');
  const run = await deploy({ queues: 'celery,liks' });
  expectOneError(run);
  expect(run.log).toMatch(
    /^deploy-worker: celery-worker\.service did not become ready .*ImproperlyConfigured: .*'liks'/m,
  );
  const [, undone] = /\n {2}undone:\n((?: {4}.*\n)+)/.exec(run.log) ?? [];
  expect(undone).toContain(`${UNIT_PATH} restored`);
  expect(undone).toMatch(/celery-worker\.service serves again \(main \d+, 1 child\)/);
  expect(run.outputs).toMatchObject({ changed: 'false', transaction: '' });
  // The failure was a real one: the old worker was gone.
  expect((await show(machine, 'MainPID')).MainPID).not.toBe(MainPID);
  await expectDeployedServes();
  const gate = await verify();
  expect(gate.code, gate.log).toBe(0);
  expect(gate.log).toContain('3 canaries to batch, links and variations: done');
});

test('a runner killed while the host waits for a task: the work continues, and is rolled back without a confirmation', async () => {
  const known = await listTransactions(machine);
  const { MainPID } = await show(machine, 'MainPID');
  const { id, letGo } = await beginHeldJob(machine);
  let runner: Parameters<NonNullable<BundleOptions['onStart']>>[0] | undefined;
  let printed = '';
  const run = await deploy(
    { 'memory-max': '700M', 'confirm-within': '1s' },
    {
      onStart: (child) => {
        runner = child;
      },
      onLog: (text) => {
        printed += text;
        if (/: \d+ tasks? still running/.test(printed)) runner?.kill('SIGKILL');
      },
    },
  );
  expect(run.code, run.log).toBeNull();
  await letGo();

  const [interrupted, ...others] = (await listTransactions(machine)).filter(
    (id) => !known.includes(id),
  );
  expect(others).toEqual([]);
  const read = () => readTransaction(machine, interrupted ?? '');
  await waitUntil('the host has put itself back', async () => {
    return (await read()).journal.at(-1)?.result === 'undone';
  });
  const undone = await read();
  const ends = undone.journal.flatMap(({ event, result }) => (event === 'ended' ? [result] : []));
  expect(ends).toEqual(['committed', 'undone']);
  await waitUntil('no agent is left', async () => {
    const processes = await shell(machine, 'ps -eo args');
    return !/python3 .*(?:celeriac_host|program\.py)/m.test(processes);
  });
  await expectDeployedServes();

  // The old worker ended it; no other had to do it again.
  const row = await readJob(machine, id);
  expect(row).toMatchObject({ status: 'completed' });
  expect(isRunningAt(beginOf(undone, 'drain-worker'), row ?? {})).toBe(true);
  const log = (options: string) =>
    shell(machine, `journalctl --sync; journalctl -o cat ${options}`);
  expect(receivedJobs(await log(`_PID=${MainPID}`))).toContain(id);
  const received = receivedJobs(await log(`-u ${UNIT}`));
  expect(received.filter((each) => each === id)).toHaveLength(1);

  // Whichever action comes next tells it, and only that one.
  const told = /^::warning .*was undone by the host itself: not confirmed within /m;
  const next = await verify({ gate: 'none' });
  expect(next.code, next.log).toBe(0);
  expect(next.log).toMatch(told);
  expect(next.summary).toContain('was undone by the host itself');
  const last = await deploy();
  expect(last.code, last.log).toBe(0);
  expect(last.log).toContain('Nothing to do: the host is in the desired state.');
  expect(last.log).not.toMatch(told);
  // An earlier deploy told that this host is a container.
  expect(last.log).toMatch(/^::group::deploy-worker: \d findings? as before$/m);
  expect(last.log).not.toMatch(/^::warning .*this host is a container/m);
});

test('a gate that fails: red with evidence, and the release can be rolled back', {
  tags: ['nightly'],
}, async () => {
  const task = { gate: 'task', 'gate-task': 'tasks.process_job' };
  const failing = await verify({ ...task, 'gate-args': '[null, 0, 0, "error"]' });
  expectOneError(failing);
  expect(failing.outputs.healthy).toBe('false');
  expect(failing.log).toMatch(
    /^verify: gate: single probe: 1 of 1 calls of tasks\.process_job did not succeed/m,
  );
  expect(failing.log).toMatch(/^ {2}evidence:.*WorkError/m);

  const unheard = await verify({ ...task, 'gate-queue': 'nowhere', 'gate-timeout': '8s' });
  expectOneError(unheard);
  expect(unheard.log).toMatch(/^verify: gate: single probe: .*nowhere/m);

  const back = await deploy({ 'roll-back': transaction });
  expect(back.code, back.log).toBe(0);
  expect(back.outputs.changed).toBe('true');
  expect(back.log).toContain(`Undone: transaction ${transaction}`);
  expect(await machine.readFile(UNIT_PATH)).toBe(original);
  expect(await shell(machine, `ls ${SUPPORT} 2>&1 || true`)).toContain('No such file');
  const names = ['ActiveState', 'NeedDaemonReload', 'Type', 'MainPID'] as const;
  const seen = await show(machine, ...names);
  expect(seen).toMatchObject({ ActiveState: 'active', NeedDaemonReload: 'no', Type: 'simple' });
  await completeJob(machine);

  const again = await deploy({ 'roll-back': transaction });
  expectOneError(again);
  expect(again.log).toContain(`transaction ${transaction} is already undone`);
  expect(again.log).toContain('where: input roll-back');
  // As the pipeline asks: it only must no longer run.
  const gone = await deploy({ 'roll-back': `newest:${transaction}` });
  expect(gone.code, gone.log).toBe(0);
  expect(gone.log).toContain(`The host has already undone transaction ${transaction}`);
  expect(gone.outputs).toMatchObject({ changed: 'false', result: 'undone', transaction: '' });
  expect(await show(machine, ...names)).toEqual(seen);
  const previous = await deploy({ 'roll-back': 'previous' });
  expectOneError(previous);
  expect(previous.log).toContain('nothing was released on this host');
});

test('a release that another run has replaced is not undone beneath it', {
  tags: ['nightly'],
}, async () => {
  const limit = { 'max-tasks-per-child': '50', 'confirm-within': '1h' };
  const older = await deploy(limit);
  const newer = await deploy({ ...limit, 'max-tasks-per-child': '60' });
  expect([older.code, newer.code], older.log + newer.log).toEqual([0, 0]);
  const text = await machine.readFile(UNIT_PATH);
  const before = await show(machine, 'MainPID');

  const late = await deploy({ 'roll-back': `newest:${older.outputs.transaction}` });
  expectOneError(late);
  expect(late.log).toMatch(/another release has replaced .*; nothing was undone/);
  expect(late.outputs).toEqual({ result: 'superseded' });
  expect(await machine.readFile(UNIT_PATH)).toBe(text);
  expect(await show(machine, 'MainPID')).toEqual(before);

  // The gate of the newer one judges both.
  const gate = await verify({ gate: 'none' });
  expect(gate.code, gate.log).toBe(0);
  expect(gate.outputs.confirmed).toBe(`${newer.outputs.transaction},${older.outputs.transaction}`);
});
