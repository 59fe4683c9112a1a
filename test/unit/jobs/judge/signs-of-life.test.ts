import { describe, expect, test } from 'vitest';
import {
  AppDatabase,
  bySqlite,
  day,
  hour,
  messagesOf,
  minute,
  now,
  planFor,
} from '../app-database.ts';
import { load } from '../load-case.ts';

/** Which columns show that a row is being worked on, whatever they are called. */

type CleanUp = Awaited<ReturnType<typeof planFor>>;

const repairOf = (cleanUp: CleanUp) => {
  const found = cleanUp.plan.operations.find((operation) => operation.op === 'repair-jobs');
  return found?.op === 'repair-jobs' ? found.rows : [];
};

const setOf = (cleanUp: CleanUp): unknown[] =>
  repairOf(cleanUp).map(({ change }) => (change.kind === 'update' ? change.set : change.kind));

/** One job that was created five hours ago, with one more column. */
function jobWith(column: string, value: string | number | null, others = ''): AppDatabase {
  const name = column.split(' ')[0] ?? '';
  const database = new AppDatabase(
    `CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, ${column}${others})`,
  );
  const values = { id: 1, status: 'processing', created_at: bySqlite(5 * hour), [name]: value };
  database.add('jobs', values);
  return database;
}

describe('columns that hold times', () => {
  test('a row lives by any of them: modified, last_update, last_seen', async () => {
    using database = load('heartbeat-names');
    expect(repairOf(await planFor(database))).toEqual([]);
    database.sql.exec(`UPDATE core_task SET modified = created, last_update = created,
      last_seen = created`);
    const [row] = repairOf(await planFor(database));
    const names = ['created', 'modified', 'last_update', 'last_seen'];
    expect(Object.keys(row?.seen ?? {})).toEqual(expect.arrayContaining(names));
  });

  test.each<[column: string, value: string | number]>([
    ['modified TEXT', bySqlite(minute)],
    ['last_update DATETIME', bySqlite(minute)],
    ['lastHeartbeat TEXT', bySqlite(minute)],
    ['last_ping TIMESTAMP', bySqlite(minute)],
    ['progress_ts REAL', now - minute],
    ['heartbeat INTEGER', (now - minute) * 1000],
    ['pulse', bySqlite(minute)],
    ['pulse NUMERIC', now - minute],
    ['start_time REAL', now - minute],
    ['touched DATE', bySqlite(minute).slice(0, 10)],
  ])('%s counts by its type or its values', async (column, value) => {
    using database = jobWith(column, value);
    expect(repairOf(await planFor(database))).toEqual([]);
  });

  test.each<[column: string, value: string | number | null]>([
    ['modified TEXT', bySqlite(4 * hour)],
    ['last_error TEXT', 'timeout'],
    ['start_time REAL', 12.5],
    ['start_time INTEGER', 90],
    ['end_time TEXT', '00:01:30'],
    ['started INTEGER', 1],
    ['started BOOLEAN', 1],
    ['started_at INTEGER', 0],
    ['elapsed REAL', 3600],
    ['file_size INTEGER', 1_500_000_000],
    ['estimated_time TIME', '10:00:00'],
    ['next_run_at TEXT', bySqlite(-hour)],
    ['next_run_at TEXT', bySqlite(minute)],
    ['lease_expires_at TEXT', bySqlite(-minute)],
    ['planned_for TEXT', bySqlite(-day)],
  ])('%s = %s is no sign of life, and no reason to skip the row', async (column, value) => {
    using database = jobWith(column, value);
    const cleanUp = await planFor(database);
    expect(repairOf(cleanUp)).toHaveLength(1);
    expect(messagesOf(cleanUp)).not.toContain('skipped');
  });

  test('what is planned is compared at the second look: an extended lease is a sign', async () => {
    using database = jobWith('lease_expires_at TEXT', bySqlite(-minute));
    const [row] = repairOf(await planFor(database));
    expect(row?.seen.lease_expires_at).toBe(bySqlite(-minute));
  });

  test('an unreadable time of the row itself leaves its age unknown', async () => {
    using database = jobWith('started_at TEXT', 'yesterday');
    const cleanUp = await planFor(database);
    expect(repairOf(cleanUp)).toEqual([]);
    expect(messagesOf(cleanUp)).toContain("started_at = 'yesterday'");
  });
});

describe('positions and durations', () => {
  test('no date is written into the seconds of a video', async () => {
    using database = load('clip-end-time');
    const [set] = setOf(await planFor(database));
    expect(Object.keys(set ?? {})).toEqual(['status']);
  });

  test.each([
    ['end_time REAL', 30, ', start_time REAL'],
    ['end_time TEXT', '00:01:30', ''],
    ['end_time TEXT', null, ''],
    ['completed_at REAL', null, ''],
  ])('%s = %s is not written', async (column, value, others) => {
    using database = jobWith(column, value, others);
    expect(setOf(await planFor(database))).toEqual([{ status: 'failed' }]);
  });

  test.each<[column: string, form: RegExp]>([
    ['end_time DATETIME', /^2026-01-18 15:00:00$/],
    ['completed_at TEXT', /^2026-01-18 15:00:00$/],
  ])('%s is written when the row ends', async (column, form) => {
    using database = jobWith(column, null);
    const name = column.split(' ')[0] ?? '';
    expect(setOf(await planFor(database))).toEqual([
      { status: 'failed', [name]: expect.stringMatching(form) },
    ]);
  });

  test('an empty end_time is a time where start_time is one', async () => {
    using database = jobWith('end_time REAL', null, ', start_time REAL');
    database.sql.exec(`UPDATE jobs SET start_time = ${now - 4 * hour}.5`);
    expect(setOf(await planFor(database))).toEqual([{ status: 'failed', end_time: now }]);
  });
});

describe('a wrong time zone', () => {
  test('rows that changed in the future are warned of', async () => {
    using database = jobWith('started_at TEXT', bySqlite(-hour));
    const cleanUp = await planFor(database);
    expect(repairOf(cleanUp)).toEqual([]);
    expect(messagesOf(cleanUp)).toContain(
      'jobs: times of 1 row are up to 1 h in the future, such as those of jobs 1; times without a zone are read as UTC',
    );
  });

  test('rows that started before they were created are warned of', async () => {
    using database = jobWith('started_at TEXT', bySqlite(10 * hour));
    const cleanUp = await planFor(database);
    expect(messagesOf(cleanUp)).toContain(
      'up to 5 h before the row was created, such as those of jobs 1',
    );
    expect(cleanUp.plan.findings.map(({ level }) => level)).toContain('warning');
  });

  test.each([
    ['epochs', now - 10 * hour],
    ['times with a zone', `${bySqlite(10 * hour)}Z`],
    ['times that are a little apart', bySqlite(5 * hour + minute)],
    ['times that follow one another', bySqlite(4 * hour)],
  ])('%s are not', async (_, value) => {
    using database = jobWith('started_at', value);
    expect(messagesOf(await planFor(database))).not.toContain('without a zone');
  });
});
