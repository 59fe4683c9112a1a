import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { supportModuleText } from '../../src/use-case/support-module.ts';
import { type BundleOptions, type BundleRun, runBundle } from '../lib/bundle.ts';
import { beginHeldJob, installHeldJobs } from './lib/held-jobs.ts';
import { type Inputs, inputsFor } from './lib/inputs.ts';
import {
  BACKEND,
  DATABASE,
  leaveUnacked,
  listTransactions,
  makeJob,
  readJob,
  readTransaction,
  shell,
  UNIT,
  waitUntil,
} from './lib/worker.ts';

/** The jobs that a restart leaves behind, settled after the release by a transaction of its own. */

const OTHER = 'other-worker.service';
const AWAITING = `/var/lib/celeriac/awaiting/${UNIT}.json`;
let machine: Machine;
/** Each deploy changes something, so that it restarts the worker. */
let limit = 800;

beforeAll(async () => {
  machine = await startMachine({ name: 'settled-jobs', state: 'healthy' });
  await installHeldJobs(machine);
  await shell(machine, 'mkdir -p /usr/local/lib/celeriac');
  await machine.writeFile('/usr/local/lib/celeriac/celeriac_support.py', supportModuleText());
  const first = await deploy({ 'orphaned-jobs': 'leave', 'confirm-within': 'off' });
  expect(first.code, first.log).toBe(0);
});

afterAll(() => machine?.stop());

const sql = (statement: string): Promise<string> =>
  shell(machine, `sqlite3 -cmd '.timeout 10000' ${DATABASE} "${statement}"`);

beforeEach(async () => {
  await shell(machine, 'redis-cli flushall');
  await sql('DELETE FROM jobs; DELETE FROM video_jobs');
});

function deploy(more: Inputs = {}, options: BundleOptions = {}): Promise<BundleRun> {
  limit += 1;
  const inputs = {
    'memory-max': `${limit}M`,
    'longest-task': '60s',
    'min-healthy-time': '2s',
    'orphaned-jobs': 'fail',
    ...more,
  };
  return runBundle('deploy-worker', inputsFor(machine, inputs), options);
}

/** A row of a job that was begun a minute ago, whose message no one has. */
async function addLost(table = 'jobs'): Promise<string> {
  const id = randomUUID();
  const times = "datetime('now', '-1 minute'), datetime('now', '-1 minute')";
  await (table === 'jobs'
    ? sql(
        `INSERT INTO jobs (id, status, celery_task_id, created_at, started_at) VALUES ('${id}', 'processing', '${id}', ${times})`,
      )
    : sql(
        `INSERT INTO ${table} (id, status, created_at, started_at) VALUES ('${id}', 'processing', ${times})`,
      ));
  return id;
}

const statusOf = async (id: string): Promise<unknown> => (await readJob(machine, id))?.status;
const newest = async (): Promise<string> => (await listTransactions(machine)).at(-1) ?? '';
const isAwaited = async (): Promise<boolean> =>
  (await shell(machine, `test -e ${AWAITING} && echo yes || echo no`)) === 'yes';
const guard = (): Promise<string> =>
  shell(machine, 'systemctl is-active celeriac-guard.timer || true');

/** It can be confirmed as if there had been no second transaction. */
async function confirm({ outputs }: BundleRun): Promise<void> {
  const verified = await runBundle('verify', inputsFor(machine, { gate: 'none' }));
  expect(verified.code, verified.log).toBe(0);
  expect(verified.log).toContain(`Confirmed: transaction ${outputs.transaction}`);
  expect(await isAwaited()).toBe(false);
}

describe('jobs of a worker that was stopped', () => {
  test('are failed with the reason, and those with a message or another worker are left', async () => {
    await machine.writeFile(
      `/etc/systemd/system/${OTHER}`,
      `[Service]\nType=notify\nNotifyAccess=main\nWorkingDirectory=${BACKEND}\nEnvironment=PYTHONPATH=/usr/local/lib/celeriac\nExecStart=/usr/bin/celery -A celery_app worker -I celeriac_support --concurrency=1 -Q celery -n other@%%h\nKillMode=mixed\n`,
    );
    await shell(
      machine,
      `systemctl stop ${UNIT}; systemctl daemon-reload; systemctl start ${OTHER}`,
    );
    const held = await beginHeldJob(machine);
    await sql(
      `UPDATE jobs SET created_at = datetime('now', '-1 hour'), started_at = datetime('now', '-1 hour') WHERE id = '${held.id}'`,
    );
    await shell(machine, `systemctl start ${UNIT}`);
    const [lost, video, unacked] = [await addLost(), await addLost('video_jobs'), makeJob(0)];
    await sql(
      `INSERT INTO jobs (id, status, celery_task_id, started_at) VALUES ('${unacked.id}', 'processing', '${unacked.id}', datetime('now', '-1 minute'))`,
    );
    await leaveUnacked(machine, unacked);

    const before = await newest();
    const rehearsed = await deploy({ 'dry-run': 'true' });
    expect(rehearsed.code, rehearsed.log).toBe(0);
    expect(rehearsed.log).toContain(
      `Dry run: in progress now: 3 jobs, 1 video_jobs in ${DATABASE}. Once ${UNIT} has been restarted successfully`,
    );
    expect([await newest(), await statusOf(lost)]).toEqual([before, 'processing']);

    const run = await deploy();
    expect(run.code, run.log).toBe(0);
    expect(run.outputs).toMatchObject({ changed: 'true', settled: '1', left: '3' });
    expect(await readJob(machine, lost)).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(
        /^abandoned: in progress since before celery-worker\.service stopped at .*; task .* is neither in a worker nor in a queue; marked failed by celeriac, https:\/\/forge\.test/,
      ),
    });
    for (const id of [held.id, unacked.id]) expect(await statusOf(id)).toBe('processing');
    expect(run.log).toContain(`skipped, nobody can be asked: video_jobs ${video.slice(0, 8)}`);
    expect(run.log).toContain(`skipped, still running: jobs ${held.id.slice(0, 8)}`);
    expect(run.summary).toContain('Settled 1 row of jobs');

    // Its own transaction, which is no release, beside the release that awaits its verdict.
    const settled = await readTransaction(machine, await newest());
    expect(settled.plan.meta.action).toBe('cleanup');
    expect(settled.plan.operations.map(({ op }) => op)).toEqual(['backup-database', 'repair-jobs']);
    expect(JSON.parse(await machine.readFile(AWAITING)).transactions[0]).toBe(
      run.outputs.transaction,
    );
    expect(await guard()).toBe('active');
    await held.letGo();
    await shell(machine, `systemctl stop ${OTHER}`);
    await confirm(run);
  });

  test('stay as they are settled when the release is rolled back; `restore` takes it back', {
    tags: ['nightly'],
  }, async () => {
    const lost = await addLost();
    const row = await readJob(machine, lost);
    const run = await deploy();
    expect(run.outputs).toMatchObject({ settled: '1', left: '0' });
    const settled = await newest();
    const back = await deploy({ 'roll-back': 'previous' });
    expect(back.code, back.log).toBe(0);
    expect(back.log).toContain(`${UNIT} stopped again`);
    expect(await statusOf(lost)).toBe('failed');
    const restored = await runBundle('cleanup', inputsFor(machine, { restore: settled }));
    expect(restored.code, restored.log).toBe(0);
    expect(await readJob(machine, lost)).toEqual(row);
  });

  test('of a crash before the deploy are settled, too', { tags: ['nightly'] }, async () => {
    await shell(machine, `systemctl kill -s KILL ${UNIT}; systemctl stop ${UNIT}`);
    const lost = await addLost();
    const run = await deploy({ 'confirm-within': 'off' });
    expect(run.outputs, run.log).toMatchObject({ settled: '1', left: '0' });
    expect(await statusOf(lost)).toBe('failed');
  });

  test('are not looked for where nothing was restarted', { tags: ['nightly'] }, async () => {
    await deploy({ 'orphaned-jobs': 'leave', 'confirm-within': 'off' });
    limit -= 1;
    const lost = await addLost();
    const run = await deploy();
    expect(run.code, run.log).toBe(0);
    expect(run.outputs.changed).toBe('false');
    expect(run.log).toContain(`No abandoned jobs were looked for: ${UNIT} was not stopped`);
    expect(await statusOf(lost)).toBe('processing');
  });
});

describe('the release stays', () => {
  test('when the rows cannot be changed: a warning says why', { tags: ['nightly'] }, async () => {
    const lost = await addLost();
    // Somebody writes for long: reading goes on, writing waits.
    await shell(
      machine,
      `systemd-run -q --collect --unit=writer python3 -c "import sqlite3, time; d = sqlite3.connect('${DATABASE}'); d.execute('BEGIN IMMEDIATE'); time.sleep(3600)"`,
    );
    const run = await deploy({ 'busy-timeout': '1s' });
    await shell(machine, 'systemctl stop writer');
    expect(run.code, run.log).toBe(0);
    expect(run.outputs.changed).toBe('true');
    expect(run.log).toMatch(/::warning.*settling abandoned jobs failed: .*locked/);
    expect(run.log).toContain('the release stays');
    expect(run.outputs).not.toHaveProperty('settled');
    expect(await statusOf(lost)).toBe('processing');
    const { journal } = await readTransaction(machine, await newest());
    expect(journal.at(-1)).toMatchObject({ event: 'ended', result: 'undone' });
    // It awaits its verdict as before.
    expect(JSON.parse(await machine.readFile(AWAITING)).transactions[0]).toBe(
      run.outputs.transaction,
    );
    expect(await guard()).toBe('active');
    await confirm(run);
  });

  test('when the runner dies before the jobs are settled: a later clean-up does it', {
    tags: ['nightly'],
  }, async () => {
    const lost = await addLost();
    // After the release its report comes first, then the worker is asked for its tasks.
    let child: Parameters<NonNullable<BundleOptions['onStart']>>[0] | undefined;
    let killed = false;
    const run = await deploy(
      { 'confirm-within': 'off' },
      {
        onStart: (started) => {
          child = started;
        },
        onLog: (text) => {
          if (killed || !text.includes('Done: ')) return;
          killed = true;
          child?.kill('SIGKILL');
        },
      },
    );
    expect(run.code).toBeNull();
    expect(await statusOf(lost)).toBe('processing');
    await waitUntil('nobody works', async () => (await guard()) === 'inactive');
    const cleaned = await runBundle(
      'cleanup',
      inputsFor(machine, { threshold: '30s', 'confirm-after': 'off' }),
    );
    expect(cleaned.code, cleaned.log).toBe(0);
    expect(await statusOf(lost)).toBe('failed');
  });
});

describe('PostgreSQL', () => {
  const DROP_INS = `/etc/systemd/system/${UNIT}.d`;
  const psql = async (script: string, database = 'jobs'): Promise<string> => {
    const argv = `cd / && runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 -d ${database}`;
    return (await machine.run(argv, { input: script, timeoutSeconds: 300 })).stdout.trim();
  };

  test('its enums, uuids and times with a zone', { tags: ['nightly'] }, async () => {
    await shell(machine, 'systemctl start postgresql@15-main');
    await psql("CREATE ROLE app LOGIN PASSWORD 'quite secret'", 'postgres');
    await psql('CREATE DATABASE jobs OWNER app', 'postgres');
    // The second has begun after the stop, however long that takes; a time 300 s ahead is in doubt.
    await psql(`SET ROLE app;
      CREATE TYPE state AS ENUM ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED');
      CREATE TABLE jobs (id bigserial PRIMARY KEY, status state NOT NULL, celery_task_id uuid,
        error_message varchar(40), started_at timestamptz, completed_at timestamptz);
      INSERT INTO jobs (status, celery_task_id, started_at) VALUES
        ('PROCESSING', gen_random_uuid(), now() - interval '1 minute'),
        ('PROCESSING', gen_random_uuid(), now() + interval '290 seconds');`);
    await shell(machine, `mkdir -p ${DROP_INS}`);
    await machine.writeFile(
      `${DROP_INS}/database.conf`,
      '[Service]\nEnvironment=DATABASE_URL=postgresql://app:quite%%20secret@localhost/jobs\n',
      '0600',
    );
    await shell(machine, 'systemctl daemon-reload');
    const database = 'postgresql://app@127.0.0.1:5432/jobs';
    const run = await deploy({ database, 'confirm-within': 'off' });
    expect(run.code, run.log).toBe(0);
    expect(run.outputs).toMatchObject({ settled: '1', left: '0' });
    expect(
      await psql(
        'SELECT id, status, left(error_message, 9), completed_at IS NOT NULL FROM jobs ORDER BY id',
      ),
    ).toBe('1|FAILED|abandoned|t\n2|PROCESSING||f');
  });
});
