import { describe, expect, test } from 'vitest';
import { type CleanUpDesired, cleanUpDefaults } from '../../../src/config/cleanup-desired.ts';
import type { RecordedStop } from '../../../src/jobs/judge/recorded-stop.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import type { StoreFact } from '../../../src/model/facts/store.ts';
import type { RepairJobs } from '../../../src/model/operation/jobs.ts';
import { epochSeconds, seconds } from '../../../src/model/units.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  byPython,
  bySqlite,
  desire,
  hour,
  messagesOf,
  minute,
  newTaskId,
  nothingLeft,
  now,
  path,
  planFor,
} from '../jobs/app-database.ts';

/** What becomes of the jobs that a restart left behind: the worker was gone a minute ago. */

const stop: RecordedStop = { unit: 'celery-worker.service', at: epochSeconds(now - minute) };

type CleanUp = Awaited<ReturnType<typeof planFor>>;
type Told = TasksFact & { kind: 'told' };

/** The worker is busy with other tasks, and others wait: of a row without an id nothing is known. */
const busy = (more: Partial<Told> = {}) => ({
  tasks: (): TasksFact => ({ ...(nothingLeft() as Told), holding: 1, waiting: 2, ...more }),
});
const idle = { tasks: nothingLeft };

const settle = (
  database: AppDatabase,
  answers: Parameters<typeof planFor>[2] = busy(),
  wishes: Partial<CleanUpDesired> = {},
  since = stop,
): Promise<CleanUp> =>
  planFor(
    database,
    { evidence: 'broker', orphans: false, confirmAfterSeconds: seconds(0), ...wishes },
    answers,
    since,
  );

const repairOf = ({ plan }: CleanUp): RepairJobs | undefined =>
  plan.operations.find((operation) => operation.op === 'repair-jobs') as RepairJobs | undefined;

/** `id: new status`, of all rows that get another. */
const becomes = ({ repairs }: CleanUp): Record<string, string> =>
  Object.fromEntries(
    repairs.flatMap(({ rows }) =>
      rows.filter((row) => row.becomes !== row.status).map((row) => [row.id, row.becomes]),
    ),
  );

const setOf = (cleanUp: CleanUp, id: string) => {
  const change = repairOf(cleanUp)?.rows.find((row) => row.id === id)?.change;
  return change?.kind === 'update' ? change.set : undefined;
};

/** A job in progress since so many seconds, with a task of its own. */
function addJob(database: AppDatabase, id: string, ago: number, more: object = {}): void {
  database.add('jobs', {
    id,
    status: 'processing',
    celery_task_id: `task-${id}`,
    created_at: bySqlite(hour),
    started_at: byPython(ago),
    ...more,
  });
}

describe('before and after the stop', () => {
  test('a job of before it is abandoned, however young; one of after it is not looked at', async () => {
    using database = new AppDatabase();
    addJob(database, 'lost', 2 * minute);
    addJob(database, 'new', 30);
    const cleanUp = await settle(database);
    expect(becomes(cleanUp)).toEqual({ lost: 'failed' });
    expect(cleanUp.pauseSeconds).toBe(0);
    expect(messagesOf(cleanUp)).not.toContain('new');
    expect(setOf(cleanUp, 'lost')).toEqual({
      status: 'failed',
      completed_at: '2026-01-18T15:00:00.000000',
      error_message:
        'abandoned: in progress since before celery-worker.service stopped at 2026-01-18 14:59:00 UTC; task task-lost is neither in a worker nor in a queue; marked failed by celeriac, https://ci.example/runs/7',
    });
    expect(repairOf(cleanUp)?.why).toBe(
      '1 jobs failed; in progress since before celery-worker.service stopped',
    );
  });

  test('the second of the stop itself counts as after it', async () => {
    using database = new AppDatabase();
    addJob(database, 'same', minute, { started_at: bySqlite(minute) });
    addJob(database, 'before', minute, { started_at: bySqlite(minute + 1) });
    const late = { ...stop, at: epochSeconds(stop.at + 0.9) };
    expect(becomes(await settle(database, busy(), {}, late))).toEqual({ before: 'failed' });
  });

  test('the age by the threshold of a clean-up means nothing', async () => {
    using database = new AppDatabase();
    addJob(database, 'polling', 30, { created_at: bySqlite(9 * hour) });
    expect(becomes(await settle(database, busy(), { thresholdSeconds: seconds(1) }))).toEqual({});
  });

  test('a row that moved since the stop lives, and so does what hangs on it', async () => {
    using database = new AppDatabase();
    database.sql.exec('ALTER TABLE jobs ADD COLUMN heartbeat_at TIMESTAMP');
    addJob(database, 'beats', 2 * minute, { heartbeat_at: byPython(20) });
    database.addBatch('moves', {
      ago: hour,
      links: [
        ['processing', 2 * minute],
        ['completed', 20],
      ],
    });
    const cleanUp = await settle(database);
    expect(becomes(cleanUp)).toEqual({ 'link-moves-0': 'failed' });
    expect(setOf(cleanUp, 'job-moves')).toEqual({ failed_links: 1 });
  });

  test('a row whose times say nothing, or are in the future, is left, and that is said', async () => {
    using database = new AppDatabase();
    addJob(database, 'timeless', 0, { created_at: null, started_at: null });
    addJob(database, 'odd', 0, { started_at: 'yesterday' });
    addJob(database, 'future', -9 * hour);
    addJob(database, 'day', 0, { created_at: '2026-01-18', started_at: null });
    const cleanUp = await settle(database, idle);
    expect(becomes(cleanUp)).toEqual({});
    expect(cleanUp.plan.skippedRows).toBe(3);
    expect(messagesOf(cleanUp)).toContain('jobs timeless has no timestamp');
    expect(messagesOf(cleanUp)).toContain("jobs odd has started_at = 'yesterday'");
    expect(messagesOf(cleanUp)).toContain('in the future: jobs future');
  });

  test('a clock that was set back since the stop proves nothing', async () => {
    using database = new AppDatabase();
    addJob(database, 'lost', 2 * minute);
    const ahead = { ...stop, at: epochSeconds(now + minute) };
    await expect(settle(database, idle, {}, ahead)).rejects.toThrow(
      'clock of the host was set back',
    );
  });

  test.each([
    // Berlin is an hour ahead of UTC in January: 15:58 there is two minutes ago.
    ['2026-01-18 15:58:00', 'failed'],
    ['2026-01-18 15:59:30', undefined],
  ])('times without a zone are read in the zone of the app: %s', async (started_at, end) => {
    using database = new AppDatabase();
    addJob(database, 'local', 0, { created_at: '2026-01-18 15:00:00', started_at });
    const cleanUp = await settle(database, busy(), { timeZone: 'Europe/Berlin' });
    expect(becomes(cleanUp).local).toBe(end);
    if (end !== undefined) {
      expect(setOf(cleanUp, 'local')?.completed_at).toBe('2026-01-18 16:00:00');
    }
  });
});

describe('its task', () => {
  const uuid = '0F0E0D0C0B0A4000800000000000000A';
  const asCelery = '0f0e0d0c-0b0a-4000-8000-00000000000a';

  test.each([
    ['held by a worker', { held: ['task-job'] }, 'still running', 'a worker holds task task-job'],
    ['in a queue or unacked', { owed: ['task-job'] }, 'still waiting', 'task-job is in the broker'],
  ])('%s: the job lives', async (_, more, why, because) => {
    using database = new AppDatabase();
    addJob(database, 'job', 2 * minute);
    const cleanUp = await settle(database, busy(more));
    expect(cleanUp.plan.operations).toEqual([]);
    expect(cleanUp.plan.skippedRows).toBe(1);
    expect(messagesOf(cleanUp)).toContain(`skipped, ${why}: jobs job`);
    expect(messagesOf(cleanUp)).toContain(because);
  });

  test('is found in any form of its id', async () => {
    using database = new AppDatabase();
    addJob(database, 'job', 2 * minute, { celery_task_id: uuid });
    expect(becomes(await settle(database, busy({ held: [asCelery] })))).toEqual({});
    expect(becomes(await settle(database, busy()))).toEqual({ job: 'failed' });
  });

  test('is looked for once more just before the change', async () => {
    using database = new AppDatabase();
    addJob(database, 'job', 2 * minute);
    database.add('video_jobs', { id: 'v', status: 'processing', created_at: bySqlite(hour) });
    const tasks = repairOf(await settle(database, idle))?.lookAgain?.tasks ?? [];
    expect(tasks).toContainEqual({ group: 'jobs:job', task: 'task-job' });
    expect(tasks).toContainEqual({ group: 'video_jobs:v', task: null });
  });

  test('if the broker shows how many messages are left, and not whose, the job is left', async () => {
    using database = new AppDatabase();
    addJob(database, 'job', 2 * minute);
    const cleanUp = await settle(database, busy({ hidden: '2 messages are in its queues' }));
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('2 messages are in its queues');
  });

  test('if nobody can be asked, nothing is settled', async () => {
    using database = new AppDatabase();
    addJob(database, 'job', 2 * minute);
    const silent = (): TasksFact => ({ kind: 'unknown', problem: 'its broker is amqp' });
    await expect(settle(database, { tasks: silent })).rejects.toThrow('its broker is amqp');
  });
});

describe('a job that names no task', () => {
  const addVideo = (database: AppDatabase): void => {
    database.add('video_jobs', { id: 'v', status: 'processing', created_at: bySqlite(hour) });
  };

  test('is abandoned only where nobody has any', async () => {
    using database = new AppDatabase();
    addVideo(database);
    expect(becomes(await settle(database, idle))).toEqual({ v: 'failed' });
  });

  test.each([
    ['a worker of the app holds one', { holding: 1, waiting: 0 }, '1 task in workers, 0 messages'],
    ['a message is left', { holding: 0, waiting: 1 }, '0 tasks in workers, 1 message in the'],
  ])('is left, and that is said, if %s', async (_, more, said) => {
    using database = new AppDatabase();
    addVideo(database);
    const cleanUp = await settle(database, busy(more));
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('skipped, nobody can be asked: video_jobs v');
    expect(messagesOf(cleanUp)).toContain(said);
    expect(messagesOf(cleanUp)).toContain('left to the clean-up');
  });

  test('a task of the row above it does not speak for it: another worker may be at it', async () => {
    using database = new AppDatabase();
    database.addBatch('a', { ago: hour, links: [['processing', 2 * minute]] });
    database.sql.exec('UPDATE batch_links SET celery_task_id = NULL');
    expect(becomes(await settle(database))).toEqual({});
    expect(becomes(await settle(database, idle))).toMatchObject({ 'link-a-0': 'failed' });
  });
});

describe('rows above', () => {
  test('end with their rows by the fate table: the batch, its job, their counters', async () => {
    using database = new AppDatabase();
    database.addBatch('a', {
      ago: hour,
      links: [
        ['completed', 3 * minute],
        ['processing', 2 * minute],
      ],
    });
    const cleanUp = await settle(database);
    expect(becomes(cleanUp)).toEqual({
      'job-a': 'completed',
      'batch-a': 'completed',
      'link-a-1': 'failed',
    });
    expect(setOf(cleanUp, 'job-a')).toMatchObject({ status: 'completed', failed_links: 1 });
  });

  test('are partial where the app has a word for it', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'old', status: 'partial', created_at: bySqlite(9 * hour) });
    database.addBatch('a', {
      ago: hour,
      links: [
        ['completed', 3 * minute],
        ['processing', 2 * minute],
      ],
    });
    expect(becomes(await settle(database))).toMatchObject({
      'job-a': 'partial',
      'link-a-1': 'failed',
    });
  });

  test('a batch whose links still wait in a queue lives, though its own task is gone', async () => {
    using database = new AppDatabase();
    database.addBatch('a', {
      ago: hour,
      links: [
        ['completed', 3 * minute],
        ['processing', 2 * minute],
        ['pending', 0],
      ],
    });
    // Their messages name ids that no row knows.
    const cleanUp = await settle(database);
    expect(becomes(cleanUp)).toEqual({ 'link-a-1': 'failed' });
    expect(messagesOf(cleanUp)).toContain('not every task that may work on it is known');
    expect(becomes(await settle(database, idle))).toMatchObject({ 'link-a-2': 'failed' });
  });

  test('a batch that expects links which do not exist yet lives', async () => {
    using database = new AppDatabase();
    const links = [['completed', 3 * minute]] as const;
    database.addBatch('a', { ago: hour, links, job: { total_links: 3 } });
    database.sql.exec('UPDATE batches SET total_links = 3');
    expect(becomes(await settle(database))).toEqual({});
  });

  test('a parent that says neither its task nor how many rows it will have lives', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE job_clips (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        celery_task_id TEXT, job_id TEXT REFERENCES jobs (id));
      INSERT INTO jobs VALUES ('j', 'processing', '2026-01-18 14:00:00');
      INSERT INTO job_clips VALUES ('c', 'processing', '2026-01-18 14:00:00', 'task-c', 'j');`);
    expect(becomes(await settle(database))).toEqual({ c: 'failed' });
    expect(becomes(await settle(database, idle))).toEqual({ c: 'failed', j: 'failed' });
  });

  test('a total that was never set says nothing', async () => {
    using database = new AppDatabase();
    const links = [['processing', 2 * minute]] as const;
    database.addBatch('a', { ago: hour, links, job: { celery_task_id: null, total_links: 0 } });
    database.sql.exec('UPDATE batches SET total_links = 0');
    expect(becomes(await settle(database))).toEqual({ 'link-a-0': 'failed' });
  });

  test('a parent that stays pending ends with its last row, and with no other', async () => {
    using database = new AppDatabase();
    for (const [name, state] of [
      ['a', 'processing'],
      ['b', 'completed'],
    ] as const) {
      const links = [[state, 2 * minute] as const];
      database.addBatch(name, { ago: hour, links, status: 'pending' });
    }
    expect(becomes(await settle(database))).toEqual({
      'job-a': 'failed',
      'batch-a': 'failed',
      'link-a-0': 'failed',
    });
  });

  test('jobs below jobs: the lowest fails, and its ancestors end with it', async () => {
    using database = new AppDatabase();
    database.sql.exec('ALTER TABLE jobs ADD COLUMN parent_job_id TEXT REFERENCES jobs (id)');
    addJob(database, 'top', 3 * minute);
    addJob(database, 'middle', 3 * minute, { parent_job_id: 'top' });
    addJob(database, 'leaf', 2 * minute, { parent_job_id: 'middle' });
    addJob(database, 'done', 2 * minute, { parent_job_id: 'top', status: 'completed' });
    expect(becomes(await settle(database))).toEqual({
      leaf: 'failed',
      middle: 'failed',
      top: 'completed',
    });
  });
});

const words = [
  {
    database: path,
    where: '',
    tables: {
      jobs: {
        words: { QUEUED: 'pending', RUNNING: 'processing', SUCCESS: 'completed' },
      },
    },
  },
] as const;

/** The plan for a store of another kind, whose rows are extracted. */
function planStore(store: StoreFact, database: AppDatabase, url: string): Promise<CleanUp> {
  const answers = { ...busy(), holds: 'rows' as const };
  const agent = agentOf([store], { [url]: database.content() }, answers);
  const desired = desire({ database: url, evidence: 'broker', orphans: false });
  return planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desired, stop);
}

describe('the words and tables of the app', () => {
  test('statuses count by their meaning, and are written as the column spells them', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT CHECK (status IN
        ('QUEUED', 'RUNNING', 'SUCCESS', 'FAILED')), celery_task_id TEXT, created_at TEXT);
      INSERT INTO jobs VALUES (1, 'RUNNING', 'task-1', '2026-01-18 14:00:00'),
        (2, 'FAILED', 'task-2', '2026-01-18 14:00:00');`);
    const cleanUp = await settle(database, busy(), { stores: words, database: null });
    expect(repairOf(cleanUp)?.rows).toMatchObject([
      { id: 1, change: { kind: 'update', set: { status: 'FAILED' } } },
    ]);
  });

  test('numbers are statuses where `words` says so', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id INTEGER PRIMARY KEY, status INTEGER, celery_task_id TEXT, created_at TEXT);
      INSERT INTO jobs VALUES (1, 1, 'task-1', '2026-01-18 14:00:00'),
        (2, 2, 'task-2', '2026-01-18 14:00:00');`);
    const numbers = { 0: 'pending', 1: 'processing', 2: 'completed', 3: 'failed' } as const;
    const stores = [{ database: path, where: '', tables: { jobs: { words: numbers } } }];
    const cleanUp = await settle(database, busy(), { stores, database: null });
    expect(repairOf(cleanUp)?.rows).toMatchObject([
      { id: 1, change: { kind: 'update', set: { status: 3 } } },
    ]);
  });

  test('a payment is no job: neither below a job, nor an order above it', async () => {
    using database = new AppDatabase();
    database.sql.exec(`
      CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE payments (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT REFERENCES jobs (id));
      ALTER TABLE jobs ADD COLUMN order_id INTEGER REFERENCES orders (id);
      INSERT INTO orders VALUES (1, 'processing', '2026-01-18 14:00:00');`);
    addJob(database, 'lost', 2 * minute, { order_id: 1 });
    database.sql.exec(
      "INSERT INTO payments VALUES (1, 'completed', '2026-01-18 14:00:00', 'lost')",
    );
    expect(Object.keys(becomes(await settle(database)))).toEqual(['lost']);
  });

  test('PostgreSQL: by its types as the host tells them, without a copy in the backups', async () => {
    using database = new AppDatabase();
    addJob(database, 'lost', 2 * minute, { started_at: '2026-01-18 14:58:00.5+00' });
    addJob(database, 'new', 30, { started_at: '2026-01-18 15:59:30+01' });
    const [fact] = [database.fact()];
    if (fact.kind !== 'sqlite') throw new Error('no file');
    const url = 'postgresql://app@127.0.0.1/jobs';
    const tables = fact.tables.map((table) => ({
      ...table,
      columns: table.columns.map((column) =>
        /_at$/.test(column.name) ? { ...column, type: 'timestamp with time zone' } : column,
      ),
    }));
    const store: StoreFact = { kind: 'postgresql', path: url, user: 'app', tables };
    const cleanUp = await planStore(store, database, url);
    expect(becomes(cleanUp)).toEqual({ lost: 'failed' });
    expect(cleanUp.plan.operations.map(({ op }) => op)).toEqual(['repair-jobs']);
    expect(setOf(cleanUp, 'lost')?.completed_at).toMatch(/^2026-01-18 15:00:00(\.0+)?\+00$/);
  });
});

describe('reset', () => {
  test('makes the row pending again, and sends its task where `resend` says how', async () => {
    using database = new AppDatabase();
    addJob(database, 'lost', 2 * minute);
    const resend = { task: 'tasks.process_job', args: ['id'], queue: null };
    const stores = [{ database: path, where: '', tables: { jobs: { resend } } }];
    const sent = await settle(database, busy(), { action: 'reset', stores, database: null });
    expect(becomes(sent)).toEqual({ lost: 'pending' });
    expect(sent.plan.operations.map(({ op }) => op)).toEqual([
      'backup-database',
      'repair-jobs',
      'send-tasks',
    ]);
    const silent = await settle(database, busy(), { action: 'reset' });
    expect(setOf(silent, 'lost')).toMatchObject({ status: 'pending', celery_task_id: null });
    expect(messagesOf(silent)).toContain('1 reset row will stay pending until the app sends');
  });

  test('so often, then the job fails', async () => {
    using database = new AppDatabase();
    addJob(database, 'lost', 2 * minute);
    const answers = { ...busy(), resets: { 'jobs:lost': cleanUpDefaults.maxResets } };
    expect(becomes(await settle(database, answers, { action: 'reset' }))).toEqual({
      lost: 'failed',
    });
  });
});
