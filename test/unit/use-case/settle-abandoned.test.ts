import { describe, expect, test } from 'vitest';
import { HostError } from '../../../src/model/errors.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import type { Operation, Plan } from '../../../src/model/operation.ts';
import type { Outcome, TransactionMeta } from '../../../src/model/outcome.ts';
import { seconds } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { settleAbandoned } from '../../../src/use-case/settle-abandoned.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  bySqlite,
  desire,
  type HostAnswers,
  hour,
  minute,
  newTaskId,
  now,
  path,
} from '../jobs/app-database.ts';
import { RecordedRun } from './recorded-run.ts';

/** The second transaction of a deploy: the release before it stays, whatever becomes of it. */

const unit = 'celery-worker.service';
const step = { index: 0, status: 'done', message: 'done', seconds: seconds(1) } as const;

const idle: Plan = { operations: [], satisfied: [], findings: [] };
const start = { op: 'start-unit', unit, title: 'start it', why: 'it is stopped' };
const restart: Plan = { ...idle, operations: [start as unknown as Operation] };

/** A release, at which nothing of the old worker was left a minute ago. */
const release = (stoppedAt: number | null = now - minute): Outcome => ({
  transaction: '20261122T131500-4f2a',
  result: 'committed',
  steps: [{ ...step, op: 'stop-unit', result: { stoppedAt } }],
});

const committed = {
  transaction: '20261122T131600-5b3c',
  result: 'committed',
  steps: [
    { ...step, op: 'backup-database' },
    { ...step, op: 'repair-jobs', index: 1, result: { changed: 1, skipped: [] } },
  ],
} satisfies Outcome;

interface Wishes {
  readonly answers?: HostAnswers;
  readonly apply?: () => Promise<Outcome>;
  readonly dryRun?: boolean;
  readonly lockTimeout?: number;
  readonly before?: Outcome | null;
  readonly restarts?: boolean;
  readonly leaves?: boolean;
}

async function settle(database: AppDatabase, wishes: Wishes = {}) {
  const { answers, apply = async () => committed, dryRun = false, before = release() } = wishes;
  const run = new RecordedRun({ dryRun });
  const meta = run.meta.bind(run);
  run.meta = (name) => ({ ...meta(name), lockTimeoutSeconds: seconds(wishes.lockTimeout ?? 0) });
  const metas: TransactionMeta[] = [];
  const agent = {
    ...agentOf([database.fact()], { [path]: database.content() }, answers),
    apply: (_: unknown, meta: TransactionMeta) => {
      metas.push(meta);
      return apply();
    },
  };
  const desired = desire({ evidence: 'broker', orphans: false, confirmAfterSeconds: seconds(0) });
  const orphanedJobs = wishes.leaves ? null : desired;
  const tools = { openStore: openStoreHere, newTaskId };
  const deploy = { plan: wishes.restarts === false ? idle : restart, outcome: before };
  await settleAbandoned(run, agent as unknown as Agent, deploy, { orphanedJobs, unit }, tools);
  return { run, metas, said: run.results.map(({ sentence }) => sentence).join('\n') };
}

function lostJob(): AppDatabase {
  const database = new AppDatabase();
  const times = { created_at: bySqlite(hour), started_at: bySqlite(2 * minute) };
  database.add('jobs', { id: 'lost', status: 'processing', celery_task_id: 'task-lost', ...times });
  return database;
}

test('the plan is shown, applied as a clean-up that is no release, and reported', async () => {
  using database = lostJob();
  const { run, metas, said } = await settle(database);
  expect(metas).toEqual([expect.objectContaining({ action: 'cleanup', unit })]);
  expect(metas[0]).not.toHaveProperty('release');
  expect(run.log).toEqual([
    'plan',
    'settling abandoned jobs',
    'settled=1',
    'left=0',
    expect.stringMatching(/^Settled 1 row of jobs/),
  ]);
  expect(said).toBe(
    'Settled 1 row of jobs that were in progress since before celery-worker.service stopped (2026-01-18 14:59:00 UTC), transaction 20261122T131600-5b3c.',
  );
  expect(run.results[0]?.checklist.map(({ done }) => done)).toEqual([true, true]);
});

test('it waits for the lock no longer than a verdict can wait', async () => {
  using database = lostJob();
  const { metas } = await settle(database, { lockTimeout: 900 });
  expect(metas[0]?.lockTimeoutSeconds).toBe(60);
});

test('rows that changed meanwhile are counted as left', async () => {
  using database = lostJob();
  const result = {
    changed: 0,
    skipped: [{ table: 'jobs', id: 'lost', why: 'changed meanwhile' }],
  };
  const outcome: Outcome = {
    ...committed,
    steps: [{ ...step, op: 'repair-jobs', index: 1, result }],
  };
  const { run, said } = await settle(database, { apply: async () => outcome });
  expect(run.log).toContain('settled=0');
  expect(run.log).toContain('left=1');
  expect(said).toContain('1 row skipped, for the reasons given.');
  expect(run.results[0]?.findings[0]?.message).toBe('skipped 1 row: jobs lost changed meanwhile');
});

test('a job whose task is left is counted, and nothing is applied', async () => {
  using database = lostJob();
  const owed = (): TasksFact => ({
    ...{ kind: 'told', worker: 'answers', held: [], holding: 0, waiting: 1, hidden: null },
    owed: ['task-lost'],
  });
  const { run, metas, said } = await settle(database, { answers: { tasks: owed } });
  expect(metas).toEqual([]);
  expect(run.log).toContain('left=1');
  expect(said).toMatch(/^No abandoned job was settled: .* 1 row skipped/);
});

test('no abandoned job is said in one sentence', async () => {
  using database = new AppDatabase();
  const { run, metas, said } = await settle(database);
  expect(metas).toEqual([]);
  expect(run.log).toContain('settled=0');
  expect(said).toMatch(/^No job was abandoned: none is in progress since before celery-worker/);
});

describe('without a recorded stop', () => {
  test.each([
    ['nothing was applied', null],
    ['nothing was restarted', { ...release(), steps: [] }],
    ['something of it ran again', release(null)],
  ])('nothing is looked at, and that is said: %s', async (_, before) => {
    using database = lostJob();
    const { run, metas, said } = await settle(database, { before });
    expect(metas).toEqual([]);
    expect(run.log).toEqual([
      'No abandoned jobs were looked for: celery-worker.service was not stopped in this run.',
    ]);
    expect(said).not.toContain('lost');
  });

  test('with `leave` nothing is said either', async () => {
    using database = lostJob();
    expect((await settle(database, { leaves: true })).run.log).toEqual([]);
  });
});

describe('the release stays, and a warning says why the jobs were left', () => {
  const undone: Outcome = {
    ...committed,
    result: 'undone',
    failure: { index: 1, message: 'the database is locked' },
  };
  const torn: Outcome = {
    ...committed,
    result: 'undo-failed',
    steps: [{ ...step, op: 'repair-jobs', status: 'not-undone', message: 'no room on the disk' }],
  };
  const silent = (): TasksFact => ({ kind: 'unknown', problem: 'its broker is amqp' });
  const lost = () =>
    Promise.reject(new HostError('The connection was lost.', { step: 'apply', next: 'wait' }));

  test.each<[string, Wishes, string]>([
    ['it was undone', { apply: async () => undone }, 'the database is locked'],
    ['it could not be undone', { apply: async () => torn }, 'no room on the disk'],
    ['the connection was lost', { apply: lost }, 'The connection was lost'],
    ['the broker cannot be asked', { answers: { tasks: silent } }, 'its broker is amqp'],
    [
      'something unexpected',
      { apply: () => Promise.reject(new TypeError('x is not a function')) },
      'x is not a function',
    ],
  ])('%s', async (_, wishes, why) => {
    using database = lostJob();
    const { run, said } = await settle(database, wishes);
    expect(said).toMatch(/^Settling abandoned jobs failed: /);
    expect(said).toContain(why);
    const [finding] = run.results.at(-1)?.findings ?? [];
    expect(finding).toMatchObject({ level: 'warning' });
    expect(finding?.message).toContain('the release stays');
    expect(run.log.filter((line) => /^(?:settled|left|changed|transaction)=/.test(line))).toEqual(
      [],
    );
  });

  test('a status column that takes none of our words', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT CHECK (status IN ('processing', 'x')),
        celery_task_id TEXT, created_at TEXT);
      INSERT INTO jobs VALUES (1, 'processing', 'task-1', '2026-01-18 14:00:00');`);
    expect((await settle(database)).said).toMatch(/^Settling abandoned jobs failed: input /);
  });
});

describe('a dry run', () => {
  test('says what is in progress now, and by which rule it would be settled', async () => {
    using database = lostJob();
    const { run, metas, said } = await settle(database, { dryRun: true, before: null });
    expect(metas).toEqual([]);
    expect(said).toBe(
      `Dry run: in progress now: 1 jobs in ${path}. Once celery-worker.service has been restarted successfully, \`fail\` would settle those that are in progress since before its stop, unless their task is in a queue, unacknowledged or held by a worker by then.`,
    );
    expect(run.log).toHaveLength(1);
  });

  test('says that nothing would be looked for where nothing would be restarted', async () => {
    using database = lostJob();
    const { run, said } = await settle(database, { dryRun: true, before: null, restarts: false });
    expect(said).toBe(
      'Dry run: no abandoned jobs would be looked for: celery-worker.service is not to be stopped.',
    );
    expect(run.log).toHaveLength(1);
  });

  test('warns where nothing could be settled, and stays green', async () => {
    using database = new AppDatabase('CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);');
    const { run, said } = await settle(database, { dryRun: true, before: null });
    expect(said).toBe('Dry run: abandoned jobs would not be settled.');
    expect(run.results[0]?.findings).toEqual([
      { level: 'warning', message: expect.stringContaining('would be left as they are: input ') },
    ]);
  });
});
