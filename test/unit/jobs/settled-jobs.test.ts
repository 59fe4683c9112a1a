import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import type { RowChange } from '../../../src/model/operation.ts';
import { AppDatabase, minute } from './app-database.ts';

/** What becomes of the jobs of a worker that is gone, by the host's own program. */

const host = join(import.meta.dirname, '../../../host');

const program = `
import json, sys
sys.path.insert(0, sys.argv[1])
from celeriac_host.store import orphans
path, mapping, action = json.load(sys.stdin)
found = orphans.find(path, mapping)
now = 1768748400.0
print(json.dumps(orphans.plan(path, mapping, found, action, "nobody had it; by a test", now)))
`;

/** `table id` → what is written into the row. */
function settle(database: AppDatabase, action: 'fail' | 'reset'): Record<string, unknown> {
  const mapping = proposeMapping(database.file, database.tables());
  const { stdout, stderr, status } = spawnSync('python3', ['-I', '-c', program, host], {
    input: JSON.stringify([database.file, mapping, action]),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  const changes = JSON.parse(stdout) as RowChange[];
  return Object.fromEntries(
    changes.map(({ id, change }) => [id, change.kind === 'update' ? change.set : change.kind]),
  );
}

const failed = { status: 'failed', error_message: 'nobody had it; by a test' };

describe('a batch whose last link is failed', () => {
  test('is completed, as its job is, when another link was: no more is to come', () => {
    using database = new AppDatabase();
    const links = [
      ['completed', 9 * minute],
      ['processing', minute],
    ] as const;
    database.addBatch('a', { ago: 10 * minute, links });
    const ended = { status: 'completed', completed_at: expect.any(String) };
    expect(settle(database, 'fail')).toEqual({
      'link-a-1': { ...failed, completed_at: '2026-01-18T15:00:00.000000' },
      'batch-a': { ...ended, error_message: '1 of 2 batch_links failed; by a test' },
      'job-a': { ...ended, failed_links: 1 },
    });
  });

  test('is failed when none was', () => {
    using database = new AppDatabase();
    database.addBatch('a', { ago: 10 * minute, links: [['processing', minute]] });
    expect(settle(database, 'fail')).toMatchObject({
      'link-a-0': failed,
      'batch-a': { status: 'failed', error_message: '1 of 1 batch_links failed; by a test' },
      'job-a': { status: 'failed', error_message: '1 of 1 batches failed; by a test' },
    });
  });

  test('goes on while another link is still to come', () => {
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

describe('what is no job', () => {
  const shop = `
    CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT);
    CREATE TABLE payments (id INTEGER PRIMARY KEY, status TEXT, batch TEXT REFERENCES batches (id),
      job_id TEXT);
    ALTER TABLE jobs ADD COLUMN order_id INTEGER REFERENCES orders (id);
    INSERT INTO orders VALUES (1, 'processing', '2026-01-01');`;

  test('is not settled: neither an order above nor a payment below', () => {
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
  ])('and is unfinished keeps the row of its %s from ending with its last', (column, above) => {
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
  });

  test('but named by a key of its own: a row of tasks is no task of Celery', () => {
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

test('reset takes the row alone: its task is sent again by whoever sent it', () => {
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

test('jobs below jobs: the lowest is failed, and those above end with it', () => {
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
    middle: { status: 'failed', error_message: '1 of 1 jobs failed; by a test' },
    top: { status: 'completed', error_message: '1 of 2 jobs failed; by a test' },
  });
  expect(Object.keys(settle(database, 'reset'))).toEqual(['leaf']);
});
