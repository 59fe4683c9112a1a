import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planSettled } from '../../../src/jobs/repair/settling.ts';
import { sampledColumns } from '../../../src/jobs/tables/columns.ts';
import { type InstantForm, spellingOf, writeInstant } from '../../../src/jobs/tables/instants.ts';
import { vitalColumns } from '../../../src/jobs/tables/job-forest.ts';
import { proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import { queryStores } from '../../../src/jobs/tables/store-choice.ts';
import type { StoreFact, StoreTable } from '../../../src/model/facts.ts';
import type { RowChange } from '../../../src/model/operation.ts';
import { epochSeconds } from '../../../src/model/units.ts';
import { AppDatabase, minute, now } from './app-database.ts';
import { drive } from './drive-host.ts';

/** What becomes of the jobs of a worker that is gone, by the host's own program. */

const host = join(import.meta.dirname, '../../../host');

const program = `
import json, sys
sys.path.insert(0, sys.argv[1])
from celeriac_host.store import orphans
path, rules, now = json.load(sys.stdin)
found = orphans.find(path, rules["tables"])
print(json.dumps(orphans.plan(path, rules, found, now)))
`;

/** Runs Python with the host's program, which reads JSON and prints JSON. */
function runPython(text: string, input: unknown): unknown {
  const { stdout, stderr, status } = spawnSync('python3', ['-I', '-c', text, host], {
    input: JSON.stringify(input),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** The tables of a database as the host tells them to who plans a restart. */
function lookAt(database: AppDatabase): readonly StoreTable[] {
  const query = { ...queryStores('a.service', [database.file]), timeColumns: sampledColumns };
  const [fact] = drive(database, 'facts.stores', 'look', query).value as StoreFact[];
  if (fact?.kind !== 'sqlite') throw new Error(`it is ${fact?.kind}`);
  return fact.tables;
}

/** `table id` → what is written into the row. */
function settle(
  database: AppDatabase,
  action: 'fail' | 'reset',
  tables = lookAt(database),
): Record<string, unknown> {
  const mapping = proposeMapping(database.file, tables);
  const rules = {
    ...planSettled(mapping, tables, action, null),
    action,
    message: 'nobody had it; by a test',
  };
  const changes = runPython(program, [database.file, rules, now]) as RowChange[];
  return Object.fromEntries(
    changes.map(({ id, change }) => [id, change.kind === 'update' ? change.set : change.kind]),
  );
}

const failed = { status: 'failed', error_message: 'nobody had it; by a test' };

describe('a batch whose last link is failed', () => {
  test('is completed, like its job, if another link is and none is expected', () => {
    using database = new AppDatabase();
    const links = [
      ['completed', 9 * minute],
      ['processing', minute],
    ] as const;
    database.addBatch('a', { ago: 10 * minute, links });
    const ended = { status: 'completed', completed_at: expect.any(String) };
    expect(settle(database, 'fail')).toEqual({
      'link-a-1': { ...failed, completed_at: '2026-01-18T15:00:00.000000' },
      'batch-a': { ...ended, error_message: '1 of 2 batch_links failed; finalised by celeriac' },
      'job-a': { ...ended, failed_links: 1 },
    });
  });

  test('is partial, as its job is, where the app has a word for it; counters are counted again', () => {
    using database = new AppDatabase();
    database.add('video_jobs', { id: 'old', status: 'partial', created_at: '2026-01-01' });
    const links = [
      ['completed', 9 * minute],
      ['partial', 9 * minute],
      ['failed', 9 * minute],
      ['processing', minute],
    ] as const;
    database.addBatch('a', { ago: 10 * minute, links });
    database.sql.exec('UPDATE jobs SET completed_links = 0, failed_links = 0');
    const changes = settle(database, 'fail');
    expect(changes['batch-a']).toMatchObject({
      status: 'partial',
      error_message: '2 of 4 batch_links failed; finalised by celeriac',
    });
    expect(changes['job-a']).toMatchObject({
      status: 'partial',
      completed_links: 1,
      failed_links: 2,
    });
  });

  test('tells for each table how its rows ended', () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, task_id TEXT, error TEXT);
      CREATE TABLE job_clips (id TEXT, status TEXT, created_at TEXT, job_id TEXT REFERENCES jobs (id));
      CREATE TABLE job_items (id TEXT, status TEXT, created_at TEXT, task_id TEXT,
        job_id TEXT REFERENCES jobs (id));
      INSERT INTO jobs VALUES ('j', 'processing', '2026-01-01', NULL, NULL);
      INSERT INTO job_clips VALUES ('c', 'cancelled', '2026-01-01', 'j');
      INSERT INTO job_items VALUES ('i', 'processing', '2026-01-01', 'task', 'j');`);
    const error = '0 of 1 job_clips failed, 1 of 1 job_items failed; finalised by celeriac';
    expect(settle(database, 'fail').j).toMatchObject({ status: 'failed', error });
  });

  test('is failed if no link is completed', () => {
    using database = new AppDatabase();
    database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
    expect(settle(database, 'fail')).toMatchObject({
      'link-a-0': failed,
      'batch-a': {
        status: 'failed',
        error_message: '1 of 1 batch_links failed; finalised by celeriac',
      },
      'job-a': { status: 'failed', error_message: '1 of 1 batches failed; finalised by celeriac' },
    });
  });

  test('stays in progress while another link is expected', () => {
    using database = new AppDatabase();
    const links = [
      ['pending', minute],
      ['processing', minute],
    ] as const;
    database.addBatch('a', { ago: 10 * minute, links });
    const changes = settle(database, 'fail');
    expect(changes['link-a-1']).toMatchObject(failed);
    expect(changes['batch-a']).toBeUndefined();
    expect(changes['job-a']).toEqual({ failed_links: 1 });
  });
});

describe('rows of tables without jobs', () => {
  const shop = `
    CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
    CREATE TABLE payments (id INTEGER PRIMARY KEY, status TEXT, batch TEXT REFERENCES batches (id),
      job_id TEXT);
    ALTER TABLE jobs ADD COLUMN order_id INTEGER REFERENCES orders (id);
    INSERT INTO orders VALUES (1, 'processing', '2026-01-01');`;

  test('are not settled: neither an order above nor a payment below', () => {
    using database = new AppDatabase();
    database.sql.exec(shop);
    database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
    database.sql.exec(`UPDATE jobs SET order_id = 1;
      INSERT INTO payments VALUES (1, 'completed', 'batch-a', NULL)`);
    expect(Object.keys(settle(database, 'fail')).toSorted()).toEqual([
      'batch-a',
      'job-a',
      'link-a-0',
    ]);
    expect(Object.keys(settle(database, 'reset'))).toEqual(['link-a-0']);
  });

  test.each([
    ['batch_id', 'batch-a'],
    ['job_id', 'job-a'],
  ])(
    'an unfinished one keeps the row of its %s from ending with its last child',
    (column, above) => {
      using database = new AppDatabase();
      database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
      database.sql.exec(`CREATE TABLE payments (id INTEGER PRIMARY KEY, status TEXT, ${column} TEXT);
      INSERT INTO payments VALUES (1, 'processing', '${above}')`);
      const changes = settle(database, 'fail');
      // A batch and its job say the same about the same work.
      expect(Object.keys(changes).toSorted()).toEqual(['job-a', 'link-a-0']);
      expect(changes['job-a']).toEqual({ failed_links: 1 });
      database.sql.exec("UPDATE payments SET status = 'completed'");
      expect(settle(database, 'fail')).toHaveProperty('batch-a');
    },
  );

  test('a reference to a row of a table `tasks` is not a Celery task id', () => {
    using database = new AppDatabase(`
      CREATE TABLE tasks (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT, celery_task_id TEXT);
      CREATE TABLE task_links (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT,
        task_id TEXT REFERENCES tasks (id));
      INSERT INTO tasks VALUES (1, 'processing', '2026-01-01', 'held');
      INSERT INTO task_links VALUES (1, 'processing', '2026-01-01', '1');`);
    // A row below is as alive as the task of the row above: nobody is asked for a task called 1.
    expect(settle(database, 'fail')).toEqual({});
  });
});

test('reset changes only the row: the app sends its task again', () => {
  using database = new AppDatabase();
  database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
  expect(settle(database, 'reset')).toEqual({
    'link-a-0': {
      status: 'pending',
      celery_task_id: null,
      started_at: null,
      completed_at: null,
      error_message: null,
    },
  });
});

test('jobs below jobs: the lowest fails, and its ancestors end with it', () => {
  using database = new AppDatabase();
  database.sql.exec('ALTER TABLE jobs ADD COLUMN parent_job_id TEXT REFERENCES jobs (id)');
  const add = (id: string, status: string, parent_job_id: string | null): void => {
    database.add('jobs', { id, status, parent_job_id, celery_task_id: `task-${id}` });
  };
  add('top', 'processing', 'top');
  add('middle', 'processing', 'top');
  add('leaf', 'processing', 'middle');
  add('done', 'completed', 'top');
  const changes = settle(database, 'fail');
  expect(changes).toMatchObject({
    leaf: failed,
    middle: { status: 'failed', error_message: '1 of 1 jobs failed; finalised by celeriac' },
    top: { status: 'completed', error_message: '1 of 2 jobs failed; finalised by celeriac' },
  });
  expect(Object.keys(settle(database, 'reset'))).toEqual(['leaf']);
});

describe('the time of the change', () => {
  const times = {
    'seconds as text': ["'1768740000'", '1768748400'],
    'seconds as text with a fraction': ["'1768740000.250'", '1768748400.000'],
    'milliseconds as text': ["'1768740000000'", '1768748400000'],
    'milliseconds as a number': ['1768740000000', 1_768_748_400_000],
    'a clock ahead of UTC': ["'2026-01-18T14:40:00+02:00'", '2026-01-18T17:00:00+02:00'],
    'a name of UTC': ["'2026-01-18 12:40:00 UTC'", '2026-01-18 15:00:00 UTC'],
  } as const;

  test.each(Object.entries(times))(
    'is written as the column writes its own: %s',
    (_, [was, is]) => {
      // Without a type, as a column of times may be: what is put in stays what it is.
      using database = new AppDatabase(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, celery_task_id TEXT, createdAt,
        completed_at);
      INSERT INTO jobs VALUES ('done', 'completed', NULL, ${was}, ${was}),
        ('lost', 'processing', 'task', ${was}, NULL);`);
      expect(settle(database, 'fail')).toEqual({ lost: { status: 'failed', completed_at: is } });
      database.sql.exec("UPDATE jobs SET completed_at = NULL WHERE id = 'done'");
      // A column that was never filled is filled as its neighbours are.
      expect(settle(database, 'fail')).toEqual({ lost: { status: 'failed', completed_at: is } });
    },
  );

  test('is written by the host as by the clean-up, in every format', () => {
    const forms: fc.Arbitrary<InstantForm> = fc.oneof(
      fc.record({
        kind: fc.constant('text' as const),
        separator: fc.constantFrom(' ' as const, 'T' as const),
        fraction: fc.integer({ min: 0, max: 9 }),
        zone: fc.constantFrom('', 'Z', ' UTC', '+00:00', '+05:30', '-0930', '+14'),
      }),
      fc.record({
        kind: fc.constant('epoch' as const),
        unit: fc.constantFrom('s' as const, 'ms' as const),
        fraction: fc.integer({ min: 0, max: 9 }),
        text: fc.boolean(),
      }),
    );
    // Microseconds, as the host's clock has them.
    const moments = fc.integer({ min: 1e15, max: 2e15 }).map((micros) => micros / 1e6);
    const cases = fc.sample(fc.tuple(moments, forms), 500);
    const spell = `
import json, sys
sys.path.insert(0, sys.argv[1])
from celeriac_host.store import orphans
print(json.dumps([orphans.written(now, spelling) for now, spelling in json.load(sys.stdin)]))
`;
    const asked = cases.map(([at, form]) => [at, spellingOf(form)]);
    expect(runPython(spell, asked)).toEqual(
      cases.map(([at, form]) => writeInstant(epochSeconds(at), form)),
    );
  });
});

describe('rules that the plan passes to the host', () => {
  test('a row does not wait for a row with a final status of another table', () => {
    using database = new AppDatabase();
    database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
    database.sql.exec(`CREATE TABLE payments (id INTEGER PRIMARY KEY, status TEXT, batch_id TEXT);
      INSERT INTO payments VALUES (1, 'Paid', 'batch-a'), (2, 'timed out', 'batch-a')`);
    expect(settle(database, 'fail')).toHaveProperty('batch-a');
    database.sql.exec("UPDATE payments SET status = 'In Progress' WHERE id = 1");
    expect(settle(database, 'fail')).not.toHaveProperty('batch-a');
  });

  test('only the counter of the changed rows is adjusted', () => {
    using database = new AppDatabase();
    database.sql.exec('ALTER TABLE jobs ADD COLUMN failed_variations INTEGER DEFAULT 9');
    database.addBatch('a', {
      ago: 10 * minute,
      links: [
        ['pending', minute],
        ['processing', minute],
      ],
    });
    database.addVariation('link-a-0', 'completed', minute);
    expect(settle(database, 'fail')['job-a']).toEqual({ failed_links: 1 });
  });

  test('the columns to compare again before a change', () => {
    using database = new AppDatabase();
    database.sql.exec('ALTER TABLE batch_links ADD COLUMN polled_at TIMESTAMP');
    database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
    const tables = lookAt(database);
    const mapping = proposeMapping(database.file, tables);
    const rules = { ...planSettled(mapping, tables, 'reset', null), action: 'reset', message: '' };
    const changes = runPython(program, [database.file, rules, now]) as RowChange[];
    const link = mapping.find(({ table }) => table === 'batch_links');
    if (link === undefined) throw new Error('no table of links');
    expect(Object.keys(changes[0]?.seen ?? {}).toSorted()).toEqual(vitalColumns(link).toSorted());
    expect(vitalColumns(link)).toContain('polled_at');
  });
});
