import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Database } from 'better-sqlite3';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../src/adapters/sqlite-native.ts';
import { openSqliteStore, type StoreLimits } from '../../../src/adapters/sqlite-store.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import type { RowChange } from '../../../src/model/operation/jobs.ts';
import { bytes, MiB, seconds } from '../../../src/model/units.ts';
import type { Store } from '../../../src/ports/store.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'celeriac-store-'));
let made = 0;

/** A database with this schema and content. */
function content(fill: (database: Database) => void): Uint8Array {
  made += 1;
  const database = openDatabase(path.join(folder, `app-${made}.db`));
  fill(database);
  const found = database.serialize();
  database.close();
  return found;
}

const patient: StoreLimits = { time: seconds(60), memory: bytes(384 * MiB), growth: 4 };
const copies = mkdtempSync(path.join(tmpdir(), 'celeriac-copies-'));
afterAll(() => {
  for (const each of [folder, copies]) rmSync(each, { recursive: true });
});
const open = (bytesOf: Uint8Array, limits = patient): Promise<Store> =>
  openSqliteStore('/srv/app.db', bytesOf, copies, limits);

async function refusal(work: Promise<unknown>): Promise<ConfigError> {
  const error = await work.then(
    () => null,
    (problem: unknown) => problem,
  );
  expect(error).toBeInstanceOf(ConfigError);
  return error as ConfigError;
}

const update: RowChange = {
  table: 'jobs',
  key: 'id',
  id: 'a',
  group: 'a',
  seen: { status: 'processing' },
  change: { kind: 'update', set: { status: 'failed' } },
} as RowChange;

const jobs =
  "CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT); INSERT INTO jobs VALUES ('a', 'processing');";
/** Counts for as long as it may. */
const endless =
  'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n';

afterEach(() => {
  // Whatever became of the database, its copy is gone.
  expect(readdirSync(copies)).toEqual([]);
});

describe('a hostile database', () => {
  test('whose column generates a gigabyte takes no memory of the run', async () => {
    const bomb = content((database) =>
      database.exec(`${jobs} ALTER TABLE jobs ADD COLUMN big TEXT
        GENERATED ALWAYS AS (hex(zeroblob(499000000))) VIRTUAL`),
    );
    expect(bomb.length).toBeLessThan(16_384);
    const before = process.memoryUsage().external;
    using store = await open(bomb);
    const error = await refusal(store.readRows('jobs', ['id', 'big']));
    expect(error.message).toContain('/srv/app.db');
    expect(error.message).toContain('more memory than its copy should');
    // The process did not grow with it.
    expect(process.memoryUsage().external - before).toBeLessThan(400 * MiB);
  });

  test('whose many rows generate a gigabyte is refused, too', async () => {
    const bomb = content((database) => {
      database.exec(`${jobs} ALTER TABLE jobs ADD COLUMN big TEXT
        GENERATED ALWAYS AS (hex(zeroblob(100000))) VIRTUAL`);
      const add = database.prepare("INSERT INTO jobs (id, status) VALUES (?, 'x')");
      database.transaction(() => {
        for (let at = 0; at < 5000; at += 1) add.run(`${at}`);
      })();
    });
    using store = await open(bomb);
    const error = await refusal(store.readRows('jobs', ['big']));
    expect(error.message).toContain('many times larger than the database');
  });

  test.each([
    ['trigger', `${jobs} CREATE TRIGGER forever AFTER UPDATE ON jobs BEGIN ${endless}; END`],
    ['view', `CREATE VIEW jobs AS SELECT (${endless}) AS id`],
    [
      'CHECK',
      "CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, CHECK (status != 'failed' OR instr(hex(zeroblob(5000000)), hex(zeroblob(2500000)) || '1') = 0)); INSERT INTO jobs VALUES ('a', 'processing');",
    ],
  ])('whose %s never ends is given up, and the process is ended', async (_, sql) => {
    const limits = { ...patient };
    using store = await open(
      content((database) => database.exec(sql)),
      limits,
    );
    // Only now: starting its process may take a busy machine longer.
    limits.time = seconds(2);
    const error = await refusal(
      sql.includes('VIEW') ? store.readRows('jobs', ['id']) : store.rehearse([update]),
    );
    expect(error.message).toContain('took longer than 2 s');
    // It stays ended.
    await refusal(store.findDamage());
  });

  test('whose trigger fills the disk is stopped', async () => {
    const insert = content((database) =>
      database.exec(`${jobs} CREATE TABLE more (text);
        CREATE TRIGGER fill AFTER UPDATE ON jobs BEGIN
          INSERT INTO more SELECT hex(zeroblob(100000)) FROM
            (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n);
        END`),
    );
    using store = await open(insert, { ...patient, time: seconds(30) });
    const told = await store.rehearse([update]).catch((error: unknown) => error);
    const said = told instanceof ConfigError ? told.message : JSON.stringify(told);
    expect(said).toMatch(/disk|full|I\/O|longer than|ended by/i);
  });

  test('cannot rewrite its own schema, nor call what is not harmless', async () => {
    using store = await open(
      content((database) =>
        database.exec(`${jobs} CREATE TRIGGER evil AFTER UPDATE ON jobs BEGIN
          SELECT load_extension('/tmp/evil'); END`),
      ),
    );
    const { problems } = await store.rehearse([update]);
    expect(problems.join()).toMatch(/unsafe use of load_extension|not authorized|no such function/);
  });

  test('that is none is an error of the input', async () => {
    const error = await refusal(open(Buffer.from('not a database at all, but long enough')));
    expect(error.message).toContain('cannot be read as a SQLite database');
  });
});

describe('names that every object has', () => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];

  test.each(names)('a table and a column named %s are like any other', async (name) => {
    const odd = content((database) =>
      database.exec(
        `CREATE TABLE "${name}" (id TEXT PRIMARY KEY, "${name}" TEXT); INSERT INTO "${name}" VALUES ('a', 'processing'), ('b', 'x')`,
      ),
    );
    using store = await open(odd);
    const [row] = await store.readRows(name, ['id', name]);
    expect(Object.entries(row ?? {})).toEqual([
      ['id', 'a'],
      [name, 'processing'],
    ]);
    const samples = await store.sampleValues(name);
    expect(Object.hasOwn(samples, name)).toBe(true);
    const change = { kind: 'delete' } as const;
    const { changed, problems } = await store.rehearse([
      { ...update, table: name, seen: {}, change } as RowChange,
    ]);
    expect(problems).toEqual([]);
    expect(Object.entries(changed)).toEqual([[name, { updated: 0, deleted: 1 }]]);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(Reflect.get({}, 'updated')).toBeUndefined();
    expect(Reflect.get({}, 'deleted')).toBeUndefined();
  });
});

describe('triggers', () => {
  test('are told if they would run, also when they change nothing', async () => {
    using store = await open(
      content((database) =>
        database.exec(`${jobs}
          CREATE TRIGGER seen AFTER UPDATE OF status ON jobs BEGIN SELECT 1; END;
          CREATE TRIGGER added AFTER INSERT ON jobs BEGIN SELECT 1; END;
          CREATE TRIGGER gone BEFORE DELETE ON jobs BEGIN SELECT 1; END`),
      ),
    );
    const { triggered } = await store.rehearse([update]);
    expect(triggered).toEqual({ rows: 0, triggers: ['seen'] });
  });
});
