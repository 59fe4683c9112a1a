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

  test.each([
    ['without a CHECK', ''],
    ['with one', "CHECK (status IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED'))"],
  ])("`words` may name Celeriac's own words in another case, %s", async (_, check) => {
    using database = new AppDatabase(
      `CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT ${check}, created_at TEXT)`,
    );
    database.add('jobs', { id: 1, status: 'RUNNING', created_at: bySqlite(day) });
    const words = { RUNNING: 'processing', DONE: 'completed', FAILED: 'failed' } as const;
    const stores = [{ database: path, tables: { jobs: { words } }, where: 'input stores' }];
    expect(changesOf(await planFor(database, { stores }))).toEqual([[1, 'FAILED']]);
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

const jobsOf = (...labels: readonly string[]): AppDatabase =>
  new AppDatabase(`CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT
    CHECK (status IN (${labels.map((label) => `'${label}'`).join(', ')})), created_at TEXT)`);

/** With one job that is stuck. */
const stuckIn = (status: string, ...labels: readonly string[]): AppDatabase => {
  const database = jobsOf(...labels);
  database.add('jobs', { id: 1, status, created_at: bySqlite(day) });
  return database;
};

describe('words of a column that takes no others', () => {
  test.each<[labels: readonly string[], stuck: string, becomes: string]>([
    [['pending', 'processing', 'completed', 'FAILED'], 'processing', 'FAILED'],
    [['Pending', 'Processing', 'Done', 'Error'], 'Processing', 'Error'],
    [['pending', 'processing', 'done', 'error', 'failed'], 'processing', 'failed'],
    [['PENDING', 'PROCESSING', 'ERROR', 'CANCELED'], 'PROCESSING', 'ERROR'],
  ])('%s: %s becomes %s', async (labels, stuck, becomes) => {
    using database = stuckIn(stuck, ...labels);
    expect(changesOf(await planFor(database))).toEqual([[1, becomes]]);
  });

  test('a reset row is spelled as its label, though no row has it yet', async () => {
    using database = stuckIn('processing', 'Pending', 'processing', 'failed');
    expect(changesOf(await planFor(database, { action: 'reset' }))).toEqual([[1, 'Pending']]);
  });

  test('a label for what completed is read as such, and shown', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE job_steps (id INTEGER PRIMARY KEY, job_id INTEGER REFERENCES jobs (id),
        status TEXT CHECK (status IN ('PROCESSING', 'DONE', 'ERROR')), created_at TEXT);`);
    database.add('jobs', { id: 1, status: 'processing', created_at: bySqlite(day) });
    database.add('job_steps', { id: 1, job_id: 1, status: 'DONE', created_at: bySqlite(day) });
    database.add('job_steps', { id: 2, job_id: 1, status: 'DONE', created_at: bySqlite(day) });
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toContainEqual([1, 'completed']);
    expect(cleanUp.mappings[0]?.lines.join()).toContain('(DONE = completed, ERROR = failed)');
  });

  test('partial is written where a label says it, and nowhere else', async () => {
    for (const [labels, becomes] of [
      [['processing', 'completed', 'partial', 'failed'], 'partial'],
      [['processing', 'completed', 'failed'], 'completed'],
    ] as const) {
      using database = stuckIn('processing', ...labels);
      database.sql.exec(
        'CREATE TABLE job_steps (id INTEGER PRIMARY KEY, job_id INTEGER REFERENCES jobs (id), status TEXT, created_at TEXT)',
      );
      for (const [id, status] of ['completed', 'failed', 'partial'].entries())
        database.add('job_steps', { id, job_id: 1, status, created_at: bySqlite(day) });
      const cleanUp = await planFor(database);
      expect(changesOf(cleanUp)).toContainEqual([1, becomes]);
    }
  });

  test('`words` come before what a label seems to mean', async () => {
    using database = stuckIn('PROCESSING', 'PROCESSING', 'ERROR', 'BROKEN');
    const words = { BROKEN: 'failed', ERROR: 'cancelled' } as const;
    const stores = [{ database: path, tables: { jobs: { words } }, where: 'input stores' }];
    expect(changesOf(await planFor(database, { stores }))).toEqual([[1, 'BROKEN']]);
  });

  test('the run is refused with the list when there is none for what is to be written', async () => {
    using database = stuckIn('PROCESSING', 'QUEUED', 'PROCESSING', 'DONE', 'CRASHED');
    await expect(planFor(database)).rejects.toThrow(
      "jobs.status of /srv/app/backend/batch_processing.db does not take 'failed', which this run has to write; it takes only QUEUED, PROCESSING, DONE, CRASHED",
    );
    const example = (words: string): object => ({
      expected: expect.stringContaining(`"jobs": { words: { ${words} } } } }]`),
    });
    await expect(planFor(database)).rejects.toMatchObject(
      example('"QUEUED": pending, "LABEL": failed'),
    );
    await expect(planFor(database, { action: 'reset' })).rejects.toMatchObject(
      example('"QUEUED": pending'),
    );
    const words = { QUEUED: 'pending', CRASHED: 'failed' } as const;
    const stores = [{ database: path, tables: { jobs: { words } }, where: 'input stores' }];
    expect(changesOf(await planFor(database, { stores }))).toEqual([[1, 'CRASHED']]);
    expect(changesOf(await planFor(database, { stores, action: 'reset' }))).toEqual([
      [1, 'QUEUED'],
    ]);
    // What is not to be written may be missing.
    expect(changesOf(await planFor(database, { action: 'delete' }))).toEqual([[1, false]]);
  });

  test('a word of `words` that is none of the labels is refused as well', async () => {
    using database = stuckIn('PROCESSING', 'PROCESSING', 'CRASHED');
    const stores = [
      {
        database: path,
        tables: { jobs: { words: { BROKEN: 'failed' } as const } },
        where: 'input stores',
      },
    ];
    await expect(planFor(database, { stores })).rejects.toThrow("does not take 'BROKEN'");
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
