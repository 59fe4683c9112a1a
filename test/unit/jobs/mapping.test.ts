import { describe, expect, test } from 'vitest';
import { proposeMapping } from '../../../src/jobs/mapping.ts';
import { ConfigError } from '../../../src/model/errors.ts';
import { AppDatabase, path } from './app-database.ts';

const mappingOf = (tables?: string) => {
  using database = new AppDatabase(tables);
  return proposeMapping(path, database.tables());
};

const failureOf = (tables: string): ConfigError => {
  try {
    mappingOf(tables);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('proposeMapping', () => {
  test("takes the app's five tables as they are, parents first", () => {
    const mapping = mappingOf();
    const ties = mapping.map(({ table, parent }) => [table, parent?.table, parent?.foreignKey]);
    expect(ties).toEqual([
      ['jobs', undefined, undefined],
      ['video_jobs', undefined, undefined],
      ['batches', 'jobs', false],
      ['batch_links', 'batches', true],
      ['batch_variations', 'batch_links', true],
    ]);
  });

  test('knows what the columns of jobs say', () => {
    expect(mappingOf()[0]).toEqual({
      table: 'jobs',
      id: 'id',
      status: 'status',
      parent: null,
      own: null,
      words: {},
      resend: null,
      created: 'created_at',
      started: 'started_at',
      completed: 'completed_at',
      updated: null,
      error: 'error_message',
      task: 'celery_task_id',
      times: ['created_at', 'started_at', 'completed_at'],
      counters: [
        { column: 'total_links', table: 'batch_links', counts: 'total' },
        { column: 'completed_links', table: 'batch_links', counts: 'completed' },
        { column: 'failed_links', table: 'batch_links', counts: 'failed' },
      ],
      bystanders: [],
    });
  });

  test('leaves the tables of Celery and others out', () => {
    const mapping = mappingOf(`
      CREATE TABLE celery_taskmeta (id INTEGER PRIMARY KEY, status TEXT);
      CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
      CREATE TABLE "tasks" (ID INTEGER PRIMARY KEY, Status TEXT, updated_at TEXT);
    `);
    expect(mapping.map(({ table, id, status }) => [table, id, status])).toEqual([
      ['tasks', 'ID', 'Status'],
    ]);
  });

  test('names the tables it saw when none has a status', () => {
    const error = failureOf('CREATE TABLE notes (id TEXT); CREATE TABLE tags (status TEXT);');
    expect(error.where).toBe('input database');
    expect(error.message).toContain('its tables: notes, tags');
  });

  test('an empty database has none at all', () => {
    expect(failureOf('').message).toContain('none at all');
  });

  test('a ring of tables is cut where it is known by names alone', () => {
    const mapping = mappingOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, run_id TEXT);
      CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT REFERENCES jobs (id));
    `);
    expect(mapping.map(({ table, parent }) => [table, parent?.table])).toEqual([
      ['jobs', undefined],
      ['runs', 'jobs'],
    ]);
  });
});

describe('what is ambiguous', () => {
  test('tables above each other by foreign keys are asked for by name', () => {
    const error = failureOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        run_id TEXT REFERENCES runs (id));
      CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT REFERENCES jobs (id));
    `);
    expect(error.where).toBe('input stores');
    expect(error.message).toMatch(
      /above each other in a ring: (jobs → runs → jobs|runs → jobs → runs)/,
    );
    expect(error.expected).toContain('`parent: null`');
  });

  test('two tables above one, neither below the other, too; the nearest is taken where one is', () => {
    const error = failureOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE batches (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE work_items (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT, batch_id TEXT);
    `);
    expect(error.message).toContain("which table is above `work_items` can't be told");
    const mapping = mappingOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE batches (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, job_id TEXT);
      CREATE TABLE work_items (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT, batch_id TEXT);
    `);
    expect(mapping.at(-1)?.parent).toMatchObject({ table: 'batches', column: 'batch_id' });
  });

  test('an order may be processing, too: a table is no job by its status alone', () => {
    const error = failureOf('CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT);');
    expect(error.where).toBe('input stores');
    expect(error.message).toContain('whether orders of');
  });

  test('what is said counts, and has to be there', () => {
    using database = new AppDatabase(`
      CREATE TABLE orders (number INTEGER PRIMARY KEY, state TEXT, job TEXT);
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);`);
    const propose = (orders: object) => proposeMapping(path, database.tables(), { orders });
    const said = { id: 'number', status: 'state', parent: { table: 'jobs', column: 'job' } };
    expect(propose(said).at(-1)).toMatchObject({ table: 'orders', id: 'number', status: 'state' });
    expect(() => propose({ ...said, id: 'nr' })).toThrow('has no column `nr`');
    expect(() => propose({ ...said, parent: { table: 'job', column: 'job' } })).toThrow(
      'not there: `job`',
    );
    expect(() => propose({ ...said, resend: { task: 'a.b', args: [], queue: null } })).toThrow(
      'no column for the id of its task',
    );
    expect(() => proposeMapping(path, database.tables(), { order: {} })).toThrow(
      'has no table `order`',
    );
    expect(propose({ ignore: true }).map(({ table }) => table)).toEqual(['jobs']);
  });
});
