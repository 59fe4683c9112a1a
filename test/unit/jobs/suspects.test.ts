import { expect, test } from 'vitest';
import { planExtract, readNamedId } from '../../../src/jobs/judge/suspects.ts';
import { readableColumns, vitalColumns } from '../../../src/jobs/tables/job-forest.ts';
import { proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import { AppDatabase } from './app-database.ts';

/** What the host is asked for of a database that is too large to be copied whole. */

function reference() {
  using database = new AppDatabase();
  return proposeMapping(database.file, database.tables());
}

const wishes = { unit: 'a.service', statuses: ['processing'], orphans: true, ids: [] };

test('lists every column that is read, including those that are compared', () => {
  const mapping = reference();
  const { tables } = planExtract(mapping, wishes);
  expect(tables.map(({ columns }) => columns)).toEqual(mapping.map(readableColumns));
  for (const [index, table] of mapping.entries()) {
    expect(tables[index]?.columns).toEqual(
      expect.arrayContaining([table.id, ...vitalColumns(table)]),
    );
  }
});

test("requests statuses in the app's words, and numbers also as text", () => {
  const mapping = reference().map((table) => ({
    ...table,
    words: { '1': 'processing', '2': 'completed', running: 'processing' } as const,
  }));
  // Parents that are pending may have to end with their rows.
  expect(planExtract(mapping, wishes).tables.at(-1)?.statuses).not.toContain('pending');
  expect(planExtract(mapping, wishes).tables[0]?.statuses).toEqual([
    'processing',
    'pending',
    '1',
    1,
    'running',
  ]);
});

test('requests only ids if there are any', () => {
  const ids = ['12', '007', 'batches:abcdefgh', 'other:12'];
  const { tables } = planExtract(reference(), { ...wishes, ids });
  const [jobs, batches] = ['jobs', 'batches'].map((name) =>
    tables.find(({ table }) => table === name),
  );
  expect(jobs).toMatchObject({
    statuses: [],
    orphanedBy: [],
    ids: ['12', 12, '007', 'other:12'],
    beginnings: ['other:12'],
  });
  expect(batches).toMatchObject({
    ids: ['12', 12, '007', 'abcdefgh', 'other:12'],
    beginnings: ['abcdefgh', 'other:12'],
  });
});

test('suspects a row for a missing parent only with a foreign key', () => {
  const { tables } = planExtract(reference(), wishes);
  expect(
    tables.map(({ table, orphanedBy }) => [table, orphanedBy.map(({ column }) => column)]),
  ).toEqual(
    expect.arrayContaining([
      ['batches', []],
      ['batch_links', ['batch_id']],
    ]),
  );
  expect(
    planExtract(reference(), { ...wishes, orphans: false }).tables.flatMap(
      ({ orphanedBy }) => orphanedBy,
    ),
  ).toEqual([]);
});

test.each([
  ['jobs:12ab34cd', 'jobs', '12ab34cd', true],
  ['jobs:12', 'jobs', '12', false],
  ['urn:12', null, 'urn:12', false],
  ['jobs:', null, 'jobs:', false],
])('reads the id %s', (id, table, text, mayBegin) => {
  expect(readNamedId(reference(), id)).toEqual({ table, text, mayBegin });
});
