import { describe, expect, test } from 'vitest';
import type { CleanUpAction, CleanUpDesired } from '../../../../src/config/cleanup-desired.ts';
import type { RepairJobs } from '../../../../src/model/operation/jobs.ts';
import { seconds } from '../../../../src/model/units.ts';
import { lookForStuckRows } from '../../../../src/use-case/look-for-stuck-rows.ts';
import { configRefusal } from '../../../lib/refusals.ts';
import { openStoreHere } from '../../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  bySqlite,
  day,
  desire,
  hour,
  messagesOf,
  minute,
  path,
  planFor,
} from '../app-database.ts';
import { drive } from '../drive-host.ts';
import { load } from '../load-case.ts';

/** Databases that hold other things beside jobs: those are seen, and never changed. */

type CleanUp = Awaited<ReturnType<typeof planFor>>;

const actions: readonly CleanUpAction[] = ['fail', 'reset', 'delete', 'finalise'];

const changesOf = (cleanUp: CleanUp): Record<string, string> =>
  Object.fromEntries(
    cleanUp.repairs.flatMap(({ rows }) =>
      rows.map((row) => [`${row.table} ${row.id}`, `${row.status} → ${row.becomes}`]),
    ),
  );

const rowsOf = (database: AppDatabase, tables: readonly string[]): unknown =>
  tables.map((table) => database.sql.prepare(`SELECT * FROM "${table}" ORDER BY 1`).all());

/** The host's own program changes the rows of the plan. */
function apply(database: AppDatabase, { plan }: CleanUp): void {
  for (const operation of plan.operations) {
    if (operation.op !== 'repair-jobs') continue;
    const args: RepairJobs = { ...operation, database: database.file, lookAgain: null };
    const said = drive(database, 'operations.repair_jobs', 'do', args);
    expect(said.error).toBeUndefined();
    expect(said.value).toMatchObject({ 1: { skipped: [] } });
  }
}

/** What an action does to a database: first its plan, then its rows for good. */
async function clean(database: AppDatabase, wishes: Partial<CleanUpDesired>): Promise<CleanUp> {
  const cleanUp = await planFor(database, wishes);
  apply(database, cleanUp);
  return cleanUp;
}

const ends = { fail: 'failed', reset: 'pending', delete: 'deleted', finalise: undefined } as const;

const expectedOf = (action: CleanUpAction, row: string): Record<string, string> =>
  ends[action] === undefined ? {} : { [row]: `processing → ${ends[action]}` };

describe('payments that reference the same users as jobs', () => {
  test.each(actions)(
    '%s: as it is there is nothing to repair, and that is told',
    async (action) => {
      using database = load('payments');
      const before = rowsOf(database, ['users', 'payments', 'jobs']);
      const cleanUp = await clean(database, { action });
      expect(cleanUp.plan.operations).toEqual([]);
      expect(rowsOf(database, ['users', 'payments', 'jobs'])).toEqual(before);
      const why = 'not named like a job, and without a column for Celery task ids';
      expect(messagesOf(cleanUp)).toBe(
        `skipped tables, because nothing shows that their rows are jobs: users (linked to jobs, but ${why}); payments (${why}); to include one, add it to \`stores\`: [{ database: "${path}", tables: { "TABLE": {} } }]`,
      );
      const include = (table: string) => [
        '  stores: |',
        `    - database: "${path}"`,
        '      tables:',
        `        "${table}": {}`,
      ];
      expect(cleanUp.mappings[0]?.lines).toEqual([
        expect.stringMatching(
          /^jobs: .*no parent.*; certain: its column task_id holds Celery task ids$/,
        ),
        `skipped users: doubtful: linked to jobs, but ${why}; to include it:`,
        ...include('users'),
        `skipped payments: doubtful: ${why}; to include it:`,
        ...include('payments'),
      ]);
    },
  );

  test.each(actions)('%s: of a stuck job, only the job is repaired', async (action) => {
    using database = load('payments');
    database.sql.exec("UPDATE jobs SET status = 'processing'");
    const before = rowsOf(database, ['users', 'payments']);
    expect(changesOf(await clean(database, { action }))).toEqual(expectedOf(action, 'jobs j'));
    expect(rowsOf(database, ['users', 'payments'])).toEqual(before);
    expect(database.statuses().j).toBe(
      { fail: 'failed', reset: 'pending', delete: undefined, finalise: 'processing' }[action],
    );
  });

  test.each(actions)('%s: the id of a payment does not match a job', async (action) => {
    using database = load('payments');
    const named = await configRefusal(planFor(database, { action, ids: ['payments:1'] }));
    expect(named.where).toBe('input ids');
    expect(named.message).toContain("'payments:1': payments is not recognized as a table of jobs");
    const bare = await configRefusal(planFor(database, { action, ids: ['1'] }));
    expect(bare.message).toContain("no job or row below a job has the id '1'");
    expect(
      (await planFor(database, { action: 'delete', ids: ['j'], deleteCompleted: true })).repairs[0]
        ?.rows,
    ).toHaveLength(1);
  });

  test('they are repaired if `stores` lists them', async () => {
    using database = load('payments');
    const stores = [{ database: path, where: 'input stores', tables: { payments: {} } }];
    expect(changesOf(await planFor(database, { database: null, stores }))).toEqual({
      'payments 1': 'processing → failed',
    });
  });

  test('they are not counted by a search either', async () => {
    using database = load('payments');
    const agent = agentOf([database.fact()], { [path]: database.content() });
    const [found] = await lookForStuckRows({ agent, openStore: openStoreHere }, desire());
    expect(found?.stuck).toEqual([]);
  });
});

describe('an order with an invoice and a task', () => {
  test.each(actions)('%s: only the task may be repaired', async (action) => {
    using database = load('orders-delete');
    const before = rowsOf(database, ['orders', 'invoices']);
    const nothing = await clean(database, { action });
    expect(nothing.plan.operations).toEqual([]);
    expect(messagesOf(nothing)).toMatch(/orders \(linked to tasks, but .*invoices \(/);
    database.sql
      .prepare("INSERT INTO tasks VALUES (7, 1, 'gone', 'processing', ?)")
      .run(bySqlite(3 * day));
    expect(changesOf(await clean(database, { action }))).toEqual(expectedOf(action, 'tasks 7'));
    expect(rowsOf(database, ['orders', 'invoices'])).toEqual(before);
  });

  test('selected by its id, the task is treated the same', async () => {
    using database = load('orders-delete');
    database.sql
      .prepare("INSERT INTO tasks VALUES (7, 1, 'gone', 'processing', ?)")
      .run(bySqlite(minute));
    const cleanUp = await clean(database, { action: 'delete', ids: ['tasks:7'] });
    expect(changesOf(cleanUp)).toEqual({ 'tasks 7': 'processing → deleted' });
    expect(rowsOf(database, ['orders'])).toMatchObject([[{ status: 'processing' }]]);
  });

  test('a parent from `stores` that holds no jobs must be listed itself', async () => {
    using database = load('orders-delete');
    const tables = { tasks: { parent: { table: 'orders', column: 'order_id' } } };
    const stores = [{ database: path, where: 'input stores, line 1', tables }];
    const error = await configRefusal(planFor(database, { database: null, stores }));
    expect(error.where).toBe('input stores, line 1');
    expect(error.message).toContain(
      '`orders`, the parent of `tasks`, is not recognized as a table of jobs: linked to tasks',
    );
    const both = stores.map((each) => ({ ...each, tables: { ...tables, orders: {} } }));
    expect(changesOf(await planFor(database, { database: null, stores: both }))).toEqual({
      'orders 1': 'processing → failed',
    });
  });
});

test('a project is not reported as skipped and completed, and does not keep its task alive', async () => {
  using database = load('left-alone-and-changed');
  const cleanUp = await clean(database, {});
  expect(changesOf(cleanUp)).toEqual({ 'tasks 1': 'processing → failed' });
  expect(messagesOf(cleanUp)).toMatch(/skipped tables, .*projects \(.*clips \(/);
  expect(rowsOf(database, ['projects'])).toMatchObject([[{ status: 'processing' }]]);
});

test('a table named celery_job belongs to the app', async () => {
  using database = load('celery-job');
  expect(changesOf(await planFor(database))).toEqual({ 'celery_job 1': 'processing → failed' });
});

test('numeric statuses are reported as numbers', async () => {
  using database = load('numbers');
  const error = await configRefusal(planFor(database));
  expect(error.where).toBe('input stores');
  expect(error.message).toContain(
    'importer_event (its statuses are numbers (2); say what each means, for example `words: { 2: pending }`)',
  );
});

describe('rows of other tables that reference a job', () => {
  const tablesOf = (tie: string): string => `
    CREATE TABLE batches (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
    CREATE TABLE batch_links (id TEXT PRIMARY KEY, batch_id TEXT ${tie}, status TEXT,
      created_at TEXT);
    CREATE TABLE pages (id TEXT PRIMARY KEY, batch_id TEXT, status TEXT, updated_at TEXT);`;
  const byKey = 'REFERENCES batches (id)';

  const add = (database: AppDatabase, link: string, page: string, ago: number): void => {
    const created_at = bySqlite(day);
    database.add('batches', { id: 'b', status: 'processing', created_at });
    database.add('batch_links', { id: 'l', batch_id: 'b', status: link, created_at });
    const updated_at = bySqlite(ago);
    database.add('pages', { id: 'p', batch_id: 'b', status: page, updated_at });
  };

  test('a changing one keeps the job alive', async () => {
    using database = new AppDatabase(tablesOf(byKey));
    add(database, 'completed', 'processing', minute);
    const cleanUp = await planFor(database);
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('pages (linked to batches, but not named like a job');
    database.sql.exec(`UPDATE pages SET updated_at = '${bySqlite(-day)}', status = 'done'`);
    expect(changesOf(await planFor(database))).toEqual({ 'batches b': 'processing → completed' });
  });

  test.each([byKey, ''])(
    'an unfinished one keeps the job from being finalised (%s)',
    async (tie) => {
      using database = new AppDatabase(tablesOf(tie));
      add(database, 'completed', 'queued', 2 * hour);
      for (const action of actions) {
        const cleanUp = await planFor(database, { action });
        expect(changesOf(cleanUp)).toEqual({});
        expect(messagesOf(cleanUp)).toContain(
          'skipped: batches b: all its batch_links have ended, but unfinished rows that may be jobs reference it: 1 of pages',
        );
      }
      database.sql.exec("UPDATE pages SET status = 'finished'");
      expect(changesOf(await planFor(database, { action: 'finalise' }))).toEqual({
        'batches b': 'processing → completed',
      });
    },
  );

  test('an unfinished one keeps the job from ending with its last child', async () => {
    using database = new AppDatabase(tablesOf(byKey));
    add(database, 'processing', 'queued', minute);
    expect(changesOf(await planFor(database))).toEqual({ 'batch_links l': 'processing → failed' });
    database.sql.exec(`UPDATE pages SET status = 'finished', updated_at = '${bySqlite(2 * hour)}'`);
    expect(changesOf(await planFor(database))).toEqual({
      'batches b': 'processing → failed',
      'batch_links l': 'processing → failed',
    });
  });

  test('one that `stores` ignores keeps no job alive', async () => {
    using database = new AppDatabase(tablesOf(byKey));
    add(database, 'completed', 'processing', minute);
    const stores = [{ database: path, where: '', tables: { pages: { ignore: true } } }];
    const cleanUp = await planFor(database, { database: null, stores });
    expect(changesOf(cleanUp)).toEqual({ 'batches b': 'processing → completed' });
    expect(messagesOf(cleanUp)).not.toContain('pages');
  });
});

test('an ignored table is not in the plan, whatever references it', async () => {
  using database = new AppDatabase();
  const { links } = database.addBatch('odd', {
    ago: 3 * hour,
    links: [
      ['processing', 2 * hour],
      ['completed', 2 * hour],
    ],
  });
  database.sql.exec(`UPDATE batch_links SET started_at = 'soon' WHERE id = '${links[1]}'`);
  const cleanUp = await planFor(database);
  // The batch and the job can't be judged: they don't end with their last link.
  expect(changesOf(cleanUp)).toEqual({
    'batch_links link-odd-0': 'processing → failed',
    'jobs job-odd': 'processing → processing',
  });
  expect(messagesOf(cleanUp)).toContain('skipped, age unknown: batches batch-odd:');
  expect(messagesOf(cleanUp)).toContain('only counters change, age unknown: jobs job-odd:');
  for (const line of messagesOf(cleanUp)
    .split('\n')
    .filter((each) => each.startsWith('skipped'))) {
    expect(line).not.toContain('jobs job-odd:');
  }
});

test('rows without a time share the fate of their parent, and are not reported as skipped', async () => {
  using database = new AppDatabase();
  database.addBatch('old', { ago: day, links: [['processing', day]] });
  database.sql.exec('UPDATE batch_links SET created_at = NULL, started_at = NULL');
  const cleanUp = await planFor(database);
  expect(changesOf(cleanUp)['batch_links link-old-0']).toBe('processing → failed');
  expect(messagesOf(cleanUp)).not.toContain('skipped');
});

test('the threshold applies to those tables, too', async () => {
  using database = new AppDatabase(`
    CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
    CREATE TABLE notes (id TEXT, job TEXT REFERENCES jobs (id), written_at TEXT);`);
  database.add('jobs', { id: 'j', status: 'processing', created_at: bySqlite(day) });
  database.add('notes', { id: 'n', job: 'j', written_at: bySqlite(hour) });
  expect(changesOf(await planFor(database))).toEqual({ 'jobs j': 'processing → failed' });
  const patient = await planFor(database, { thresholdSeconds: seconds(2 * hour) });
  expect(changesOf(patient)).toEqual({});
});
