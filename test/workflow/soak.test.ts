import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { type Inputs, inputsFor } from '../host/lib/inputs.ts';
import { shell, UNIT, waitUntil } from '../host/lib/worker.ts';
import { runWorkflow, type WorkflowRun } from '../lib/act.ts';
import { runBundle } from '../lib/bundle.ts';
import { IssuesApi } from '../lib/issues-api.ts';
import { outputsOf, resultsOf } from './deploy-host.ts';

const step = 'Running release';

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'workflow-soak', state: 'healthy' });
  await deploy({ concurrency: '2', 'soak-hours': '0.001' });
});
afterAll(() => machine?.stop());

async function deploy(more: Inputs): Promise<void> {
  const inputs = { 'min-healthy-time': '1s', 'confirm-within': 'off', ...more };
  const deployed = await runBundle('deploy-worker', inputsFor(machine, inputs));
  expect(deployed.code, deployed.log).toBe(0);
}

const onSchedule = (hours: string): Promise<WorkflowRun> =>
  runWorkflow('soak.yml', 'schedule', machine, { variables: { CELERIAC_SOAK_HOURS: hours } });

/** Without the issue's job, and no step but these. */
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

it('opens one issue for a release that failed, and keeps it up to date', {
  tags: ['nightly'],
  timeout: 600_000,
}, async () => {
  await using api = await IssuesApi.open();
  const env = {
    NODE_OPTIONS: `--import=${join(import.meta.dirname, '../fixtures/issues-api.mjs')}`,
    CELERIAC_TEST_API: api.url,
    CELERIAC_TEST_REPOSITORY: api.repository,
  };
  await deploy({ concurrency: '1' });
  const sample = () => machine.run('systemctl start celeriac-sampler.service');
  await sample();
  await machine.run(`systemctl kill --kill-who=main --signal=KILL ${UNIT}`);
  await waitUntil('systemd has restarted it', async () =>
    (await shell(machine, `systemctl show -p NRestarts -p ActiveState ${UNIT}`)).includes(
      'NRestarts=1\nActiveState=active',
    ),
  );
  await sample();
  for (const [asked, round] of [
    [['/graphql', `/repos/${api.repository}/issues`], 1],
    [['/graphql'], 2],
  ] as const) {
    const run = await runWorkflow('soak.yml', 'schedule', machine, { env, token: api.token });
    expect(run.code, run.lines.join('\n')).toBe(1);
    const results = resultsOf(run);
    expect([results[step], results['Failed release']]).toEqual(['failure', 'success']);
    expect(api.issues).toMatchObject([
      { title: `Release 2 of ${UNIT} failed its soak`, state: 'open' },
    ]);
    expect(
      api.requests.splice(0).map(({ path }) => path),
      `round ${round}`,
    ).toEqual(asked);
  }
  expect(api.issues[0]?.body).toContain('systemd restarted the worker');
});

it('has nothing to do without a soak', async () => {
  const run = await onSchedule('0');
  expect([run.code, run.steps]).toEqual([0, []]);
});
