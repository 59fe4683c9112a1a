import { describe, expect, test } from 'vitest';
import { proposeMapping, type TableSpecs } from '../../../../src/jobs/tables/mapping.ts';
import { ConfigError } from '../../../../src/model/errors.ts';
import { AppDatabase, path } from '../app-database.ts';

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
  test('finds the five tables of the app, parents first', () => {
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

  test('recognizes the columns of jobs', () => {
    expect(mappingOf()[0]).toEqual({
      table: 'jobs',
      id: 'id',
      status: 'status',
      parent: null,
      own: null,
      used: [],
      partial: null,
      words: {},
      spelled: {},
      labels: null,
      resend: null,
      created: 'created_at',
      started: 'started_at',
      completed: 'completed_at',
      updated: null,
      error: 'error_message',
      task: 'celery_task_id',
      fits: expect.any(Object),
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

  test('names the tables it saw if none has a status', () => {
    const error = failureOf('CREATE TABLE notes (id TEXT); CREATE TABLE tags (status TEXT);');
    expect(error.where).toBe('input database');
    expect(error.message).toContain('its tables: notes, tags');
  });

  test('an empty database has no tables', () => {
    expect(failureOf('').message).toContain('its tables: none');
  });

  test('a cycle of tables is broken at a reference that is only inferred from a name', () => {
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

describe('names and references', () => {
  test('columns in camelCase are recognized', () => {
    const mapping = mappingOf(`
      CREATE TABLE "Job" ("id" TEXT PRIMARY KEY, "status" TEXT, "taskId" TEXT, "createdAt" TEXT,
        "startedAt" TEXT, "errorMessage" TEXT, "totalSteps" INTEGER, "failedSteps" INTEGER);
      CREATE TABLE "JobStep" ("id" TEXT PRIMARY KEY, "status" TEXT, "createdAt" TEXT, "jobId" TEXT);`);
    expect(mapping[0]).toMatchObject({
      table: 'Job',
      task: 'taskId',
      error: 'errorMessage',
      times: ['createdAt', 'startedAt'],
      counters: [
        { column: 'totalSteps', table: 'JobStep', counts: 'total' },
        { column: 'failedSteps', table: 'JobStep', counts: 'failed' },
      ],
    });
    expect(mapping[1]?.parent).toEqual({ table: 'Job', column: 'jobId', foreignKey: false });
  });

  test('references from other tables are found, with their columns', () => {
    const [jobs] = mappingOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, task_id TEXT UNIQUE,
        tenant INTEGER, UNIQUE (tenant, id));
      CREATE TABLE notes (job_id TEXT, written_at TEXT, due_at TEXT);
      CREATE TABLE outcomes (task TEXT REFERENCES jobs (task_id), status TEXT);
      CREATE TABLE marks (tenant INTEGER, job TEXT, FOREIGN KEY (tenant, job) REFERENCES jobs (tenant, id));
      CREATE TABLE celery_taskmeta (id INTEGER PRIMARY KEY, job_id TEXT, status TEXT);`);
    expect(jobs?.bystanders).toEqual([
      {
        table: 'notes',
        column: 'job_id',
        to: 'id',
        foreignKey: false,
        status: null,
        times: ['written_at'],
      },
      {
        table: 'outcomes',
        column: 'task',
        to: 'task_id',
        foreignKey: true,
        status: 'status',
        times: [],
      },
      { table: 'marks', column: 'job', to: 'id', foreignKey: true, status: null, times: [] },
    ]);
  });

  test('a key to a table of tasks is not a task id', () => {
    const tasks = 'CREATE TABLE tasks (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);';
    const taskOf = (type: string) =>
      mappingOf(`${tasks} CREATE TABLE task_links (id INTEGER PRIMARY KEY, status TEXT,
        created_at TEXT, task_id ${type});`).find(({ table }) => table === 'task_links');
    expect(taskOf('INTEGER REFERENCES tasks (id)')).toMatchObject({
      task: null,
      parent: { table: 'tasks' },
    });
    expect(taskOf('INTEGER')).toMatchObject({ task: null, parent: { table: 'tasks' } });
    expect(taskOf('VARCHAR(36)')).toMatchObject({ task: 'task_id', parent: null });
  });
});

describe('foreign keys of tables that `stores` describes', () => {
  const columns = 'status TEXT, created_at TEXT';
  const tieOf = (tables: string, specs: TableSpecs): unknown => {
    using database = new AppDatabase(tables);
    const found = proposeMapping(path, database.tables(), specs);
    return found.find(({ table }) => table === 'steps')?.parent;
  };

  test.each<[name: string, key: string, tables: string, specs: TableSpecs]>([
    [
      'to an id that it names',
      'job_id',
      'CREATE TABLE jobs (slug TEXT UNIQUE, id INTEGER PRIMARY KEY, $); CREATE TABLE steps (id INTEGER, job_id TEXT REFERENCES jobs (slug), $)',
      { jobs: { id: 'slug' }, steps: {} },
    ],
    [
      'to its primary key, which has an odd name',
      'job_id',
      'CREATE TABLE jobs ("key" TEXT PRIMARY KEY, $); CREATE TABLE steps (id INTEGER, job_id TEXT REFERENCES Jobs ("Key"), $)',
      { jobs: { id: 'key' }, steps: { parent: { table: 'jobs', column: 'job_id' } } },
    ],
    [
      'by a column that would otherwise name a job that it repeats',
      'original_job_id',
      'CREATE TABLE jobs (id INTEGER PRIMARY KEY, $); CREATE TABLE steps (id INTEGER, original_job_id INTEGER REFERENCES jobs, $)',
      { steps: { parent: { table: 'jobs', column: 'original_job_id' } } },
    ],
  ])('%s', (_, column, tables, specs) => {
    const tie = { table: 'jobs', column, foreignKey: true };
    expect(tieOf(tables.replaceAll('$', columns), specs)).toEqual(tie);
  });

  test('a key to another column than the id ties no rows, but they show that the job is alive', () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id INTEGER PRIMARY KEY, slug TEXT UNIQUE, ${columns});
      CREATE TABLE job_steps (id INTEGER PRIMARY KEY, job_id TEXT REFERENCES jobs (slug), ${columns});`);
    const [jobs, steps] = proposeMapping(path, database.tables());
    expect([jobs?.table, steps?.table, steps?.parent]).toEqual(['jobs', 'job_steps', null]);
    expect(jobs?.bystanders).toEqual([
      {
        table: 'job_steps',
        column: 'job_id',
        to: 'slug',
        foreignKey: true,
        status: 'status',
        times: ['created_at'],
      },
    ]);
  });
});

describe('ambiguous schemas', () => {
  test('tables that reference each other by foreign keys must be listed', () => {
    const error = failureOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        run_id TEXT REFERENCES runs (id));
      CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT REFERENCES jobs (id));
    `);
    expect(error.where).toBe('input stores');
    expect(error.message).toMatch(/form a cycle: (jobs → runs → jobs|runs → jobs → runs)/);
    expect(error.expected).toContain('`parent: null`');
  });

  test('so must two unrelated parents of one table; of related ones the nearest is used', () => {
    const error = failureOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE batches (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE work_items (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT, batch_id TEXT);
    `);
    expect(error.message).toContain('cannot tell which table is the parent of `work_items`');
    const mapping = mappingOf(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE batches (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, job_id TEXT);
      CREATE TABLE work_items (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
        job_id TEXT, batch_id TEXT);
    `);
    expect(mapping.at(-1)?.parent).toMatchObject({ table: 'batches', column: 'batch_id' });
  });

  test('a status alone does not make a table of jobs: an order may be processing, too', () => {
    const error = failureOf('CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT);');
    expect(error.where).toBe('input stores');
    expect(error.message).toContain('whether orders in');
  });

  test('explicit settings take precedence, and must exist', () => {
    using database = new AppDatabase(`
      CREATE TABLE orders (number INTEGER PRIMARY KEY, state TEXT, job TEXT);
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);`);
    const propose = (orders: object) => proposeMapping(path, database.tables(), { orders });
    const said = { id: 'number', status: 'state', parent: { table: 'jobs', column: 'job' } };
    expect(propose(said).at(-1)).toMatchObject({ table: 'orders', id: 'number', status: 'state' });
    expect(() => propose({ ...said, id: 'nr' })).toThrow('has no column `nr`');
    expect(() => propose({ ...said, parent: { table: 'job', column: 'job' } })).toThrow(
      '`job`, the parent of `orders`, does not exist',
    );
    expect(() => propose({ ...said, resend: { task: 'a.b', args: [], queue: null } })).toThrow(
      'no column for the task id',
    );
    expect(() => proposeMapping(path, database.tables(), { order: {} })).toThrow(
      'has no table `order`',
    );
    expect(propose({ ignore: true }).map(({ table }) => table)).toEqual(['jobs']);
  });
});

test.each([
  ['retry_of_id', false],
  ['previous_job_id', false],
  ['copied_from', false],
  ['depends_on_id', false],
  ['superseded_by_id', false],
  ['parent_id', true],
  ['batch_job_id', true],
])('%s names a parent by a foreign key to the same table: %s', (column, isParent) => {
  using database = new AppDatabase(`CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT,
    created_at TEXT, task_id TEXT, ${column} TEXT REFERENCES jobs (id));`);
  const [jobs] = proposeMapping(database.file, database.tables());
  expect(jobs?.own).toEqual(isParent ? { column, foreignKey: true } : null);
});

test.each([
  ['TEXT', 'partial'],
  ['job_state', null],
])('the word partial of one table is one of another whose status is %s: %s', (type, partial) => {
  using database = new AppDatabase(`
    CREATE TABLE jobs (id TEXT PRIMARY KEY, status ${type}, created_at TEXT, task_id TEXT);
    CREATE TABLE job_items (id TEXT PRIMARY KEY, status TEXT, created_at TEXT,
      job_id TEXT REFERENCES jobs (id));
    INSERT INTO jobs VALUES ('j', 'completed', NULL, NULL);
    INSERT INTO job_items VALUES ('i', 'partial', NULL, 'j');`);
  const mapping = proposeMapping(database.file, database.tables());
  expect(mapping.map((table) => [table.table, table.partial])).toEqual([
    ['jobs', partial],
    ['job_items', 'partial'],
  ]);
});
