import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { RowChange } from '../../../src/model/operation/jobs.ts';
import { AppDatabase, bySqlite, day, minute, planFor } from './app-database.ts';
import { drive, type Said } from './drive-host.ts';

const repair = (
  database: AppDatabase,
  call: string,
  rows: readonly RowChange[],
  busy = 5,
  between?: string,
) =>
  drive(
    database,
    'operations.repair_jobs',
    call,
    {
      database: database.file,
      unit: 'celery-worker.service',
      rows,
      lookAgain: null,
      busyTimeoutSeconds: busy,
    },
    between,
  );

/** Message and result of a `do`. */
const doneBy = (said: Said): readonly [string, Result] => {
  if (said.error !== undefined) throw new Error(said.error);
  return said.value as [string, Result];
};

interface Result {
  readonly changed: number;
  readonly updated: number;
  readonly deleted: number;
  readonly lockedSeconds: number;
  readonly skipped: readonly {
    readonly table: string;
    readonly id: string;
    readonly why: string;
  }[];
}

async function planned(
  database: AppDatabase,
  action: 'fail' | 'reset' | 'delete',
): Promise<readonly RowChange[]> {
  // Both trees have completed rows.
  const named = { ids: ['job-one', 'job-two'], deleteCompleted: true };
  const isStuck = database.row('jobs', 'job-one') !== undefined;
  const wishes = action === 'delete' && isStuck ? named : {};
  const { plan } = await planFor(database, { action, ...wishes });
  return plan.operations.flatMap((one) => (one.op === 'repair-jobs' ? one.rows : []));
}

/** Two trees that are stuck, one that lives. */
function stuckDatabase(): AppDatabase {
  const database = new AppDatabase();
  database.sql.pragma('journal_mode = WAL');
  for (const name of ['one', 'two']) {
    const { links } = database.addBatch(name, {
      ago: day,
      links: [
        ['processing', day],
        ['completed', day],
      ],
    });
    for (const link of links) database.addVariation(link, 'pending', day);
  }
  database.addBatch('alive', { ago: minute, links: [['processing', minute]] });
  return database;
}

const everything = (database: AppDatabase): unknown =>
  ['jobs', 'batches', 'batch_links', 'batch_variations'].map((table) =>
    database.sql.prepare(`SELECT * FROM ${table} ORDER BY id`).all(),
  );

describe('repair-jobs', () => {
  test.each(['fail', 'reset', 'delete'] as const)(
    '%s changes the rows of the plan, and undo puts them back, twice',
    async (action) => {
      using database = stuckDatabase();
      const before = everything(database);
      const rows = await planned(database, action);
      const wanted = rows.filter((row) => row.change.kind !== 'keep').length;
      expect(repair(database, 'check', rows).value).toBe(false);
      const [line, result] = doneBy(repair(database, 'do', rows));
      expect(result).toMatchObject({ changed: wanted, skipped: [] });
      expect(line).toContain(database.file);
      expect(database.statuses()['job-alive']).toBe('processing');
      expect(database.statuses()['job-one']).toBe(
        { fail: 'completed', reset: 'pending', delete: undefined }[action],
      );
      expect(database.sql.pragma('foreign_key_check')).toEqual([]);
      expect(repair(database, 'check', rows).value).toBe(true);
      expect(repair(database, 'undo', rows).value).toContain(`${wanted} rows`);
      expect(everything(database)).toEqual(before);
      expect(repair(database, 'undo', rows).value).toContain('0 rows');
      expect(everything(database)).toEqual(before);
    },
  );

  test('rows of one table above each other: the lowest first; a new child is noticed', async () => {
    using database = new AppDatabase();
    database.sql.exec('ALTER TABLE jobs ADD COLUMN parent_job_id TEXT REFERENCES jobs (id)');
    const add = (id: string, above: string): void => {
      const created_at = bySqlite(day);
      database.add('jobs', { id, status: 'processing', parent_job_id: above, created_at });
    };
    for (const top of ['a', 'b']) {
      add(`${top}-leaf`, `${top}-middle`);
      add(`${top}-middle`, top);
      add(top, top);
    }
    const rows = await planned(database, 'delete');
    add('b-new', 'b');
    const before = everything(database);
    const [, result] = doneBy(repair(database, 'do', rows));
    expect(result.changed).toBe(3);
    expect(result.skipped.find(({ id }) => id === 'b')?.why).toContain('it has 3 jobs, not 2');
    expect(Object.keys(database.statuses())).toEqual(['b-leaf', 'b-middle', 'b', 'b-new']);
    expect(repair(database, 'undo', rows).value).toContain('3 rows');
    expect(everything(database)).toEqual(before);
  });

  test('a tree with a row that has changed is skipped, the others are not', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'delete');
    database.sql.exec("UPDATE batch_links SET status = 'completed' WHERE id = 'link-one-0'");
    const [, result] = doneBy(repair(database, 'do', rows));
    expect(result.skipped.map((row) => row.id)).toContain('job-one');
    expect(result.skipped.find((row) => row.id === 'link-one-0')?.why).toContain(
      "status is now 'completed'",
    );
    expect(database.row('jobs', 'job-one')).toBeDefined();
    expect(database.row('jobs', 'job-two')).toBeUndefined();
  });

  test('a tree that gained or lost a row is skipped', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'fail');
    database.add('batch_links', { id: 'link-new', batch_id: 'batch-one', status: 'pending' });
    database.sql.exec("DELETE FROM batch_variations WHERE batch_link_id = 'link-two-0'");
    const [, result] = doneBy(repair(database, 'do', rows));
    expect(result.changed).toBe(0);
    expect(result.skipped.map((row) => row.why).join('\n')).toMatch(/it has 3 batch_links, not 2/);
    expect(result.skipped.map((row) => row.why).join('\n')).toMatch(/is gone/);
  });

  test.each([
    [
      'a row moves',
      "UPDATE batch_links SET status = 'completed' WHERE id = 'link-one-0'",
      /now 'completed'/,
    ],
    ['a row goes', "DELETE FROM batch_variations WHERE batch_link_id = 'link-one-1'", /is gone/],
    [
      'a row comes',
      "INSERT INTO batch_links (id, batch_id) VALUES ('link-new', 'batch-one')",
      /it has 3 batch_links, not 2/,
    ],
  ])('%s between the look and the lock: its tree is skipped, also by undo', async (_, sql, why) => {
    for (const action of ['fail', 'delete'] as const) {
      using database = stuckDatabase();
      const rows = await planned(database, action);
      const [, result] = doneBy(repair(database, 'do', rows, 5, sql));
      expect(result.skipped.map((row) => row.why).join('\n')).toMatch(why);
      expect(result.changed).toBeGreaterThan(0);
      expect(database.row('jobs', 'job-one')?.status).toBe('processing');
      expect(database.row('jobs', 'job-two')?.status).not.toBe('processing');
      const meanwhile = everything(database);
      expect(repair(database, 'undo', rows).value).not.toContain('changed since');
      expect(everything(database)).not.toEqual(meanwhile);
      expect(database.row('jobs', 'job-two')?.status).toBe('processing');
      // What went by itself does not come back.
      expect(
        database.sql
          .prepare("SELECT count(*) FROM batch_variations WHERE batch_link_id = 'link-one-1'")
          .pluck()
          .get(),
      ).toBe(sql.startsWith('DELETE') ? 0 : 1);
    }
  });

  test('other writes in the meantime do not matter; the lock is short', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'fail');
    const sql = "INSERT INTO video_jobs (id) VALUES ('other')";
    const [, result] = doneBy(repair(database, 'do', rows, 5, sql));
    expect(result.skipped).toEqual([]);
    expect(result.lockedSeconds).toBeGreaterThan(0);
  });

  test.each([
    ['ON DELETE CASCADE', 'which would be changed or deleted with it (ON DELETE)'],
    ['ON DELETE SET NULL', 'which would be changed or deleted with it (ON DELETE)'],
    ['', 'which refer to it'],
  ])(
    'a row that others hang on, of which the plan did not know (%s), is skipped',
    async (action, why) => {
      using database = stuckDatabase();
      const rows = await planned(database, 'delete');
      database.sql.exec(`CREATE TABLE notes (id TEXT, job TEXT REFERENCES jobs ${action});
        INSERT INTO notes VALUES ('precious', 'job-one')`);
      const [, result] = doneBy(repair(database, 'do', rows));
      expect(result.skipped.find((row) => row.id === 'job-one')?.why).toBe(
        `has rows of notes, ${why}`,
      );
      expect(database.row('notes', 'precious')?.job).toBe('job-one');
      expect(database.row('batch_links', 'link-one-0')).toBeDefined();
      expect(database.row('jobs', 'job-two')).toBeUndefined();
    },
  );

  test('resets are counted, and undone', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'reset');
    const counts = () =>
      drive(database, 'facts.resets', 'look', { database: database.file }).value as Record<
        string,
        number
      >;
    expect(counts()).toEqual({});
    doneBy(repair(database, 'do', rows));
    expect(counts()).toMatchObject({ 'jobs:job-one': 1, 'batch_links:link-two-0': 1 });
    expect(counts()).not.toHaveProperty('batch_links:link-two-1');
    repair(database, 'undo', rows);
    repair(database, 'undo', rows);
    expect(counts()).toEqual({});
  });

  test('undo keeps later changes of the app', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'fail');
    doneBy(repair(database, 'do', rows));
    database.sql.exec("UPDATE jobs SET status = 'cancelled' WHERE id = 'job-one'");
    expect(repair(database, 'undo', rows).value).toContain('skipped, changed since: jobs job-one');
    expect(database.statuses()).toMatchObject({ 'job-one': 'cancelled', 'job-two': 'processing' });
  });

  test('undo restores every kind of value', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, data BLOB, odd TEXT,
        number REAL, twice GENERATED ALWAYS AS (number * 2));`);
    database.sql.exec(
      `INSERT INTO jobs VALUES ('j', 'processing', '${bySqlite(day)}', x'00ff', CAST(x'80fe' AS TEXT), 1.5)`,
    );
    const read = () =>
      database.sql
        .prepare(
          'SELECT *, hex(odd) AS odd_hex, typeof(odd), typeof(data), typeof(number) FROM jobs',
        )
        .get();
    const before = read();
    const rows = await planned(database, 'delete');
    doneBy(repair(database, 'do', rows));
    expect(read()).toBeUndefined();
    expect(repair(database, 'undo', rows).value).toContain('1 rows');
    expect(read()).toEqual(before);
  });

  test('it waits for a lock, then names it and changes nothing', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'fail');
    const before = everything(database);
    const holder = spawn('python3', [
      '-Iuc',
      'import sqlite3,sys;d=sqlite3.connect(sys.argv[1],isolation_level=None);d.execute("BEGIN IMMEDIATE");print("held");sys.stdin.read()',
      database.file,
    ]);
    try {
      await once(holder.stdout, 'data');
      const said = repair(database, 'do', rows, 0.2);
      expect(said.error).toContain(
        `${database.file} is locked by pid ${holder.pid} (python3, user `,
      );
      expect(said.error).toContain('nothing was changed');
    } finally {
      holder.stdin.end();
      await once(holder, 'exit');
    }
    expect(everything(database)).toEqual(before);
    expect(repair(database, 'undo', rows).value).toBeNull();
  });
});
