import { describe, expect, test } from 'vitest';
import { AppDatabase, bySqlite, day, hour, messagesOf, minute, planFor } from '../app-database.ts';

/** Jobs whose time is still to come, and jobs between two runs of their own. */

type CleanUp = Awaited<ReturnType<typeof planFor>>;

const changesOf = (cleanUp: CleanUp): readonly string[] =>
  cleanUp.repairs.flatMap(({ rows }) =>
    rows.map(({ table, id, becomes }) => `${table} ${id} ${becomes}`),
  );

/** A campaign with a mail that was sent yesterday, and one for later. */
function dripCampaign(sendAt: string): AppDatabase {
  const database = new AppDatabase(`
    CREATE TABLE mail_batches (id INTEGER PRIMARY KEY, status TEXT, created_at DATETIME);
    CREATE TABLE mail_jobs (id INTEGER PRIMARY KEY, status TEXT, send_at DATETIME,
      created_at DATETIME, mail_batch_id INTEGER REFERENCES mail_batches (id))`);
  const created_at = bySqlite(day);
  database.add('mail_batches', { id: 1, status: 'processing', created_at });
  const mail = { mail_batch_id: 1, created_at };
  database.add('mail_jobs', { id: 1, status: 'completed', ...mail });
  database.add('mail_jobs', { id: 2, status: 'pending', send_at: sendAt, ...mail });
  return database;
}

/** A job of a scheduler, and how its last run ended. */
function scheduled(status: string, nextRun: string | null, run = 'failed'): AppDatabase {
  const database = new AppDatabase(`
    CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, next_run_at TEXT);
    CREATE TABLE job_runs (id INTEGER PRIMARY KEY, status TEXT, started_at TEXT,
      job_id INTEGER REFERENCES jobs (id))`);
  database.add('jobs', { id: 1, status, created_at: bySqlite(9 * day), next_run_at: nextRun });
  database.add('job_runs', { id: 1, status: run, started_at: bySqlite(day), job_id: 1 });
  return database;
}

describe.each(['fail', 'reset', 'delete', 'finalise'] as const)('%s', (action) => {
  test('a parent is not stuck while one of its rows waits for its planned time', async () => {
    using database = dripCampaign(bySqlite(-day));
    const cleanUp = await planFor(database, { action });
    expect(changesOf(cleanUp)).toEqual([]);
    expect(messagesOf(cleanUp)).toContain(
      `waits for its planned time: mail_jobs 2 has send_at = ${bySqlite(-day)}, which is in the future`,
    );
  });

  test.each(['pending', 'processing'])('a %s job waits for its next run', async (status) => {
    using database = scheduled(status, bySqlite(-hour));
    expect(changesOf(await planFor(database, { action }))).toEqual([]);
  });

  test('a pending job does not end by a run of its own', async () => {
    using database = scheduled('pending', null);
    expect(changesOf(await planFor(database, { action }))).toEqual([]);
  });
});

test('a row whose time has come keeps nothing', async () => {
  using database = dripCampaign(bySqlite(hour));
  expect(changesOf(await planFor(database))).toEqual([
    'mail_batches 1 completed',
    'mail_jobs 2 failed',
  ]);
});

test.each<[sendOn: string, keeps: boolean]>([
  [bySqlite(-day).slice(0, 10), true],
  [bySqlite(0).slice(0, 10), true],
  [bySqlite(day).slice(0, 10), false],
])('a day without a time, %s, is to come until it is over', async (sendOn, keeps) => {
  using database = dripCampaign(sendOn);
  expect(changesOf(await planFor(database)).length === 0).toBe(keeps);
});

test('a run of a waiting job can be stuck', async () => {
  using database = scheduled('pending', bySqlite(-hour), 'processing');
  expect(changesOf(await planFor(database))).toEqual(['job_runs 1 failed']);
});

test('a job that is at work ends by its runs', async () => {
  using database = scheduled('processing', bySqlite(minute));
  expect(changesOf(await planFor(database))).toEqual(['jobs 1 failed']);
});

test('nor is its own parent stuck with it', async () => {
  using database = scheduled('pending', null);
  database.sql.exec(`ALTER TABLE jobs ADD COLUMN batch_id INTEGER;
    CREATE TABLE batches (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
    UPDATE jobs SET batch_id = 1`);
  database.add('batches', { id: 1, status: 'processing', created_at: bySqlite(day) });
  expect(changesOf(await planFor(database, { action: 'finalise' }))).toEqual([]);
});

test('runs of other tables are parts: an experiment ends with its runs', async () => {
  using database = new AppDatabase(`
    CREATE TABLE experiments (id INTEGER PRIMARY KEY, status TEXT, completed_runs INTEGER,
      created_at TEXT);
    CREATE TABLE training_runs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT,
      experiment_id INTEGER REFERENCES experiments (id))`);
  const created_at = bySqlite(day);
  database.add('experiments', { id: 1, status: 'pending', completed_runs: 1, created_at });
  database.add('training_runs', { id: 1, status: 'completed', experiment_id: 1, created_at });
  expect(changesOf(await planFor(database))).toEqual(['experiments 1 completed']);
});
