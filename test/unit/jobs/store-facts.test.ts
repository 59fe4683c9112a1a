import { describe, expect, test } from 'vitest';
import { statusColumns } from '../../../src/jobs/tables/columns.ts';
import type { StoreFact, StoreTable } from '../../../src/model/facts/store.ts';
import { AppDatabase } from './app-database.ts';
import { drive } from './drive-host.ts';

/** What the host's own program tells of a database. */
function lookAt(database: AppDatabase, columns: readonly string[] | undefined): StoreFact[] {
  const args = { unit: 'x.service', databases: [database.file], statusColumns: columns };
  const said = drive(database, 'facts.stores', 'look', args);
  if (said.error !== undefined) throw new Error(said.error);
  return said.value as StoreFact[];
}

function tablesIn(database: AppDatabase, columns?: readonly string[]): readonly StoreTable[] {
  const [fact] = lookAt(database, columns);
  if (fact?.kind !== 'sqlite') throw new Error(`it is ${fact?.kind}`);
  return fact.tables;
}

const statusesOf = (tables: readonly StoreTable[]): Record<string, unknown> =>
  Object.fromEntries(tables.map(({ name, statuses }) => [name, statuses?.toSorted()]));

describe('the statuses of a table', () => {
  const schema = `
    CREATE TABLE jobs (id TEXT PRIMARY KEY, "Status" TEXT);
    CREATE TABLE codes (id INTEGER PRIMARY KEY, status INTEGER);
    CREATE TABLE keyed (id TEXT PRIMARY KEY, status TEXT) WITHOUT ROWID;
    CREATE TABLE notes (id TEXT, body TEXT);
    INSERT INTO jobs VALUES ('a', 'done'), ('b', 'done'), ('c', 'running'), ('d', NULL), ('e', x'00');
    INSERT INTO codes (status) VALUES (1), (2), (1);
    INSERT INTO keyed VALUES ('a', 'paid');`;

  test('are returned, each once, if the plan requests them', () => {
    using database = new AppDatabase(schema);
    expect(statusesOf(tablesIn(database, statusColumns))).toEqual({
      jobs: ['done', 'running'],
      codes: [1, 2],
      keyed: ['paid'],
      notes: undefined,
    });
    expect(statusesOf(tablesIn(database))).toEqual({});
  });

  test('are those that tests of plans assume', () => {
    using database = new AppDatabase(schema);
    expect(statusesOf(tablesIn(database, statusColumns))).toEqual(statusesOf(database.tables()));
  });

  test('are those of the newest and oldest rows of a long table, at most 50', () => {
    using database = new AppDatabase('CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT);');
    database.sql.exec(`
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
      INSERT INTO jobs SELECT i, CASE i WHEN 1 THEN 'old' WHEN 3000 THEN 'middle' WHEN 9000 THEN 'new'
        ELSE 'done' END FROM n`);
    expect(statusesOf(tablesIn(database, statusColumns)).jobs).toEqual(['done', 'new', 'old']);
    database.sql.exec("UPDATE jobs SET status = 'done ' || id");
    expect(tablesIn(database, statusColumns)[0]?.statuses).toHaveLength(50);
  });
});

test('the labels of a column are those that tests of plans assume', () => {
  using database = new AppDatabase(`
    CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT CHECK (status IN ('a', 'B c')), kind TEXT);
    CREATE TABLE tasks (id TEXT, status TEXT, CONSTRAINT one CHECK ("status" in ('x','y')));`);
  const labelsOf = (tables: readonly StoreTable[]): unknown =>
    tables.map(({ columns }) => columns.map(({ labels }) => labels ?? null));
  expect(labelsOf(tablesIn(database))).toEqual([
    [null, ['a', 'B c'], null],
    [null, ['x', 'y']],
  ]);
  expect(labelsOf(tablesIn(database))).toEqual(labelsOf(database.tables()));
});
