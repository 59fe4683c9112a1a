import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { Report } from '../../src/model/report.ts';
import { reportShape } from '../../src/report/report-shape.ts';
import { runWorkflow, type WorkflowRun } from '../lib/act.ts';
import { takeFingerprint } from '../lib/fingerprint.ts';
import * as deploy from './deploy-host.ts';
import { outputsOf, rehearse, resultsOf, unitPath } from './deploy-host.ts';

const appPath = '/root/slideshow/backend/celery_app.py';

let machine: Machine;
/** The unit before Celeriac came. */
let original: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'workflow-deploy', state: 'before' });
  original = await machine.readFile(unitPath);
});
beforeEach(() => machine.reset());
afterAll(async () => {
  await machine?.stop();
});

const push = (variables: Readonly<Record<string, string>> = {}) =>
  deploy.push(machine, { variables: { ...deploy.variables, ...variables } });
const ask = (command: string) => deploy.ask(machine, command);
const serveJob = () => deploy.serveJob(machine);

/** A line of the unit's properties, as `systemctl show` has them. */
const unitState = (): Promise<string> =>
  ask(
    'systemctl show celery-worker -p ActiveState,SubState,MainPID,InvocationID --value | paste -sd " "',
  );

it('shows the plan, repairs the host, has nothing to do the second time, and rolls back by hand', async () => {
  await look();
  await heal();
  await repeat();
  await goBack();
});

/** Run by hand with dry-run: it shows everything and changes nothing. */
async function look(): Promise<void> {
  const before = await takeFingerprint(machine);
  const run = await rehearse(machine);
  expect(run.lines.join('\n')).toContain('+ExecStart=');
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Inputs: 'success',
    Swap: 'success',
    Worker: 'success',
    'Stuck jobs': 'success',
  });
  expect(run.code).toBe(0);
  expect(outputsOf(run, 'Stuck jobs')).toMatchObject({ found: '20', repaired: '0' });
  expect(await takeFingerprint(machine)).toEqual(before);
}

async function heal(): Promise<void> {
  const run = await push();
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Inputs: 'success',
    Swap: 'success',
    Worker: 'success',
    'Stuck jobs': 'success',
    Gate: 'success',
    Report: 'success',
  });
  const report = uploaded(run);
  expect(report.json).toMatchObject({
    unit: 'celery-worker.service',
    verdict: { conclusion: 'healthy' },
    releases: [
      { release: 1, state: 'unproven' },
      { release: 0, state: 'before' },
    ],
    unitDiff: { release: 1, cut: false, text: expect.stringContaining('+Type=notify') },
    repairs: [{ rows: 20 }],
  });
  expect(report.page).toContain('<p class="word">Healthy</p>');
  expect(report.page).not.toContain('PRIVATE KEY');
  expect(run.code).toBe(0);
  expect(run.lines.join('\n')).not.toContain('PRIVATE KEY');
  // act brings all that the steps use: it has nothing to fetch, and nothing to complain of.
  expect(run.lines.filter((line) => line.startsWith('  act: '))).toEqual([]);
  expect(outputsOf(run, 'Gate')).toMatchObject({ healthy: 'true' });
  expect(run.summaries).toHaveLength(4);

  expect(await ask('systemctl show celery-worker -p ActiveState,Type --value')).toBe(
    'notify\nactive',
  );
  expect(await ask('pgrep -fc "celery -A celery_app worker"')).toBe('2');
  const stuck = "select count(*) from jobs where status = 'processing'";
  expect(await ask(`sqlite3 /root/slideshow/backend/batch_processing.db "${stuck}"`)).toBe('0');
  expect(await serveJob()).toBe('completed');
}

async function repeat(): Promise<void> {
  const before = await takeFingerprint(machine);
  const run = await push();
  expect(run.code).toBe(0);
  for (const step of ['Swap', 'Worker', 'Stuck jobs']) {
    expect(outputsOf(run, step)).toMatchObject({ changed: 'false', transaction: '' });
  }
  expect(outputsOf(run, 'Gate')).toMatchObject({ healthy: 'true' });
  expect(await takeFingerprint(machine)).toEqual(before);
}

/** From the ledger of the host. */
async function goBack(): Promise<void> {
  const roll = (inputs: Readonly<Record<string, string>>) =>
    runWorkflow('rollback.yml', 'workflow_dispatch', machine, { inputs });
  const dry = await roll({ release: '0', 'dry-run': 'true' });
  expect(dry.code).toBe(0);
  expect(dry.lines.join('\n')).toMatch(/Dry run: release 1 \(\w{7}\) of .* would be undone/);
  const run = await roll({ release: 'previous', 'dry-run': 'false' });
  expect(run.code).toBe(0);
  expect(run.lines.join('\n')).toMatch(/Undone: release 1 .*; process \d+ was not started again/);
  expect(await machine.readFile(unitPath)).toBe(original);
  expect(await ask('pgrep -fc "celery -A celery_app worker"')).toBe('6');
  expect(await serveJob()).toBe('completed');
}

/** The page and the JSON that the workflow keeps. */
function uploaded({ artifacts }: WorkflowRun): { readonly json: Report; readonly page: string } {
  expect(Object.keys(artifacts)).toEqual(['celeriac-report-1']);
  const files = artifacts['celeriac-report-1'] ?? {};
  const json: unknown = JSON.parse(files['report.json'] ?? 'null');
  expect(reportShape.strict().safeParse(json).error).toBeUndefined();
  return { json: json as Report, page: files['report.html'] ?? '' };
}

it('rolls the worker back if the gate fails', { tags: ['nightly'] }, async () => {
  const run = await push({
    CELERIAC_HTTP_PROBES: 'http://127.0.0.1/no-such-page',
    CELERIAC_DATABASE: 'none',
  });
  expect(run.code).toBe(1);
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Inputs: 'success',
    Swap: 'success',
    Worker: 'success',
    'Stuck jobs': 'success',
    Gate: 'failure',
    'Roll the worker back': 'success',
    Report: 'success',
  });
  const failed = uploaded(run).json.checks.filter(({ verdict }) => verdict === 'fail');
  expect(failed.map(({ id }) => id)).toEqual(['http']);
  const log = run.lines.join('\n');
  expect(log).toContain('`database: none`');
  expect(log).toMatch(/GET http:\/\/127\.0\.0\.1\/no-such-page: 404/);
  expect(log).toContain('Undone: transaction');
  expect(await machine.readFile(unitPath)).toBe(original);
  expect(await ask('systemctl show celery-worker -p ActiveState,NeedDaemonReload --value')).toBe(
    'active\nno',
  );
  expect(await ask('pgrep -fc "celery -A celery_app worker"')).toBe('6');
  expect(await serveJob()).toBe('completed');
});

it('fails if the app cannot be imported, and the old worker keeps serving', {
  tags: ['nightly'],
}, async () => {
  const state = await unitState();
  const app = await machine.readFile(appPath);
  await machine.writeFile(appPath, `${app}\nimport not_installed_anywhere\n`);
  const ownership = `stat -c '%A %U:%G' ${unitPath}`;
  const owned = await ask(ownership);
  const before = await takeFingerprint(machine, ['/root/slideshow/backend/celery_app.py']);
  const run = await push();
  expect(run.code).toBe(1);
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Inputs: 'success',
    Swap: 'success',
    Worker: 'failure',
  });
  expect(run.lines.join('\n')).toContain("No module named 'not_installed_anywhere'");
  // The transaction, its journal and its guard's units are kept; nothing else is new.
  const after = await takeFingerprint(machine, ['/root/slideshow/backend/celery_app.py']);
  // The unit was installed, and put back.
  const isKept = (name: string): boolean =>
    name === unitPath ||
    /^\/var\/lib\/celeriac(?:\/|$)/.test(name) ||
    /^\/etc\/systemd\/system\/celeriac-guard\.(?:service|timer)$/.test(name);
  const rest = (all: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !isKept(name)));
  expect(rest(after)).toEqual(rest(before));
  expect(await machine.readFile(unitPath)).toBe(original);
  expect(await ask(ownership)).toBe(owned);
  expect(await unitState()).toBe(state);
  await machine.writeFile(appPath, app);
  expect(await serveJob()).toBe('completed');
});
