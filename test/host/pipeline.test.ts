import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import type { BundleRun } from '../lib/bundle.ts';
import type { HostProcess } from '../lib/processes.ts';
import { ActionRuns, dryRun } from './lib/action-runs.ts';
import { holdJobs, installHeldJobs } from './lib/held-jobs.ts';
import { captureHost, listProcesses, processesBeside } from './lib/host-state.ts';
import { taskListLimits } from './lib/inputs.ts';
import { printedPlan } from './lib/plan-log.ts';
import { mendedUnit } from './lib/units.ts';
import {
  BACKEND,
  beginOf,
  DATABASE,
  isRunningAt,
  listTransactions,
  makeJob,
  type Row,
  readRows,
  readTransaction,
  receivedJobs,
  sendJobs,
  shell,
  show,
  UNIT,
  UNIT_PATH,
  waitUntil,
} from './lib/worker.ts';

/**
 * What nobody may end: another app's worker in a unit of its own, one by hand in another directory,
 * and two commands that only speak of Celery. What ps shows of a worker is all that tells it, so
 * these need not work.
 */
const BYSTANDERS = `
mkdir -p /opt/other
printf '#!/usr/bin/python3\\nimport time\\ntime.sleep(86400)\\n' >/opt/other/celery
chmod +x /opt/other/celery
systemd-run --quiet --unit=other-worker -p WorkingDirectory=/opt/other \
  /opt/other/celery -A celery_app worker --loglevel=info
cd /opt/other
nohup setsid /opt/other/celery -A celery_app worker --loglevel=info >/dev/null 2>&1 </dev/null &
cd ${BACKEND}
nohup setsid tail -F /tmp/celery-1.log >/dev/null 2>&1 </dev/null &
nohup setsid sh -c 'while sleep 86400; do :; done; : celery -A celery_app worker' \
  >/dev/null 2>&1 </dev/null &
`;

let machine: Machine;
let runs: ActionRuns;

beforeAll(async () => {
  machine = await startMachine({ name: 'pipeline' });
});

beforeEach(async () => {
  await machine.reset();
  runs = await ActionRuns.on(machine);
  await installHeldJobs(machine);
  // Its workers know the task by which the test holds them.
  await machine.breakInto('before');
  await machine.run(BYSTANDERS);
});

afterAll(() => machine?.stop());

/** How many tasks workers received so far, and how many wait in each queue. */
const countTasks = () =>
  shell(
    machine,
    `(journalctl -o cat -u ${UNIT}; cat /tmp/celery-[123].log) | grep -c '\\] received$'
    for queue in celery batch links variations; do redis-cli llen $queue; done`,
  );

const gateTask = { gate: 'task', 'gate-task': 'tasks.process_job' };

test('a dry run of all four actions changes nothing, nor does a user without sudo', {
  tags: ['nightly'],
}, async () => {
  const tasks = await countTasks();
  const before = await captureHost(machine);
  const provision = await runs.succeed('provision', dryRun);
  const deploy = await runs.succeed('deploy-worker', { ...taskListLimits, ...dryRun });
  const cleanup = await runs.succeed('cleanup', dryRun);
  // This worker answers no canary, so nothing but the dry run keeps a task of its own from it.
  const verify = await runs.act('verify', { ...dryRun, ...gateTask });
  const refused = await runs.act('provision', {}, 'nosudo');
  expect(await captureHost(machine)).toEqual(before);
  expect(await countTasks()).toBe(tasks);

  for (const run of [provision, deploy, cleanup]) {
    expect(run.outputs).toMatchObject({ changed: 'false', transaction: '' });
  }
  for (const run of [deploy, cleanup]) expect(run.log).toContain('nothing was changed');
  expect(printedPlan(deploy.log)).toContain('--concurrency=1');
  expect(printedPlan(deploy.log)).toMatch(/end 3 stray workers: \d+, \d+, \d+ —/);
  expect(cleanup.outputs).toMatchObject({ found: '20', repaired: '0' });
  expect(verify.code).toBe(1);
  expect(verify.outputs.healthy).toBe('false');
  expect(verify.log).toContain('dry run, would send: 1 call of tasks.process_job');
  expect(verify.log).toMatch(/^verify: stray workers: 3 workers; expected none/m);
  expect(refused.code).toBe(1);
  expect(refused.log).toContain('nosudo may not use sudo without a password');
  expect(refused.log).toContain('NOPASSWD');

  expect(Object.keys(before).filter((name) => /celeriac|^\/swapfile/.test(name))).toEqual([]);
});

test('the host is repaired: one worker as desired, no task lost, stuck rows failed, verified; then nothing to do', async () => {
  await deployWorker();
  await cleanUp();
  await verifyWorker();
  await repeatAll();
});

async function deployWorker(): Promise<void> {
  const before = await listProcesses(machine);
  const oldMain = Number((await show(machine, 'MainPID')).MainPID);
  const strays = before.filter(
    ({ command, parent, group }) =>
      /celery -A celery_app worker --loglevel=info$/.test(command) &&
      !command.includes('/opt/other') &&
      parent === 1 &&
      group.includes('/session-'),
  );
  expect(strays).toHaveLength(3);
  const mains = [oldMain, ...strays.map(({ pid }) => pid)];
  const isOld = ({ pid, parent }: HostProcess) => mains.includes(pid) || mains.includes(parent);

  const tasks = await occupy(before.filter(({ parent }) => mains.includes(parent)).length);
  const run = await runs.carryOut('deploy-worker', taskListLimits, 'root', tasks.letGo);

  const swaps = await shell(machine, 'tail -n +2 /proc/swaps');
  expect(await machine.readFile(UNIT_PATH)).toBe(
    mendedUnit({ watchdogSeconds: 300, hasSwap: swaps !== '', hadLimits: false }),
  );
  await expectAsAsked(swaps !== '');

  const after = await listProcesses(machine);
  // systemd's own watchdogs may start its parts anew on a machine that stood still.
  const ended = withoutSystemd(processesBeside(before, after));
  expect(ended).toEqual(before.filter(isOld));
  const begun = withoutSystemd(processesBeside(after, before));
  const { MainPID } = await show(machine, 'MainPID');
  expect(begun.map(({ group }) => group)).toEqual(Array(2).fill(`/system.slice/${UNIT}`));
  expect(begun.map(({ pid, parent }) => (String(pid) === MainPID ? 'main' : parent))).toEqual([
    'main',
    Number(MainPID),
  ]);
  const isBystander = ({ command }: { command: string }) =>
    /\/opt\/other\/celery|^tail -F|^sh -c while|^\/usr\/bin\/redis-server|^\/usr\/bin\/python3 web\.py/.test(
      command,
    );
  expect(after.filter(isBystander)).toHaveLength(6);
  expect(after.filter(isBystander)).toEqual(before.filter(isBystander));
  expect(run.log).toContain('it runs celery_app in another directory (/opt/other)');
  // What is said to one of those with the same name reaches all. Once the strays have ended, the
  // worker of the unit is the only one.
  expect(run.log).toContain('4 workers share the node name celery@vps');
  expect(run.log).toContain('stopped consuming; 5 tasks finished within');
  expect(run.log).toContain('managed by other-worker.service');
  await tasks.expectNoneLost(run);
}

/** Without what runs for a moment by a timer, of systemd and of our own. */
const withoutSystemd = (all: readonly HostProcess[]): readonly HostProcess[] =>
  all.filter(
    ({ command, group }) =>
      !command.startsWith('/lib/systemd/systemd-') &&
      !/\/celeriac-(?:guard|sampler)\.service$/.test(group),
  );

async function expectAsAsked(hasSwap: boolean): Promise<void> {
  expect(
    await show(
      machine,
      ...(['ActiveState', 'SubState', 'UnitFileState', 'NeedDaemonReload', 'NRestarts'] as const),
      ...(['Type', 'NotifyAccess', 'KillMode', 'KillSignal', 'TimeoutStartUSec'] as const),
      ...(['TimeoutStopUSec', 'Restart', 'RestartUSec', 'MemoryMax', 'MemoryHigh'] as const),
      ...(['OOMPolicy', 'WatchdogUSec', 'StartLimitIntervalUSec', 'StartLimitBurst'] as const),
    ),
  ).toEqual({
    ActiveState: 'active',
    SubState: 'running',
    UnitFileState: 'enabled',
    NeedDaemonReload: 'no',
    NRestarts: '0',
    Type: 'notify',
    NotifyAccess: 'main',
    KillMode: 'mixed',
    KillSignal: '15',
    TimeoutStartUSec: '2min',
    TimeoutStopUSec: '16min',
    Restart: 'always',
    RestartUSec: '10s',
    MemoryMax: '838860800',
    MemoryHigh: hasSwap ? '629145600' : 'infinity',
    OOMPolicy: 'continue',
    WatchdogUSec: '5min',
    StartLimitIntervalUSec: '5min',
    StartLimitBurst: '5',
  });
}

const readJobs = async (ids: readonly string[]): Promise<readonly Row[]> =>
  ((await readRows(machine)).jobs ?? []).filter(({ id }) => ids.includes(String(id)));

const receivedIn = async (command: string) =>
  receivedJobs(await shell(machine, `journalctl --sync; ${command}`));

/**
 * Gives each child of each worker a task that runs until that worker has been told to stop, and
 * leaves three more in the queue, which nobody is free to take but the new worker.
 */
async function occupy(children: number) {
  const { jobs: held, letGo } = await holdJobs(machine, children);
  const waiting = Array.from({ length: 3 }, () => makeJob(0));
  const heldIds = held.map(({ id }) => id);
  const ids = [...held, ...waiting].map(({ id }) => id);
  await sendJobs(machine, held);
  await waitUntil('every child is at work', async () => {
    const rows = await readJobs(heldIds);
    return rows.filter(({ status }) => status === 'processing').length === children;
  });
  await sendJobs(machine, waiting);
  const byUnit = await receivedIn(`journalctl -o cat -u ${UNIT}`);
  const logs = [1, 2, 3].map((number) => `/tmp/celery-${number}.log`);
  const byStrays = await receivedIn(`cat ${logs.join(' ')}`);
  expect([...byUnit, ...byStrays].toSorted()).toEqual(heldIds.toSorted());
  expect(byUnit).toHaveLength(5);

  return {
    async letGo(): Promise<void> {
      const told = (log: string, words: string, count: number) =>
        waitUntil(`${words}, by ${log}`, async () => {
          const lines = await shell(machine, `${log} | grep -ci '${words}' || true`);
          return Number(lines) >= count;
        });
      // All strays at the same time, while the worker of the unit serves.
      const logsOfStrays = logs.map((path) => `cat ${path}`);
      for (const log of logsOfStrays) await told(log, 'warm shutdown', 1);
      for (const log of logsOfStrays) await letGo(await receivedIn(log));
      const logOfUnit = `journalctl -o cat -u ${UNIT}`;
      // Each of its four queues.
      await told(logOfUnit, 'canceling queue', 4);
      await letGo(await receivedIn(logOfUnit));
    },

    /** Each was worked on once, to its end: those of the old workers while they stopped. */
    async expectNoneLost({ outputs }: BundleRun): Promise<void> {
      await waitUntil('all jobs are completed', async () => {
        const statuses = (await readJobs(ids)).map(({ status }) => status);
        return statuses.length === ids.length && statuses.every((each) => each === 'completed');
      });
      const invocation = await shell(machine, `systemctl show -P InvocationID ${UNIT}`);
      const byNew = await receivedIn(`journalctl -o cat _SYSTEMD_INVOCATION_ID=${invocation}`);
      expect(byNew.toSorted()).toEqual(waiting.map(({ id }) => id).toSorted());
      const all = [
        ...(await receivedIn(`journalctl -o cat -u ${UNIT}`)),
        ...(await receivedIn(`cat ${logs.join(' ')}`)),
      ];
      expect(all.toSorted()).toEqual(ids.toSorted());
      const done = await readTransaction(machine, outputs.transaction ?? '');
      for (const [op, theirs] of [
        ['drain-worker', byUnit],
        ['end-process', byStrays],
      ] as const) {
        const begun = beginOf(done, op);
        const running = (await readJobs(theirs)).filter((row) => isRunningAt(begun, row));
        expect(running.map(({ id }) => String(id)).toSorted()).toEqual(theirs.toSorted());
      }
    },
  };
}

/** The stuck rows failed, no other row touched, a backup that opens; by a user who may sudo. */
async function cleanUp(): Promise<void> {
  const before = await readRows(machine);
  const run = await runs.carryOut('cleanup', { 'confirm-after': '1s' }, 'deploy');
  expect(run.outputs).toMatchObject({ found: '20', repaired: '20' });

  const after = await readRows(machine);
  const stuck = (table: string, row: Row) =>
    row.status === 'processing' || (table === 'batch_variations' && row.status === 'pending');
  const counts: Record<string, number> = {};
  for (const [table, rows] of Object.entries(before)) {
    expect(after[table]).toHaveLength(rows.length);
    counts[table] = rows.filter((row) => stuck(table, row)).length;
    for (const [index, row] of rows.entries()) {
      const now = after[table]?.[index];
      if (!stuck(table, row)) {
        expect(now).toEqual(row);
        continue;
      }
      const changed = {
        status: 'failed',
        completed_at: expect.stringMatching(/^20\d\d-\d\d-\d\d/),
        error_message: expect.stringMatching(/\S/),
        ...(table === 'jobs' && { failed_links: 6 }),
      };
      expect(now).toEqual({ ...row, ...changed });
    }
  }
  expect(counts).toEqual({
    jobs: 2,
    batches: 4,
    batch_links: 12,
    batch_variations: 2,
    video_jobs: 0,
  });

  const backups = await shell(machine, 'find /var/lib/celeriac/backups -type f');
  expect(backups).toMatch(/^\/var\/lib\/celeriac\/backups\/batch_processing-\S+\.db$/);
  expect(await shell(machine, `stat -c '%a %U' ${backups}`)).toBe('600 root');
  expect(await shell(machine, `sqlite3 ${backups} 'PRAGMA integrity_check'`)).toBe('ok');
  expect(await readRows(machine, backups)).toEqual(before);
}

/** Healthy, by real jobs through all four queues. */
async function verifyWorker(): Promise<void> {
  const inputs = {
    'memory-max': '800M',
    concurrency: '1',
    'http-probes': 'http://127.0.0.1/api/health',
    database: DATABASE,
  };
  const run = await runs.succeed('verify', inputs);
  expect(run.outputs.healthy).toBe('true');
  // What the kernel of its host keeps from a container can't be checked.
  const mayBeUnknown = [
    'swap',
    'memory',
    'memory-events',
    'pressure',
    'oom',
    'kernel-oom',
    'gate-peak',
    'gate-oom',
    'memory-return',
  ];
  const checks = JSON.parse(run.outputs.checks ?? '[]') as { id: string; verdict: string }[];
  expect(
    checks.filter(
      ({ id, verdict }) =>
        verdict !== 'pass' && !(verdict === 'unknown' && mayBeUnknown.includes(id)),
    ),
  ).toEqual([]);
  const invocation = await shell(machine, `systemctl show -P InvocationID ${UNIT}`);
  const received = await shell(
    machine,
    `journalctl --sync; journalctl -o cat _SYSTEMD_INVOCATION_ID=${invocation} | grep 'canary.* succeeded'`,
  );
  expect(received.split('\n')).toHaveLength(4);
  expect(run.log).toContain('3 canaries to batch, links and variations: done');
}

/** The second plans are empty, and nothing on the host differs. */
async function repeatAll(): Promise<void> {
  const transactions = await listTransactions(machine);
  const tasks = await countTasks();
  const before = await captureHost(machine);
  for (const action of ['deploy-worker', 'cleanup'] as const) {
    const run = await runs.succeed(action);
    expect(run.outputs).toMatchObject({ changed: 'false', transaction: '' });
    expect(run.log).toContain('Nothing to do: the host is in the desired state.');
    expect(run.log).not.toContain('the plan');
  }
  // Here the canaries would be answered.
  const verify = await runs.succeed('verify', dryRun);
  expect(verify.log).toContain('dry run, would send: 1 canary to celery');
  expect(await captureHost(machine)).toEqual(before);
  expect(await countTasks()).toBe(tasks);
  expect(await listTransactions(machine)).toEqual(transactions);
  expect(transactions).toHaveLength(2);
}
