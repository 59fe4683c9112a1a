import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { inputsFor } from '../host/lib/inputs.ts';
import { waitUntil } from '../host/lib/worker.ts';
import { runWorkflow, type WorkflowRun } from '../lib/act.ts';
import { runBundle } from '../lib/bundle.ts';
import { outputsOf, resultsOf } from './deploy-host.ts';

const step = 'The release that runs';

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'workflow-soak', state: 'healthy' });
  const inputs = {
    'min-healthy-time': '1s',
    'confirm-within': 'off',
    concurrency: '2',
    'soak-hours': '0.001',
  };
  const deployed = await runBundle('deploy-worker', inputsFor(machine, inputs));
  expect(deployed.code, deployed.log).toBe(0);
});
afterAll(() => machine?.stop());

const onSchedule = (hours: string): Promise<WorkflowRun> =>
  runWorkflow('soak.yml', 'schedule', machine, { variables: { CELERIAC_SOAK_HOURS: hours } });

/** Without the job, and no step but these. */
const expectOnlySoak = (run: WorkflowRun): void => {
  expect(run.code, run.lines.join('\n')).toBe(0);
  expect(Object.keys(resultsOf(run))).toEqual(['actions/checkout', step, 'Report']);
};

it('judges on schedule until the release is proven, and opens no issue', async () => {
  const early = await onSchedule('24');
  expectOnlySoak(early);
  expect(outputsOf(early, step).soak).toBe('unproven');
  let last = early;
  await waitUntil('it is proven', async () => {
    await machine.run('systemctl start celeriac-sampler.service');
    last = await onSchedule('0.001');
    return outputsOf(last, step).soak === 'proven';
  });
  expectOnlySoak(last);
  expect(JSON.parse(outputsOf(last, step)['soak-report'] ?? '')).toMatchObject({
    state: 'proven',
    unit: 'celery-worker.service',
    rolledBackTo: null,
  });
  expect(last.summaries.join('\n')).toContain('Proven: ');
}, 300_000);

it('has nothing to do without a soak', async () => {
  const run = await onSchedule('0');
  expect([run.code, run.steps]).toEqual([0, []]);
});
