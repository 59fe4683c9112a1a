import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { ActionName } from '../../src/config/action-inputs.ts';
import type { Check } from '../../src/model/verdict.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { type Inputs, inputsFor, taskListLimits } from './lib/inputs.ts';
import { shell } from './lib/worker.ts';

/** A task of the project, which counts rows through a model. */
const TASK = 'orders.tasks.count_unpaid';

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'django', state: 'django' });
});

afterAll(() => machine?.stop());

const act = (action: ActionName, inputs: Inputs = {}): Promise<BundleRun> =>
  runBundle(action, inputsFor(machine, inputs));

const gateOf = (run: BundleRun): readonly Check[] =>
  (JSON.parse(run.outputs.checks ?? '[]') as Check[]).filter(({ id }) =>
    ['gate-job', 'gate-batch'].includes(id),
  );

test('the release is confirmed: canaries return, and so do results that Django stores', async () => {
  const deploy = await act('deploy-worker', { ...taskListLimits, 'confirm-within': '1h' });
  expect(deploy.code, deploy.log).toBe(0);
  // The other programs that run in the app's own Python.
  expect(deploy.log).toContain('the app shop imports as user deploy in /srv/shop');
  expect(deploy.log).toContain('celery-worker.service stopped consuming; no task was running');
  expect(deploy.log).toContain('no unacknowledged message of a dead worker');

  const canaries = await act('verify');
  expect(canaries.code, canaries.log).toBe(0);
  expect(gateOf(canaries).map(({ verdict }) => verdict)).toEqual(['pass', 'pass']);
  expect(canaries.log).toContain(`Confirmed: transaction ${deploy.outputs.transaction}.`);

  const calls = await act('verify', { gate: 'task', 'gate-task': TASK });
  expect(calls.code, calls.log).toBe(0);
  expect(gateOf(calls).map(({ verdict }) => verdict)).toEqual(['pass', 'pass']);
  // The results were read from there, and taken away again.
  const results = 'django_celery_results_taskresult';
  expect(
    await shell(
      machine,
      `sqlite3 /srv/shop/db.sqlite3 "SELECT seq > 0 FROM sqlite_sequence WHERE name = '${results}'; SELECT count(*) FROM ${results}"`,
    ),
  ).toBe('1\n0');
});

test('a failure before the first probe is reported with the end of its traceback', async () => {
  await shell(machine, "echo 'import no_such_module' >>/srv/shop/orders/tasks.py");
  const run = await act('verify');
  expect(run.code).toBe(1);
  const [job, batch] = gateOf(run);
  const line = "ModuleNotFoundError: No module named 'no_such_module'";
  expect(job).toMatchObject({ verdict: 'fail', seen: `the app's tasks do not import: ${line}` });
  expect(job?.evidence.slice(-3)).toEqual([
    expect.stringMatching(/^ {2}File "\/srv\/shop\/orders\/tasks\.py", line \d+, in <module>$/),
    '    import no_such_module',
    line,
  ]);
  expect(batch?.verdict).toBe('unknown');
  expect(run.log).toContain(`    ${line}\n`);
});
