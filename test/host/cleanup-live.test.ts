import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { otherWorkersIn } from '../../src/celery/worker-process.ts';
import { type CleanUpDesired, cleanUpDefaults } from '../../src/config/cleanup-desired.ts';
import { reportSkipped } from '../../src/jobs/repair/clean-up-outcome.ts';
import type { CleanUp } from '../../src/jobs/repair/clean-up-plan.ts';
import { HostError } from '../../src/model/errors.ts';
import { seconds } from '../../src/model/units.ts';
import { planCleanUp } from '../../src/use-case/clean-up.ts';
import { Hand } from './lib/hand.ts';
import { beginHeldJob, installHeldJobs } from './lib/held-jobs.ts';
import {
  BACKEND,
  DATABASE,
  leaveUnacked,
  makeJob,
  readJob,
  sendJobs,
  show,
  UNIT,
  waitUntil,
} from './lib/worker.ts';

/** Dead or alive, by a worker that runs, with its real broker. */

let hand: Hand;

beforeAll(async () => {
  hand = await Hand.open(await startMachine({ name: 'cleanup-live', state: 'healthy' }));
  await installHeldJobs(hand.machine);
});
afterAll(async () => {
  await hand?.stop();
});

const long = '2026-01-16T14:21:09.418273';

const sql = (statement: string): Promise<string> =>
  hand.shell(`sqlite3 -cmd '.timeout 10000' ${DATABASE} "${statement}"`);

/** A row that claims to be worked on, and its task. */
async function addRow(startedAt = long, task: string | null = randomUUID()): Promise<string> {
  const id = task ?? randomUUID();
  const value = task === null ? 'NULL' : `'${task}'`;
  await sql(
    `INSERT INTO jobs (id, status, celery_task_id, created_at, started_at) VALUES ('${id}', 'processing', ${value}, '${startedAt}', '${startedAt}')`,
  );
  return id;
}

const plan = (wishes: Partial<CleanUpDesired> = {}): Promise<CleanUp> =>
  planCleanUp(
    { agent: hand.agent, openStore: openSqliteStore, newTaskId: randomUUID },
    {
      ...cleanUpDefaults,
      stores: [
        {
          database: DATABASE,
          where: 'input stores, line 1',
          tables: { jobs: { resend: { task: 'tasks.process_job', args: ['id'], queue: null } } },
        },
      ],
      ...wishes,
    },
  );

const found = ({ repairs }: CleanUp): readonly string[] =>
  repairs.flatMap(({ rows }) => rows.map(({ id, becomes }) => `${id} ${becomes}`)).toSorted();

/** No job, no message; the worker stopped. */
beforeEach(async () => {
  await hand.shell(`systemctl stop ${UNIT}; redis-cli flushall`);
  await sql('DELETE FROM jobs');
});

const byTheApp = {
  unit: UNIT,
  interpreter: ['/usr/bin/python3'],
  app: 'celery_app',
  pythonPath: [BACKEND],
  otherWorkers: otherWorkersIn(BACKEND),
};

const statusOf = async (id: string): Promise<unknown> => (await readJob(hand.machine, id))?.status;

const apply = async (cleanUp: CleanUp) => {
  const outcome = await hand.commit(cleanUp.plan.operations);
  return { outcome, skipped: reportSkipped(outcome, cleanUp).map(({ message }) => message) };
};

const answers = async (): Promise<boolean> =>
  (await hand.agent.look({ tasks: { ...byTheApp, ids: [] } })).tasks.kind === 'told';

describe('a running worker', () => {
  beforeEach(async () => {
    await hand.shell(`systemctl start ${UNIT}`);
    await waitUntil('the worker answers', answers);
  });

  test('jobs that it holds or that wait for it are live at any age; lost ones are stuck', async () => {
    const lost = await addRow();
    expect(found(await plan())).toEqual([`${lost} failed`]);
    const { id: running, letGo } = await beginHeldJob(hand.machine);
    const waits = makeJob(0);
    await sendJobs(hand.machine, [waits]);
    const follows = randomUUID();
    await hand.shell(`cd ${BACKEND} && python3 -c "from tasks import process_job as job
(job.si(seconds=0) | job.si(seconds=0).set(task_id='${follows}')).apply_async()"`);
    await sql(`UPDATE jobs SET created_at = '${long}', started_at = '${long}'`);
    for (const id of [waits.id, follows]) await addRow(long, id);
    const cleanUp = await plan();
    expect(found(cleanUp)).toEqual([`${lost} failed`]);
    const told = cleanUp.plan.findings.map(({ message }) => message).join('\n');
    expect(told).toContain(`a worker holds task ${running.slice(0, 8)}`);
    for (const id of [waits.id, follows]) expect(told).toContain(id.slice(0, 8));
    expect(cleanUp.pauseSeconds).toBe(60);
    await apply(cleanUp);
    expect((await readJob(hand.machine, lost))?.error_message).toMatch(
      /^stuck in processing for .*; task [0-9a-f]{8} is neither in a worker nor in a queue; marked failed by celeriac$/,
    );
    expect(await statusOf(running)).toBe('processing');
    await letGo();
    await waitUntil('all is done', async () => (await statusOf(follows)) === 'completed');
    for (const id of [running, waits.id]) expect(await statusOf(id)).toBe('completed');
  });

  test('a second check just before the change: jobs that are owed by then are skipped', async () => {
    const [lives, lost] = [makeJob(0), await addRow()] as const;
    await addRow(long, lives.id);
    const cleanUp = await plan();
    expect(found(cleanUp)).toEqual([`${lives.id} failed`, `${lost} failed`].toSorted());
    await leaveUnacked(hand.machine, lives);
    const { outcome, skipped } = await apply(cleanUp);
    expect(outcome.steps.at(-1)?.result).toMatchObject({ changed: 1 });
    expect(skipped).toEqual([
      `skipped 1 row: jobs ${lives.id.slice(0, 8)} is still queued: task ${lives.id} waits in the broker`,
    ]);
    expect(await statusOf(lives.id)).toBe('processing');
  });

  test('it does not answer: no job counts as stuck', { tags: ['nightly'] }, async () => {
    const lost = await addRow();
    const { MainPID: main } = await show(hand.machine, 'MainPID');
    await hand.shell(`kill -STOP ${main}`);
    const error = await plan().catch((thrown: unknown) => thrown);
    await hand.shell(`kill -CONT ${main}`);
    expect(error).toBeInstanceOf(HostError);
    expect((error as HostError).message).toBe(
      `cannot tell which jobs are stuck; nothing was changed: ${UNIT} runs, and does not answer Celery's remote control: cannot tell which tasks it holds`,
    );
    expect(await statusOf(lost)).toBe('processing');
  });

  test('reset sends the task again once, with a new id, and the worker runs it', async () => {
    const lost = await addRow();
    const cleanUp = await plan({ action: 'reset' });
    const { outcome } = await apply(cleanUp);
    expect(outcome.steps.map(({ op, message }) => [op, message])).toMatchObject([
      ['backup-database', expect.anything()],
      ['repair-jobs', expect.stringContaining('1 updated')],
      ['send-tasks', '1 task sent'],
    ]);
    await waitUntil('it is done', async () => (await statusOf(lost)) === 'completed');
    const row = await readJob(hand.machine, lost);
    expect(row?.celery_task_id).not.toBe(lost);
    const { resets } = await hand.agent.look({ resets: { database: DATABASE } });
    expect(resets).toEqual({ [`jobs:${lost}`]: 1 });
  });
});

describe('a stopped worker', () => {
  test('its jobs are stuck at once; undoing a reset removes its waiting task', async () => {
    const now = await hand.shell("date -u +'%Y-%m-%dT%H:%M:%S.000001'");
    const [lost, other] = [await addRow(now), await addRow(now, null)] as const;
    const cleanUp = await plan({ action: 'reset' });
    expect(found(cleanUp)).toEqual([`${lost} pending`]);
    expect(cleanUp.pauseSeconds).toBe(0);
    expect(cleanUp.repairs[0]?.rows[0]?.why).toContain(`${UNIT} is stopped, task`);
    const before = await readJob(hand.machine, lost);
    const { outcome } = await apply(cleanUp);
    expect(await hand.shell('redis-cli llen celery')).toBe('1');
    await hand.undo(outcome.transaction);
    expect(await hand.shell('redis-cli llen celery')).toBe('0');
    expect(await readJob(hand.machine, lost)).toEqual(before);
    const { resets } = await hand.agent.look({ resets: { database: DATABASE } });
    expect(resets[`jobs:${lost}`]).toBeUndefined();
    expect(await statusOf(other)).toBe('processing');
  });

  test('a backup is restored while the app has the database open, and the restore is undone', async () => {
    const before = await sql('SELECT count(*) FROM jobs');
    await hand.shell(`setsid nohup python3 -c 'import sqlite3,time
d = sqlite3.connect("${DATABASE}"); d.execute("SELECT count(*) FROM jobs").fetchall(); time.sleep(300)' >/dev/null 2>&1 </dev/null & echo $! >/run/reader.pid`);
    const whose = { unit: '', user: 'root' };
    await hand.commit([{ op: 'backup-database', database: DATABASE, ...whose, keep: 9 }]);
    await addRow();
    const restore = {
      op: 'restore-database',
      database: DATABASE,
      ...whose,
      keep: 9,
      busyTimeoutSeconds: seconds(10),
    } as const;
    const outcome = await hand.commit([{ ...restore, backup: 'latest' }]);
    expect(await sql('SELECT count(*) FROM jobs; PRAGMA integrity_check')).toBe(`${before}\nok`);
    await hand.undo(outcome.transaction);
    expect(await sql('SELECT count(*) FROM jobs')).toBe(String(Number(before) + 1));
    await hand.shell('kill $(cat /run/reader.pid)');
    const failure = await hand.refuse([
      { ...restore, backup: '/var/lib/celeriac/backups/none.db' },
    ]);
    expect(failure.message).toContain(`is not a backup of ${DATABASE}`);
  });
});
