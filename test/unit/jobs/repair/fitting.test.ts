import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CleanUpDesired } from '../../../../src/config/cleanup-desired.ts';
import { AppDatabase, applyPlan, bySqlite, day, planFor } from '../app-database.ts';
import { drive } from '../drive-host.ts';

/* What is written into the columns of a repaired row is what they take. */

const schema = (error: string, more = ''): string => `CREATE TABLE jobs (
  id TEXT PRIMARY KEY, status TEXT, celery_task_id TEXT, started_at TEXT, error ${error} ${more});`;

async function repairedError(
  error: string,
  before: string | number | null = null,
  wishes: Partial<CleanUpDesired> = {},
): Promise<unknown> {
  using database = new AppDatabase(schema(error));
  const started_at = bySqlite(day);
  const values = { id: 'a', status: 'processing', celery_task_id: 't', started_at };
  database.add('jobs', { ...values, ...(before === null ? {} : { error: before }) });
  applyPlan(database, await planFor(database, wishes));
  expect(database.row('jobs', 'a')?.status).toBe(wishes.action === 'reset' ? 'pending' : 'failed');
  return database.row('jobs', 'a')?.error;
}

const stuck = expect.stringMatching(/^stuck in processing for 1 d/);

describe('the error message', () => {
  test.each(['TEXT', 'VARCHAR(255)', '', 'CHARACTER VARYING(255) DEFAULT NULL'])(
    'is text in a column of type %j',
    async (type) => expect(await repairedError(type)).toEqual(stuck),
  );

  test.each(['BOOLEAN', 'INTEGER', 'REAL', 'NUMERIC(10)', 'DATETIME', 'BLOB'])(
    'is not written into a column of type %s',
    async (type) => expect(await repairedError(type, 0)).toBe(0),
  );

  test.each(['JSON', 'JSONB', 'TEXT CHECK (json_valid(error) OR error IS NULL)'])(
    'is JSON in a column %s',
    async (type) => {
      expect(JSON.parse(String(await repairedError(type)))).toEqual({ message: stuck });
      const before = '{"type":"Timeout"}';
      expect(JSON.parse(String(await repairedError(type, before)))).toEqual({
        message: stuck,
        previous: { type: 'Timeout' },
      });
    },
  );

  test('is JSON where the app keeps nothing else in a column of text', async () => {
    const before = '{"type":"Timeout"}';
    expect(JSON.parse(String(await repairedError('TEXT', before)))).toMatchObject({
      previous: { type: 'Timeout' },
    });
    expect(await repairedError('TEXT', 'Timeout')).toMatch(/; previous error: Timeout$/);
  });

  test.each([
    'VARCHAR(20)',
    'character varying(20)',
    'TEXT CHECK (length(error) <= 20)',
    'VARCHAR(40) CHECK (length(error) <= 20)',
  ])('is cut in a column %s', async (type) => {
    expect(await repairedError(type)).toBe('stuck in processing ');
  });

  test('is left out where its JSON is longer than the column', async () => {
    expect(await repairedError('JSON CHECK (length(error) <= 20)', '{"a":1}')).toBe('{"a":1}');
  });
});

describe('what a reset empties', () => {
  test.each([
    ['TEXT', null],
    ['TEXT NOT NULL', ''],
    ["TEXT NOT NULL DEFAULT 'it''s none'", "it's none"],
    ["JSON NOT NULL DEFAULT '{}'", '{}'],
    // Neither NULL nor a text would be right.
    ['JSON NOT NULL', '{"a":1}'],
  ])('of a column %s', async (type, after) => {
    expect(await repairedError(type, '{"a":1}', { action: 'reset' })).toBe(after);
  });
});

test('error-json: the column holds valid JSON afterwards', async () => {
  const file = join(import.meta.dirname, '../../../fixtures/databases/error-json.sql');
  using database = new AppDatabase(readFileSync(file, 'utf8'));
  // The ages of the fixture are those of today.
  database.sql.exec(`UPDATE scrape_jobs SET created_at = '${bySqlite(day)}'`);
  applyPlan(database, await planFor(database));
  const errors = database.sql.prepare('SELECT status, error FROM scrape_jobs ORDER BY id').all();
  expect(errors).toEqual([
    {
      status: 'failed',
      error: expect.stringMatching(/^\{"message":"stuck in processing for 1 d/),
    },
    { status: 'failed', error: '{"type":"Timeout"}' },
  ]);
});

test('the host tells of columns what these tests take for granted', () => {
  using database = new AppDatabase(`${schema("VARCHAR(9) NOT NULL DEFAULT 'x'")}
    CREATE TABLE notes (id INTEGER PRIMARY KEY, a TEXT CHECK (length(a) <= 40), b JSON DEFAULT NULL,
      c TEXT CHECK (json_valid(c)), d INT NOT NULL DEFAULT 0, e TEXT);
    CREATE TABLE odd (id INTEGER, "it""s" TEXT, "length" TEXT,
      CHECK (length ( ("length") ) < 8 AND LENGTH(\`length\`) <= 9), CHECK (JSON_VALID("it""s")));`);
  const args = { unit: 'x.service', databases: [database.file], statusColumns: [] };
  const said = drive(database, 'facts.stores', 'look', args).value as [
    { readonly tables: { readonly name: string; readonly columns: unknown }[] },
  ];
  const told = Object.fromEntries(said[0].tables.map(({ name, columns }) => [name, columns]));
  const own = Object.fromEntries(database.tables().map(({ name, columns }) => [name, columns]));
  expect({ jobs: told.jobs, notes: told.notes }).toEqual({ jobs: own.jobs, notes: own.notes });
  expect(told.odd).toEqual([
    { name: 'id', type: 'INTEGER' },
    { name: 'it"s', type: 'TEXT', json: true },
    { name: 'length', type: 'TEXT', longest: 7 },
  ]);
});
