import { describe, expect, test } from 'vitest';
import { epochSeconds } from '../../../../src/model/units.ts';
import {
  AppDatabase,
  byPython,
  bySqlite,
  hour,
  messagesOf,
  minute,
  now,
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
