import { describe, expect, test } from 'vitest';
import type { StoreFact } from '../../../../src/model/facts/store.ts';
import { epochSeconds } from '../../../../src/model/units.ts';
import { planCleanUp } from '../../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  byPython,
  bySqlite,
  desire,
  type HostAnswers,
  hour,
  messagesOf,
  minute,
  newTaskId,
  now,
  path,
  planFor,
} from '../app-database.ts';

/** A job that looks stuck, started at this time, beside a table of users. */
function jobAt(started: string | number): AppDatabase {
  const database = new AppDatabase(`
    CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, task_id TEXT, started_at,
      next_run_at TEXT);
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, last_login TIMESTAMP);`);
  database.add('jobs', { id: 1, status: 'processing', started_at: started });
  database.add('jobs', { id: 2, status: 'completed', started_at: bySqlite(30 * hour) });
  database.add('users', { id: 1, name: 'ann', last_login: bySqlite(40 * hour) });
  return database;
}

const written = (ago: number) => ({ writtenAt: epochSeconds(now - ago) });
const warning = /the newest time of all jobs, .* reads as 5 h before the last write/;

describe('rows that are older than their database', () => {
  test('are warned of by a plan, which looks once', async () => {
    using database = jobAt(byPython(5 * hour + 3));
    const cleanUp = await planFor(database, {}, written(2));
    expect(messagesOf(cleanUp)).toMatch(warning);
    expect(messagesOf(cleanUp)).toContain("started_at = '2026-01-18T09:59:57.123456' of jobs 1");
    expect(cleanUp.plan.findings.map(({ level }) => level)).toContain('warning');
  });

  test.each([1, 2.5, 3.5, 9.5, 12, 26])('by %s h, as zones may be', async (hours) => {
    using database = jobAt(bySqlite(hours * hour + 20));
    expect(messagesOf(await planFor(database, {}, written(0)))).toContain('before the last write');
  });

  test('are not once `timezone` is right: then the job does not look stuck either', async () => {
    using database = jobAt(byPython(5 * hour + 3));
    const cleanUp = await planFor(database, { timeZone: 'America/New_York' }, written(2));
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).not.toContain('before the last write');
  });

  test.each([
    ['the last write was to the job', bySqlite(5 * hour), 5 * hour - 1],
    ['the last write was at any other time', bySqlite(5 * hour), 20 * minute],
    ['the job was written a moment later than whole hours before', bySqlite(5 * hour), 10],
    ['it is days ago', bySqlite(29 * hour), 0],
    ['the time has a zone', `${bySqlite(5 * hour)}Z`, 0],
    ['the time is a number', now - 5 * hour, 0],
  ])('are not if %s', async (_, started, ago) => {
    using database = jobAt(started);
    const cleanUp = await planFor(database, {}, written(ago));
    expect(cleanUp.plan.operations.length).toBeGreaterThan(0);
    expect(messagesOf(cleanUp)).not.toContain('before the last write');
  });

  test('are not if the last write was to another table, also to an old row of it', async () => {
    using database = jobAt(bySqlite(5 * hour));
    database.add('users', { id: 2, last_login: bySqlite(hour) });
    expect(messagesOf(await planFor(database, {}, written(0)))).toMatch(warning);
    database.sql.exec(`UPDATE users SET last_login = '${bySqlite(1)}' WHERE id = 1`);
    expect(messagesOf(await planFor(database, {}, written(0)))).not.toMatch(warning);
  });

  test('are warned of beside a table that only the app can read', async () => {
    using database = jobAt(bySqlite(5 * hour));
    database.sql.unsafeMode();
    database.sql.pragma('writable_schema = ON');
    database.sql.exec(`INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES
      ('table', 'index_of_app', 'index_of_app', 0, 'CREATE VIRTUAL TABLE index_of_app USING app (created_at)')`);
    const tables = database
      .tables()
      .map((table) =>
        table.name === 'index_of_app'
          ? { ...table, columns: [{ name: 'created_at', type: '' }] }
          : table,
      );
    const fact = { ...database.fact(), tables } as StoreFact;
    const agent = agentOf([fact], { [path]: database.content() }, written(0));
    const tools = { agent, openStore: openStoreHere, newTaskId };
    expect(messagesOf(await planCleanUp(tools, desire()))).toMatch(warning);
  });

  test('are not if no row looks stuck, or nothing is known of the last write', async () => {
    using database = jobAt(bySqlite(5 * hour));
    expect(messagesOf(await planFor(database))).not.toMatch(warning);
    database.sql.exec("UPDATE jobs SET status = 'completed'");
    expect(messagesOf(await planFor(database, {}, written(0)))).not.toMatch(warning);
  });

  test('a time that is still to come is no sign of a write', async () => {
    using database = jobAt(bySqlite(5 * hour));
    database.sql.exec(`UPDATE jobs SET next_run_at = '${bySqlite(-hour)}'`);
    expect(messagesOf(await planFor(database, {}, written(0)))).toMatch(warning);
  });
});

describe('a row that is older than the begin of its task', () => {
  /** A worker began the task of job 1 so long ago. */
  const working = (begunAgo: number | null): HostAnswers => ({
    tasks: (ids) => ({
      kind: 'told',
      worker: 'answers',
      owed: [],
      held: ids,
      holding: ids.length,
      waiting: 0,
      hidden: null,
      begun: begunAgo === null ? {} : { [task]: epochSeconds(now - begunAgo) },
    }),
  });
  const task = '3f0c1c6e-1111-4c2e-9a4e-000000000001';
  const plan = (database: AppDatabase, begunAgo: number | null) => {
    database.sql.exec(`UPDATE jobs SET task_id = '${task.replaceAll('-', '')}' WHERE id = 1`);
    return planFor(database, { evidence: 'broker' }, working(begunAgo));
  };
  const told = 'of jobs 1 reads as 5 h before a worker began its task; times without a zone';

  test.each([
    [5 * hour + 20, 20],
    // The app wrote that it had begun a moment later, or that it sent the task a moment before.
    [5 * hour + 20, 40],
    [5 * hour + 20, 5],
  ])('is warned of by a plan, also of PostgreSQL: %d s and %d s ago', async (started, begun) => {
    using database = jobAt(bySqlite(started));
    const cleanUp = await plan(database, begun);
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toContain(told);
  });

  test.each<[string, string | number, number | null]>([
    ['it waited for it, but not for whole hours', bySqlite(5 * hour), 10 * minute],
    ['it began just when the row says', bySqlite(5 * hour), 5 * hour],
    ['the worker does not say when', bySqlite(5 * hour), null],
    ['the time has a zone', `${bySqlite(5 * hour)}Z`, 0],
    ['the time is a number', now - 5 * hour, 0],
  ])('is not if %s', async (_, started, begun) => {
    using database = jobAt(started);
    expect(messagesOf(await plan(database, begun))).not.toContain('without a zone');
  });
});
