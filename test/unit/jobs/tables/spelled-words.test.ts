import { describe, expect, test } from 'vitest';
import { planExtract } from '../../../../src/jobs/judge/suspects.ts';
import { proposeMapping } from '../../../../src/jobs/tables/mapping.ts';
import { AppDatabase, bySqlite, day, messagesOf, path, planFor } from '../app-database.ts';

/** Statuses are read without regard to case, and written as the column spells them. */

const jobsWith = (...statuses: readonly string[]): AppDatabase => {
  const database = new AppDatabase(
    'CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT)',
  );
  statuses.forEach((status, index) => {
    database.add('jobs', { id: index + 1, status, created_at: bySqlite(day) });
  });
  return database;
};

const changesOf = ({ plan }: Awaited<ReturnType<typeof planFor>>): unknown =>
  plan.operations.flatMap((operation) =>
    operation.op === 'repair-jobs'
      ? operation.rows.map(({ id, change }) => [id, change.kind === 'update' && change.set.status])
      : [],
  );

describe('words in another case', () => {
  test.each<[seen: readonly string[], becomes: string]>([
    [['PROCESSING'], 'FAILED'],
    [['Processing'], 'Failed'],
    [['processing'], 'failed'],
    [['PROCESSING', 'completed'], 'failed'],
    [['PROCESSING', 'completed', 'Failed'], 'Failed'],
    [['PROCESSING', 'Failed', 'failed'], 'failed'],
    [['pROCESSING'], 'failed'],
  ])('%s: becomes %s', async (seen, becomes) => {
    using database = jobsWith(...seen);
    expect(changesOf(await planFor(database))).toEqual([[1, becomes]]);
  });

  test('a reset row and a CHECK in upper case', async () => {
    using database = new AppDatabase(`CREATE TABLE jobs (id INTEGER PRIMARY KEY, created_at TEXT,
      status TEXT CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED')))`);
    database.add('jobs', { id: 1, status: 'PROCESSING', created_at: bySqlite(day) });
    expect(changesOf(await planFor(database))).toEqual([[1, 'FAILED']]);
    expect(changesOf(await planFor(database, { action: 'reset' }))).toEqual([[1, 'PENDING']]);
  });

  test('`words` are matched without regard to case, and written as they are given', async () => {
    using database = jobsWith('Running', 'DONE');
    const words = { RUNNING: 'processing', done: 'completed', BROKEN: 'failed' } as const;
    const stores = [{ database: path, tables: { jobs: { words } }, where: 'input stores' }];
    expect(changesOf(await planFor(database, { stores }))).toEqual([[1, 'BROKEN']]);
  });

  test('`statuses` may be in either case', async () => {
    using database = jobsWith('PENDING');
    expect(changesOf(await planFor(database, { statuses: ['Pending'] }))).toEqual([[1, 'FAILED']]);
  });

  test('rows of a large database are found by the words as they are stored', () => {
    using database = jobsWith('PROCESSING', 'COMPLETED');
    const mapping = proposeMapping(path, database.tables());
    const wishes = { unit: 'w', statuses: ['processing'], orphans: true, ids: [] };
    const [jobs] = planExtract(mapping, wishes).tables;
    expect(jobs?.statuses).toEqual(['processing', 'PROCESSING']);
  });
});

describe('numbers, and tables of Celery', () => {
  test('statuses that are numbers are named as such, also in a table that is listed', async () => {
    using database = new AppDatabase(
      'CREATE TABLE jobs (id INTEGER PRIMARY KEY, status INTEGER, created_at TEXT)',
    );
    database.add('jobs', { id: 1, status: 2, created_at: bySqlite(day) });
    const stores = [{ database: path, tables: { jobs: {} }, where: 'input stores' }];
    const cleanUp = await planFor(database, { stores });
    expect(changesOf(cleanUp)).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('2 (a number, which `words` has to map)');
  });

  const results = 'id INTEGER PRIMARY KEY, task_id TEXT, status TEXT';

  test.each([
    `celery_taskmeta (${results})`,
    `django_celery_results_taskresult (${results}, date_created TEXT)`,
    `task_outcomes (${results}, result TEXT, date_done TEXT, traceback TEXT)`,
  ])('%s is named as one of Celery', async (table) => {
    const name = table.split(' ')[0] ?? '';
    using database = new AppDatabase(
      `CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
       CREATE TABLE ${table}`,
    );
    database.add('jobs', { id: 1, status: 'processing', created_at: bySqlite(day) });
    database.add(name, { id: 1, task_id: 't', status: 'processing' });
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual([[1, 'failed']]);
    expect(messagesOf(cleanUp)).toContain(`skipped Celery's own tables: ${name}`);
  });

  test.each(['celery_job', 'django_job', 'celery_tasks'])('%s is one of the app', async (name) => {
    using database = new AppDatabase(
      `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT)`,
    );
    database.add(name, { id: 1, status: 'processing', created_at: bySqlite(day) });
    expect(changesOf(await planFor(database))).toEqual([[1, 'failed']]);
  });
});
