import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { runWorkflow, type WorkflowOptions, type WorkflowRun } from '../lib/act.ts';
import { takeFingerprint } from '../lib/fingerprint.ts';

const unitPath = '/etc/systemd/system/celery-worker.service';
const appPath = '/root/slideshow/backend/celery_app.py';
const variables = { CELERIAC_HTTP_PROBES: 'http://127.0.0.1/api/health' };

let machine: Machine;
/** The unit before Celeriac came. */
let original: string;

beforeAll(async () => {
  machine = await startMachine({ name: 'workflow-deploy', state: 'before' });
  original = await machine.readFile(unitPath);
});
afterAll(async () => {
  await machine?.stop();
});

const push = (options: WorkflowOptions = {}): Promise<WorkflowRun> =>
  runWorkflow('deploy.yml', 'push', machine, { variables, ...options });

const resultsOf = (run: WorkflowRun): Record<string, string> =>
  Object.fromEntries(run.steps.map(({ name, result }) => [name.replace(/@.*/, ''), result]));

const outputsOf = (run: WorkflowRun, step: string): Readonly<Record<string, string>> =>
  run.steps.find(({ name }) => name === step)?.outputs ?? {};

/** What a shell command prints, without the last line break. */
const ask = async (command: string): Promise<string> =>
  (await machine.run(command)).stdout.trimEnd();

/** A line of the unit's properties, as `systemctl show` has them. */
const unitState = (): Promise<string> =>
  ask(
    'systemctl show celery-worker -p ActiveState,SubState,MainPID,InvocationID --value | paste -sd " "',
  );

/** A job of the app's own, from the HTTP call to the finished row. */
async function serveJob(): Promise<string> {
  const start = `curl -sf -d links=https://example.com/1 -d photos=1 http://127.0.0.1/api/batch`;
  const { batch_id: batch } = JSON.parse(await ask(start)) as { batch_id: string };
  const status = `curl -sf http://127.0.0.1/api/batch/${batch}/status`;
  return await ask(
    `for _ in $(seq 120); do s=$(${status} | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])'); [ "$s" = completed ] && break; sleep 0.5; done; echo "$s"`,
  );
}

it('shows everything and changes nothing when it is run by hand with dry-run', async () => {
  const before = await takeFingerprint(machine);
  const run = await runWorkflow('deploy.yml', 'workflow_dispatch', machine, {
    variables,
    inputs: { 'dry-run': 'true' },
  });
  expect(run.lines.join('\n')).toContain('+ExecStart=');
  // Swap is on only on paper here: what the unit gets with it is said in words.
  expect(run.lines.join('\n')).toContain('With swap the unit also gets MemoryHigh=600M');
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Swap: 'success',
    Worker: 'success',
    'Stuck jobs': 'success',
  });
  expect(run.code).toBe(0);
  expect(outputsOf(run, 'Stuck jobs')).toMatchObject({ found: '20', repaired: '0' });
  expect(await takeFingerprint(machine)).toEqual(before);
});

it('heals the host', async () => {
  const run = await push();
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Swap: 'success',
    Worker: 'success',
    'Stuck jobs': 'success',
    Gate: 'success',
  });
  expect(run.code).toBe(0);
  expect(run.lines.join('\n')).not.toContain('PRIVATE KEY');
  // act brings all that the steps use: it has nothing to fetch, and nothing to complain of.
  expect(run.lines.filter((line) => line.startsWith('  act: '))).toEqual([]);
  expect(outputsOf(run, 'Gate')).toMatchObject({ healthy: 'true' });
  expect(run.summaries).toHaveLength(4);

  expect(await ask('swapon --show=NAME,SIZE --noheadings')).toBe('/swapfile   2G');
  expect(await ask('cat /proc/sys/vm/swappiness')).toBe('10');
  expect(await ask('grep -c /swapfile /etc/fstab')).toBe('1');
  expect(await ask('systemctl show celery-worker -p ActiveState,Type --value')).toBe(
    'notify\nactive',
  );
  expect(await ask('pgrep -fc "celery -A celery_app worker"')).toBe('2');
  const stuck = "select count(*) from jobs where status = 'processing'";
  expect(await ask(`sqlite3 /root/slideshow/backend/batch_processing.db "${stuck}"`)).toBe('0');
  expect(await serveJob()).toBe('completed');
});

it('finds nothing to do the second time', { tags: ['nightly'] }, async () => {
  const before = await takeFingerprint(machine);
  const run = await push();
  expect(run.code).toBe(0);
  for (const step of ['Swap', 'Worker', 'Stuck jobs']) {
    expect(outputsOf(run, step)).toMatchObject({ changed: 'false', transaction: '' });
  }
  expect(outputsOf(run, 'Gate')).toMatchObject({ healthy: 'true' });
  expect(await takeFingerprint(machine)).toEqual(before);
});

it('ends red where the app fails to import, and the old worker serves on', {
  tags: ['nightly'],
}, async () => {
  const state = await unitState();
  const app = await machine.readFile(appPath);
  await machine.writeFile(appPath, `${app}\nimport not_installed_anywhere\n`);
  const before = await takeFingerprint(machine, ['/root/slideshow/backend/celery_app.py']);
  const run = await push();
  expect(run.code).toBe(1);
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Swap: 'success',
    Worker: 'failure',
  });
  expect(run.lines.join('\n')).toContain("No module named 'not_installed_anywhere'");
  // The transaction and its journal are kept; nothing else is new.
  const after = await takeFingerprint(machine, ['/root/slideshow/backend/celery_app.py']);
  const isLedger = (name: string): boolean => name.startsWith('/var/lib/celeriac/');
  const rest = (all: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !isLedger(name)));
  expect(rest(after)).toEqual(rest(before));
  expect(await unitState()).toBe(state);
  await machine.writeFile(appPath, app);
  expect(await serveJob()).toBe('completed');
});

it('puts the worker back where the gate fails', async () => {
  const good = await machine.readFile(unitPath);
  const old = good.replace('--concurrency=1', '--concurrency=2').replace('MemoryMax=800M\n', '');
  await machine.writeFile(unitPath, old);
  await machine.run('systemctl daemon-reload && systemctl restart celery-worker');
  const run = await push({ variables: { CELERIAC_HTTP_PROBES: 'http://127.0.0.1/no-such-page' } });
  expect(run.code).toBe(1);
  expect(resultsOf(run)).toEqual({
    'actions/checkout': 'success',
    Swap: 'success',
    Worker: 'success',
    'Stuck jobs': 'success',
    Gate: 'failure',
    'Put the worker back': 'success',
  });
  const log = run.lines.join('\n');
  expect(log).toMatch(/GET http:\/\/127\.0\.0\.1\/no-such-page: 404/);
  expect(log).toContain('Put back: transaction');
  expect(await machine.readFile(unitPath)).toBe(old);
  expect(await ask('systemctl show celery-worker -p ActiveState,NeedDaemonReload --value')).toBe(
    'active\nno',
  );
  expect(await ask('pgrep -fc "celery -A celery_app worker"')).toBe('3');
  expect(await serveJob()).toBe('completed');
  await machine.writeFile(unitPath, good);
  await machine.run('systemctl daemon-reload');
});

it('goes back by hand, from the ledger of the host', async () => {
  const roll = (inputs: Readonly<Record<string, string>>) =>
    runWorkflow('rollback.yml', 'workflow_dispatch', machine, { inputs });
  const dry = await roll({ release: '0', 'dry-run': 'true' });
  expect(dry.code).toBe(0);
  expect(dry.lines.join('\n')).toMatch(/Dry run: release 1 \(\w{7}\) of .* would be undone/);
  const run = await roll({ release: 'previous', 'dry-run': 'false' });
  expect(run.code).toBe(0);
  expect(run.lines.join('\n')).toMatch(/Put back: release 1 .* is undone/);
  expect(await machine.readFile(unitPath)).toBe(original);
  expect(await ask('pgrep -fc "celery -A celery_app worker"')).toBe('6');
  expect(await serveJob()).toBe('completed');
});
