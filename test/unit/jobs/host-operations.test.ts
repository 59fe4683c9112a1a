import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDatabase } from '../../../src/adapters/sqlite-native.ts';
import type { RowChange } from '../../../src/model/operation.ts';
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
  const { plan } = await planFor(database, { action });
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
        { fail: 'failed', reset: 'pending', delete: undefined }[action],
      );
      expect(database.sql.pragma('foreign_key_check')).toEqual([]);
      expect(repair(database, 'check', rows).value).toBe(true);
      expect(repair(database, 'undo', rows).value).toContain(`${wanted} rows`);
      expect(everything(database)).toEqual(before);
      expect(repair(database, 'undo', rows).value).toContain('0 rows');
      expect(everything(database)).toEqual(before);
    },
  );

  test('rows of one table above each other: the lowest first; one that came meanwhile is seen', async () => {
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

  test('a tree in which a row moved meanwhile is left alone, the others are not', async () => {
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

  test('so is a tree that grew, or lost a row', async () => {
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
  ])('%s between the look and the lock: its tree is left, also by undo', async (_, sql, why) => {
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

  test('what others write elsewhere meanwhile is no reason; the lock is short', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'fail');
    const sql = "INSERT INTO video_jobs (id) VALUES ('other')";
    const [, result] = doneBy(repair(database, 'do', rows, 5, sql));
    expect(result.skipped).toEqual([]);
    expect(result.lockedSeconds).toBeGreaterThan(0);
  });

  test.each([
    ['ON DELETE CASCADE', 'which would go with it (ON DELETE)'],
    ['ON DELETE SET NULL', 'which would go with it (ON DELETE)'],
    ['', 'which name it'],
  ])(
    'a row that others hang on, of which the plan did not know (%s), is left alone',
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

  test('resets are counted, and taken back', async () => {
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

  test('undo leaves what the app changed since', async () => {
    using database = stuckDatabase();
    const rows = await planned(database, 'fail');
    doneBy(repair(database, 'do', rows));
    database.sql.exec("UPDATE jobs SET status = 'completed' WHERE id = 'job-one'");
    expect(repair(database, 'undo', rows).value).toContain('left as they are: jobs job-one');
    expect(database.statuses()).toMatchObject({ 'job-one': 'completed', 'job-two': 'processing' });
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

  test('a lock is waited for, then named; nothing is changed', async () => {
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
      expect(said.error).toContain(`${database.file} is locked by pid ${holder.pid} (`);
      expect(said.error).toContain('nothing was changed');
    } finally {
      holder.stdin.end();
      await once(holder, 'exit');
    }
    expect(everything(database)).toEqual(before);
    expect(repair(database, 'undo', rows).value).toBeNull();
  });

  test.each<[string, Partial<RowChange>, string]>([
    ['an unknown table', { table: 'jobs"; DROP TABLE jobs; --' }, 'there is no table'],
    ['a schema table', { table: 'sqlite_master' }, 'there is no table'],
    ['an unknown column', { seen: { 'status" = 1 OR "id': 'x' } }, 'has no column'],
    [
      'an unknown column to set',
      { seen: {}, change: { kind: 'update', set: { 'x" = 1, "status': 'x' } } },
      'has no column',
    ],
  ])('%s is refused', async (_, wrong, expected) => {
    using database = stuckDatabase();
    const before = everything(database);
    const row: RowChange = {
      table: 'jobs',
      key: 'id',
      id: 'job-one',
      group: 'g',
      seen: { status: 'processing' },
      change: { kind: 'delete' },
      ...wrong,
    };
    expect(repair(database, 'do', [row]).error).toContain(expected);
    expect(everything(database)).toEqual(before);
  });

  test('a hostile id names no other row', async () => {
    using database = stuckDatabase();
    const row: RowChange = {
      table: 'jobs',
      key: 'id',
      id: "x' OR '1'='1",
      group: 'g',
      seen: {},
      change: { kind: 'delete' },
    };
    const [, result] = doneBy(repair(database, 'do', [row]));
    expect(result).toMatchObject({ changed: 0, skipped: [{ why: 'is gone' }] });
  });

  test('a change that a constraint forbids undoes them all', async () => {
    using database = stuckDatabase();
    database.sql.exec('CREATE UNIQUE INDEX one_folder ON jobs (folder_name)');
    database.sql.exec("UPDATE jobs SET folder_name = 'a' WHERE id = 'job-alive'");
    const before = everything(database);
    const rows: RowChange[] = [
      {
        table: 'batches',
        key: 'id',
        id: 'batch-two',
        group: 'a',
        seen: {},
        change: { kind: 'update', set: { status: 'failed' } },
      },
      {
        table: 'jobs',
        key: 'id',
        id: 'job-one',
        group: 'b',
        seen: {},
        change: { kind: 'update', set: { folder_name: 'a' } },
      },
    ];
    expect(repair(database, 'do', rows).error).toContain('UNIQUE constraint failed');
    expect(everything(database)).toEqual(before);
    expect(repair(database, 'undo', rows).value).toBeNull();
    expect(everything(database)).toEqual(before);
  });

  test.each([
    ['missing', (file: string) => `${file}.not`, 'there is no such file'],
    ['a folder', (file: string) => join(file, '..'), 'is not a regular file'],
  ])('a database that is %s', (_, pathOf, expected) => {
    using database = stuckDatabase();
    const args = { database: pathOf(database.file), rows: [], busyTimeoutSeconds: 1 };
    expect(drive(database, 'operations.repair_jobs', 'do', args).error).toContain(expected);
  });
});

describe('snapshot', () => {
  const snapshot = (database: AppDatabase, limitBytes = 2 ** 28, file = database.file) =>
    drive(database, 'snapshot', 'snapshot', { database: file, limitBytes });

  test('is whole, with what is still in -wal, and leaves the file as it is', () => {
    using database = stuckDatabase();
    const bytesOf = () => spawnSync('sha256sum', [database.file], { encoding: 'utf8' }).stdout;
    const before = bytesOf();
    const said = snapshot(database);
    const content = Buffer.from(said.content ?? '', 'base64');
    expect(said.value).toMatchObject({
      database: database.file,
      sizeBytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
    });
    const copy = join(database.folder, 'copy.db');
    writeFileSync(copy, content);
    const opened = openDatabase(copy);
    expect(opened.prepare('SELECT count(*) FROM jobs').pluck().get()).toBe(3);
    opened.close();
    expect(bytesOf()).toBe(before);
  });

  test('of a database that nobody has open leaves nothing beside it', () => {
    using database = stuckDatabase();
    const still = join(database.folder, 'still.db');
    writeFileSync(still, database.content());
    const closed = openDatabase(still);
    closed.pragma('journal_mode = WAL');
    closed.close();
    const list = () => readdirSync(database.folder).filter((name) => name.startsWith('still'));
    expect(snapshot(database, 2 ** 28, still).error).toBeUndefined();
    expect(list()).toEqual(['still.db']);
    // What a dead writer left in -wal is part of it.
    spawnSync('python3', [
      '-Ic',
      'import os,sqlite3,sys;d=sqlite3.connect(sys.argv[1]);d.execute("DELETE FROM jobs");d.commit();os._exit(0)',
      still,
    ]);
    expect(list()).toContain('still.db-wal');
    const content = Buffer.from(snapshot(database, 2 ** 28, still).content ?? '', 'base64');
    writeFileSync(still.replace('still', 'copy'), content);
    const opened = openDatabase(still.replace('still', 'copy'));
    expect(opened.prepare('SELECT count(*) FROM jobs').pluck().get()).toBe(0);
    opened.close();
  });

  test('comes in pieces of at most 256 KiB', () => {
    using database = stuckDatabase();
    const noise = Array.from({ length: 40_000 }, (_, index) =>
      createHash('sha256').update(String(index)).digest('hex'),
    );
    database.add('jobs', { id: 'big', folder_name: noise.join('') });
    const said = snapshot(database);
    expect(said.pieces?.length).toBeGreaterThan(1);
    expect(Math.max(...(said.pieces ?? []))).toBeLessThanOrEqual(256 * 1024);
  });

  test('is refused above the limit, of what is no database, of what is not there', () => {
    using database = stuckDatabase();
    expect(snapshot(database, 4096).error).toMatch(/a copy may have 4096 bytes/);
    const foreign = join(database.folder, 'foreign.db');
    writeFileSync(foreign, 'certainly no database '.repeat(100));
    expect(snapshot(database, 2 ** 28, foreign).error).toContain('not a SQLite database');
    expect(snapshot(database, 2 ** 28, `${foreign}.not`).error).toContain('there is no such file');
  });

  test('leaves no temporary folder', () => {
    using database = stuckDatabase();
    const left = () => readdirSync('/var/tmp').filter((name) => name.startsWith('celeriac-'));
    const before = left();
    snapshot(database);
    snapshot(database, 4096);
    expect(left()).toEqual(before);
  });
});

describe('backup-database', () => {
  const backUp = (database: AppDatabase, call = 'do', keep = 2) =>
    drive(database, 'operations.backup_database', call, { database: database.file, keep });

  test('copies, keeps the last few, and undo leaves the copy', () => {
    using database = stuckDatabase();
    const folder = join(database.folder, 'state', 'backups');
    const paths = [1, 2, 3].map(() => {
      const said = backUp(database);
      return (said.value as [string, { path: string }])[1].path;
    });
    expect(new Set(paths).size).toBe(3);
    expect(readdirSync(folder)).toHaveLength(2);
    const last = paths[2] ?? '';
    expect(statSync(last).mode & 0o777).toBe(0o600);
    const opened = openDatabase(last);
    expect(opened.prepare('SELECT count(*) FROM jobs').pluck().get()).toBe(3);
    opened.close();
    expect(backUp(database, 'undo').value).toBeNull();
    expect(existsSync(last)).toBe(true);
    expect(backUp(database, 'undo').value).toBeNull();
  });

  test("somebody else's files are not pruned", () => {
    using database = stuckDatabase();
    backUp(database);
    const folder = join(database.folder, 'state', 'backups');
    writeFileSync(join(folder, 'app-20200101T000000Z.db'), 'by hand');
    backUp(database, 'do', 1);
    expect(readdirSync(folder)).toContain('app-20200101T000000Z.db');
    expect(readdirSync(folder)).toHaveLength(2);
  });
});

describe('restore-database', () => {
  const restore = (database: AppDatabase, call: string, backup: string) =>
    drive(database, 'operations.restore_database', call, {
      database: database.file,
      backup,
      keep: 2,
      busyTimeoutSeconds: 1,
    });
  const backUp = (database: AppDatabase): string => {
    const said = drive(database, 'operations.backup_database', 'do', {
      database: database.file,
      keep: 5,
    });
    return (said.value as [string, { path: string }])[1].path;
  };

  test.each(['WAL', 'DELETE'])('a backup comes back into an open %s database, and goes', (mode) => {
    using database = stuckDatabase();
    database.sql.pragma(`journal_mode = ${mode}`);
    const before = everything(database);
    const backup = backUp(database);
    database.sql.exec("DELETE FROM jobs; INSERT INTO jobs (id) VALUES ('later')");
    const after = everything(database);
    const said = restore(database, 'do', 'latest');
    expect(said.error).toBeUndefined();
    expect(said.value).toMatchObject([
      expect.stringContaining(`holds again what ${backup} does`),
      { from: backup },
    ]);
    expect(everything(database)).toEqual(before);
    expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(restore(database, 'undo', 'latest').value).toContain('holds again what it did before');
    expect(everything(database)).toEqual(after);
  });

  test('only a backup of this very database', () => {
    using database = stuckDatabase();
    expect(restore(database, 'do', 'latest').error).toContain('there is no backup of');
    backUp(database);
    const other = join(database.folder, 'state', 'backups', 'other.db');
    writeFileSync(other, '');
    expect(restore(database, 'do', other).error).toContain(`is no backup of ${database.file}`);
    expect(restore(database, 'do', '/etc/passwd').error).toContain('is no backup of');
  });

  test('one that is damaged changes nothing; a lock is waited for', () => {
    using database = stuckDatabase();
    const backup = backUp(database);
    const before = everything(database);
    database.sql.exec('BEGIN IMMEDIATE');
    expect(restore(database, 'do', backup).error).toMatch(/is locked.*nothing was changed/);
    database.sql.exec('ROLLBACK');
    const content = readFileSync(backup);
    content.fill(0x55, 5000, 9000);
    writeFileSync(backup, content);
    expect(restore(database, 'do', backup).error).toMatch(/damaged|malformed/);
    expect(everything(database)).toEqual(before);
  });
});
