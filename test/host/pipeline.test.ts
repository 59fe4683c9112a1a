import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Machine, startMachine, type User } from '../../sandbox/machine.ts';
import type { ActionName } from '../../src/config/action-inputs.ts';
import { type BundleRun, runBundle } from '../lib/bundle.ts';
import { captureHost, listProcesses, processesBeside } from './lib/host-state.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import { countLogins, watchLogins } from './lib/logins.ts';
import { printedPlan, printedStory, storyOf } from './lib/plan-log.ts';
import {
  BACKEND,
  beginJobsBeforeReload,
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

/** The task list's own case: what it found, and what comes of it. */
const UNIT_AFTER = `[Unit]
Description=Celery Worker for TikTok Slideshow Generator
After=network.target redis.service redis-server.service
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
User=root
WorkingDirectory=/root/slideshow/backend
Environment=PYTHONPATH=/usr/local/lib/celeriac
ExecStart=/usr/bin/celery -A celery_app worker --loglevel=info --concurrency=1 -Q celery,batch,links,variations -I celeriac_support
Restart=always
RestartSec=10
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=960
MemoryMax=800M
MemoryHigh=600M
OOMPolicy=continue
WatchdogSec=300

[Install]
WantedBy=multi-user.target
`;

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

/** What the worker that runs now, and its children, wrote. */
const sinceStart = `journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID ${UNIT})`;

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'pipeline', state: 'before' });
  await watchLogins(machine);
  await machine.run(BYSTANDERS);
});

afterAll(() => machine?.stop());

/** Runs an action as its bundle; every run costs one login and one command. */
async function act(
  action: ActionName,
  inputs: Inputs = {},
  user: User = 'root',
): Promise<BundleRun> {
  const { result, logins } = await countLogins(machine, user, () =>
    runBundle(action, inputsFor(machine, inputs, user)),
  );
  expect(logins).toEqual({ accepted: 1, commands: 1, failed: 0 });
  expect(result.log).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
  return result;
}

async function succeed(
  action: ActionName,
  inputs: Inputs = {},
  user: User = 'root',
): Promise<BundleRun> {
  const run = await act(action, inputs, user);
  expect(run.code, run.log).toBe(0);
  return run;
}

const dryRun = { 'dry-run': 'true' };

/** A dry run, then the same for real: what it showed is what was done, to the letter. */
async function carryOut(action: ActionName): Promise<BundleRun> {
  const rehearsed = await succeed(action, dryRun);
  const run = await succeed(action);
  expect(run.outputs.changed).toBe('true');
  expect(printedPlan(run.log)).toBe(printedPlan(rehearsed.log));
  const transaction = await readTransaction(machine, run.outputs.transaction ?? '');
  expect(transaction.plan.meta.action).toBe(action);
  expect(transaction.plan.operations.length).toBeGreaterThan(0);
  expect(storyOf(transaction)).toBe(printedStory(run.log));
  expect(transaction.journal.at(-1)).toMatchObject({ event: 'ended', result: 'committed' });
  return run;
}

/** Jobs that reached Redis since `forget`; workers that are idle send none. */
const jobsSent = {
  forget: () => shell(machine, 'redis-cli config resetstat'),
  count: () => shell(machine, 'redis-cli info commandstats | grep -c "^cmdstat_[lr]push:" || true'),
};

async function expectSwap(): Promise<void> {
  const swaps = await shell(machine, "awk 'NR > 1 {print $1, $2, $3}' /proc/swaps");
  expect(swaps).toBe('/swapfile file 2097148');
  expect(await shell(machine, 'stat -c "%a %U %G %s" /swapfile')).toBe('600 root root 2147483648');
  expect(await shell(machine, 'grep swap /etc/fstab')).toBe('/swapfile none swap sw 0 0');
  expect(await shell(machine, 'cat /proc/sys/vm/swappiness')).toBe('10');
}

test('a dry run of all four changes nothing', { tags: ['nightly'], timeout: 900_000 }, async () => {
  await jobsSent.forget();
  const before = await captureHost(machine);
  const provision = await succeed('provision', dryRun);
  const deploy = await succeed('deploy-worker', dryRun);
  const cleanup = await succeed('cleanup', dryRun);
  // This worker answers no canary, so nothing but the dry run keeps a task of its own from it.
  const gate = { gate: 'task', 'gate-task': 'tasks.process_job' };
  const verify = await act('verify', { ...dryRun, ...gate });
  expect(await captureHost(machine)).toEqual(before);
  expect(await jobsSent.count()).toBe('0');

  for (const run of [provision, deploy, cleanup]) {
    expect(run.outputs).toMatchObject({ changed: 'false', transaction: '' });
    expect(run.log).toContain('nothing was changed');
  }
  expect(printedPlan(provision.log)).toContain('+/swapfile none swap sw 0 0');
  expect(printedPlan(deploy.log)).toContain('--concurrency=1');
  expect(printedPlan(deploy.log).match(/end the stray worker/g)).toHaveLength(3);
  // One run of all four comes to more than the host as it is now allows.
  expect(deploy.log).toContain('With swap the unit also gets MemoryHigh=600M');
  expect(cleanup.outputs).toMatchObject({ found: '20', repaired: '0' });
  expect(verify.code).toBe(1);
  expect(verify.outputs.healthy).toBe('false');
  expect(verify.log).toContain('dry run, would send: 1 call of tasks.process_job');
  expect(verify.log).toMatch(/^verify: stray workers: 3 workers; expected none/m);

  expect(Object.keys(before).filter((name) => /celeriac|^\/swapfile/.test(name))).toEqual([]);
});

test('provision: 2 GiB of swap, now and after a reboot', { timeout: 900_000 }, async () => {
  await carryOut('provision');
  await expectSwap();

  // What a boot does with what was written.
  await shell(machine, 'swapoff -a && sysctl -q vm.swappiness=60');
  await shell(machine, 'swapon -a && /lib/systemd/systemd-sysctl');
  await expectSwap();
});

/** Its worker takes nothing more then. */
const ONCE_IT_STOPS = `until systemctl is-active ${UNIT} | grep -qE '^(de|in)'; do sleep 0.5; done`;

/** systemd's own watchdogs may start its parts anew on a machine that stood still. */
const withoutSystemd = <Each extends { readonly command: string }>(all: readonly Each[]): Each[] =>
  all.filter(({ command }) => !command.startsWith('/lib/systemd/systemd-'));

test('deploy-worker: one worker as asked, and no task lost', { timeout: 1_500_000 }, async () => {
  const before = withoutSystemd(await listProcesses(machine));
  const oldMain = Number((await show(machine, 'MainPID')).MainPID);
  const strays = before.filter(
    ({ command, parent, group }) =>
      /celery -A celery_app worker --loglevel=info$/.test(command) &&
      !command.includes('/opt/other') &&
      parent === 1 &&
      group.includes('/session-'),
  );
  expect(strays).toHaveLength(3);

  // Eight are taken at once, by five children and three strays; the others by whoever is free. They
  // start once the new unit is written, and before it is read. Those of the strays come when the
  // unit takes no more, and outlast its stop.
  const early = Array.from({ length: 11 }, (_, index) => makeJob(index < 8 ? 30 : 60));
  const late = Array.from({ length: 3 }, () => makeJob(80));
  const jobs = [...early, ...late];
  const letGo = await beginJobsBeforeReload(machine, early.slice(0, 8), 'KillMode=mixed');
  const sent = sendJobs(machine, early, { path: UNIT_PATH, holds: 'KillMode=mixed' })
    .then(() => machine.run(ONCE_IT_STOPS, { timeoutSeconds: 900 }))
    .then(() => sendJobs(machine, late));
  const run = await carryOut('deploy-worker');
  await sent;
  await letGo();

  expect(await machine.readFile(UNIT_PATH)).toBe(UNIT_AFTER);
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
    MemoryHigh: '629145600',
    OOMPolicy: 'continue',
    WatchdogUSec: '5min',
    StartLimitIntervalUSec: '5min',
    StartLimitBurst: '5',
  });
  const cgroup = `/sys/fs/cgroup/system.slice/${UNIT}`;
  expect(await shell(machine, `cat ${cgroup}/memory.max ${cgroup}/memory.high`)).toBe(
    '838860800\n629145600',
  );

  const after = withoutSystemd(await listProcesses(machine));
  const ended = processesBeside(before, after);
  const own = (pid: number, parent: number) => pid === oldMain || parent === oldMain;
  const mains = strays.map(({ pid }) => pid);
  const ofStrays = (pid: number, parent: number) => mains.includes(pid) || mains.includes(parent);
  expect(ended.filter(({ pid, parent }) => !own(pid, parent) && !ofStrays(pid, parent))).toEqual(
    [],
  );
  expect(ended.filter(({ pid, parent }) => own(pid, parent))).toHaveLength(6);
  expect(ended.filter(({ pid, parent }) => ofStrays(pid, parent))).toHaveLength(6);
  const begun = processesBeside(after, before);
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
  // What is said to one of them reaches all: the stop itself waits.
  expect(run.log).toContain('is not drained: 4 workers are called celery@vps');
  expect(run.log).toContain('other-worker.service looks after it');

  await expectNoTaskLost(
    jobs.map(({ id }) => id),
    run.outputs.transaction ?? '',
    oldMain,
  );
});

/** Each was worked on once, to its end, some of them while the old workers were told to stop. */
async function expectNoTaskLost(
  ids: readonly string[],
  transaction: string,
  oldMain: number,
): Promise<void> {
  const readJobs = async (): Promise<readonly Row[]> =>
    ((await readRows(machine)).jobs ?? []).filter(({ id }) => ids.includes(String(id)));
  await waitUntil('all jobs are completed', async () => {
    const statuses = (await readJobs()).map(({ status }) => status);
    return statuses.length === ids.length && statuses.every((status) => status === 'completed');
  });
  const receivedIn = async (command: string) =>
    receivedJobs(await shell(machine, command)).filter((id) => ids.includes(id));
  const byUnit = await receivedIn(`journalctl -o cat _PID=${oldMain}`);
  const byStrays = await receivedIn('cat /tmp/celery-[123].log');
  const byNew = await receivedIn(sinceStart);
  expect([...byUnit, ...byStrays, ...byNew].sort()).toEqual([...ids].sort());

  const done = await readTransaction(machine, transaction);
  const jobs = await readJobs();
  const runningAt = (op: string, among: readonly string[]) =>
    jobs.filter((job) => among.includes(String(job.id)) && isRunningAt(beginOf(done, op), job));
  // Which of the three meets a task depends on how fast the machine is.
  const met = [
    ...runningAt('drain-worker', byUnit),
    ...runningAt('stop-unit', byUnit),
    ...runningAt('end-process', byStrays),
  ];
  expect(met).not.toEqual([]);
}

test('cleanup: the stuck rows failed, no other row touched, a backup that opens', {
  timeout: 900_000,
}, async () => {
  const before = await readRows(machine);
  const run = await carryOut('cleanup');
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
});

test('verify: healthy, by real jobs through all four queues', {
  tags: ['nightly'],
  timeout: 900_000,
}, async () => {
  const inputs = {
    'swap-size': '2G',
    'memory-max': '800M',
    'memory-high': '600M',
    concurrency: '1',
    'http-probes': 'http://127.0.0.1/api/health',
    database: DATABASE,
  };
  await jobsSent.forget();
  const run = await succeed('verify', inputs);
  expect(await jobsSent.count()).not.toBe('0');
  expect(run.outputs.healthy).toBe('true');
  const checks = JSON.parse(run.outputs.checks ?? '[]') as { title: string; state: string }[];
  expect(checks.filter(({ state }) => state !== 'passed')).toEqual([]);
  const received = await shell(machine, `${sinceStart} | grep 'canary.* succeeded'`);
  expect(received.split('\n')).toHaveLength(4);
  expect(run.log).toContain('3 canaries to batch, links and variations: done');
});

test('twice: the second plans are empty, and nothing on the host differs', {
  tags: ['nightly'],
  timeout: 900_000,
}, async () => {
  const transactions = await listTransactions(machine);
  await jobsSent.forget();
  const before = await captureHost(machine);
  for (const action of ['provision', 'deploy-worker', 'cleanup'] as const) {
    const run = await succeed(action);
    expect(run.outputs).toMatchObject({ changed: 'false', transaction: '' });
    expect(run.log).toContain('Nothing to do: the host is as desired.');
    expect(run.log).not.toContain('the plan');
  }
  // Here the canaries would be answered.
  const verify = await succeed('verify', dryRun);
  expect(verify.log).toContain('dry run, would send: 1 canary to celery');
  expect(await captureHost(machine)).toEqual(before);
  expect(await jobsSent.count()).toBe('0');
  expect(await listTransactions(machine)).toEqual(transactions);
  expect(transactions).toHaveLength(3);
});

test('as a user who may sudo it is the same; who may not is told so', {
  tags: ['nightly'],
  timeout: 900_000,
}, async () => {
  await shell(machine, "sysctl -q vm.swappiness=60; sed -i '/swapfile/d' /etc/fstab");
  const before = await captureHost(machine);
  const refused = await act('provision', {}, 'nosudo');
  expect(refused.code).toBe(1);
  expect(refused.log).toContain('nosudo may not use sudo without a password');
  expect(refused.log).toContain('NOPASSWD');
  expect(await captureHost(machine)).toEqual(before);

  const run = await succeed('provision', {}, 'deploy');
  expect(run.outputs.changed).toBe('true');
  await expectSwap();
  const { plan } = await readTransaction(machine, run.outputs.transaction ?? '');
  expect(plan.operations.map(({ op }) => op)).toEqual(['write-file', 'set-sysctl']);
  expect(await shell(machine, 'stat -c %U /var/lib/celeriac /etc/fstab')).toBe('root\nroot');
});
