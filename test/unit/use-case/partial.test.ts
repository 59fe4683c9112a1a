import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { CleanUpAction, CleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import type { TableSpec } from '../../../src/config/stores-input.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import {
  AppDatabase,
  applyPlan,
  byPython,
  bySqlite,
  day,
  hour,
  messagesOf,
  minute,
  nothingLeft,
  path,
  planFor,
} from '../jobs/app-database.ts';

/** What becomes of the jobs of an app that has a status for work that completed in part. */

const actions = ['fail', 'reset', 'delete', 'finalise'] as const;
const ended = ['completed', 'failed', 'cancelled', 'partial'] as const;

/** The app's own end of a batch. */
const endOf = (links: readonly string[]): string => {
  if (!links.some((status) => ['completed', 'partial'].includes(status))) return 'failed';
  return links.every((status) => status === 'completed') ? 'completed' : 'partial';
};

/** An app that used the word once. */
function usesPartial(): AppDatabase {
  const database = new AppDatabase();
  const times = { created_at: bySqlite(9 * day), completed_at: byPython(8 * day) };
  database.add('video_jobs', { id: 'old', status: 'partial', ...times });
  return database;
}

const become = async (
  database: AppDatabase,
  wishes: Partial<CleanUpDesired>,
): Promise<Record<string, string>> => {
  const { repairs } = await planFor(database, wishes);
  return Object.fromEntries(
    repairs.flatMap(({ rows }) => rows.map(({ id, becomes }) => [String(id), becomes])),
  );
};

const withWords = (words: TableSpec['words']): Partial<CleanUpDesired> => {
  const names = ['jobs', 'batches', 'batch_links', 'batch_variations', 'video_jobs'];
  const tables = Object.fromEntries(names.map((name) => [name, { words }]));
  return { database: null, stores: [{ database: path, tables, where: 'input stores' }] };
};

const pairs = ended.flatMap((one, at) => ended.slice(at).map((other) => [one, other] as const));
const reversed = pairs.flatMap(([one, other]) => (one === other ? [] : [[other, one] as const]));

describe.each(actions)('%s: links that have all ended', (action) => {
  const expectEnd = async (one: string, other: string): Promise<void> => {
    for (const status of ['processing', 'pending']) {
      for (const ids of [[], ['batch-a'], ['job-a']]) {
        using database = usesPartial();
        const links = [[one, 2 * hour] as const, [other, 2 * hour] as const];
        database.addBatch('a', { ago: 3 * hour, status, links });
        const end = endOf([one, other]);
        expect(await become(database, { action, ids })).toEqual({ 'job-a': end, 'batch-a': end });
      }
    }
  };

  test.each(pairs)('%s and %s, by age, by id, and whoever names which', expectEnd);
  test.each(reversed)('%s and %s', { tags: ['nightly'] }, expectEnd);

  test('and whose batch is partial: the job is, too', async () => {
    using database = usesPartial();
    const links = [['completed', 2 * hour] as const, ['failed', 2 * hour] as const];
    database.addBatch('a', { ago: 3 * hour, links });
    database.sql.exec("UPDATE batches SET status = 'partial'");
    expect(await become(database, { action })).toEqual({ 'job-a': 'partial' });
    expect(await become(database, { action, ids: ['job-a'] })).toEqual({ 'job-a': 'partial' });
  });
});

describe('a tree with completed work', () => {
  const add = (database: AppDatabase, moved: number): void => {
    const links = [
      ['completed', moved],
      ['failed', 2 * hour],
      ['processing', 2 * hour],
    ] as const;
    database.addBatch('a', { ago: 3 * hour, links });
  };
  const stuck = 'link-a-2';
  const expected: Record<CleanUpAction, Record<string, string>> = {
    fail: { 'job-a': 'partial', 'batch-a': 'partial', [stuck]: 'failed' },
    reset: { 'job-a': 'pending', 'batch-a': 'pending', [stuck]: 'pending' },
    delete: { 'job-a': 'partial', 'batch-a': 'partial', [stuck]: 'deleted' },
    finalise: {},
  };

  test.each(actions)('%s: what has ended stays, by age and by id', async (action) => {
    for (const ids of [[], ['batch-a'], ['job-a']]) {
      using database = usesPartial();
      add(database, 40 * minute);
      const cleanUp = await planFor(database, { action, ids });
      expect(await become(database, { action, ids })).toEqual(expected[action]);
      applyPlan(database, cleanUp);
      expect(database.statuses()).toMatchObject({ 'link-a-0': 'completed', 'link-a-1': 'failed' });
      const kept = messagesOf(cleanUp).includes('kept the ended rows');
      expect(kept).toBe(action === 'delete' && ids.length > 0);
    }
  });

  test.each(actions)('%s: below a mirror that is completed it stays, too', async (action) => {
    using database = usesPartial();
    const links = [['processing', 2 * hour] as const];
    database.addBatch('a', { ago: 3 * hour, links, job: { status: 'completed' } });
    const done = database.addVariation('link-a-0', 'completed', 2 * hour);
    const lost = database.addVariation('link-a-0', 'processing', 2 * hour + 1);
    applyPlan(database, await planFor(database, { action }));
    const { [done]: first, [lost]: second, ...others } = database.statuses();
    const link = { fail: 'partial', reset: 'partial', delete: 'completed', finalise: 'processing' };
    const other = { fail: 'failed', reset: 'failed', delete: undefined, finalise: 'processing' };
    expect([first, second]).toEqual(['completed', other[action]]);
    expect(others).toMatchObject({ 'batch-a': 'completed', 'link-a-0': link[action] });
  });

  test('delete-completed deletes all of it, and only what is named', async () => {
    using database = usesPartial();
    add(database, 40 * minute);
    const wishes = { action: 'delete', deleteCompleted: true } as const;
    const all = ['job-a', 'batch-a', 'link-a-0', 'link-a-1', stuck];
    const gone = Object.fromEntries(all.map((id) => [id, 'deleted']));
    expect(await become(database, { ...wishes, ids: ['job-a'] })).toEqual(gone);
    expect(await become(database, wishes)).toEqual(expected.delete);
  });

  test.each(['fail', 'delete'] as const)(
    '%s: it ends the same, sooner or later',
    async (action) => {
      const ends = new Set<unknown>();
      for (const moved of [5 * minute, 25 * minute, 40 * minute, 2 * hour]) {
        using database = usesPartial();
        add(database, moved);
        const first = await planFor(database, { action });
        applyPlan(database, first);
        // Its turn has come when nothing moved for the threshold: also not the clean-up itself.
        database.sql.exec(`UPDATE batch_links SET completed_at = '${byPython(2 * hour)}',
        started_at = '${byPython(2 * hour)}'`);
        applyPlan(database, await planFor(database, { action }));
        const { id: _, ...batch } = database.row('batches', 'batch-a') ?? {};
        ends.add(batch.status);
        expect(database.statuses()['job-a']).toBe(batch.status);
      }
      expect([...ends]).toEqual(['partial']);
    },
  );

  test('its task would repeat what is completed: only that of the stuck row is sent', async () => {
    using database = usesPartial();
    add(database, 40 * minute);
    const resend = (task: string) => ({ task, args: ['id'], queue: null });
    const tables = {
      jobs: { resend: resend('process_batch') },
      batch_links: { resend: resend('process_link') },
    };
    const stores = [{ database: path, tables, where: 'input stores' }];
    const cleanUp = await planFor(database, { action: 'reset', database: null, stores });
    expect(messagesOf(cleanUp)).not.toContain('will stay pending');
    const { plan } = cleanUp;
    const sent = plan.operations.flatMap((each) => (each.op === 'send-tasks' ? each.calls : []));
    expect(sent.map(({ task, args }) => [task, args])).toEqual([['process_link', [stuck]]]);
  });
});

describe('the word', () => {
  const links = [['completed', 2 * hour] as const, ['failed', 2 * hour] as const];

  test('is not written by an app that never used it', async () => {
    using database = new AppDatabase();
    database.addBatch('a', { ago: 3 * hour, links });
    expect(await become(database, {})).toEqual({ 'job-a': 'completed', 'batch-a': 'completed' });
  });

  test('may be another one: the app says it, and it is written', async () => {
    using database = new AppDatabase();
    const words = { some_failed: 'partial' } as const;
    database.addBatch('a', { ago: 3 * hour, links });
    const cleanUp = await planFor(database, withWords(words));
    applyPlan(database, cleanUp);
    expect(database.statuses()).toMatchObject({ 'job-a': 'some_failed', 'batch-a': 'some_failed' });
    expect(await become(database, withWords(words))).toEqual({});
  });

  test('given for reading is not written for another status', async () => {
    using database = usesPartial();
    database.addBatch('a', { ago: 3 * hour, links: [...links, ['partial', 2 * hour]] });
    database.addBatch('b', { ago: 3 * hour, links: [['completed', 2 * hour]] });
    applyPlan(database, await planFor(database, withWords({ partial: 'completed' })));
    expect(database.statuses()).toMatchObject({
      'job-a': 'completed',
      'batch-a': 'completed',
      'batch-b': 'completed',
      'link-a-2': 'partial',
    });
  });

  test('a row that has it is never stuck, and says that its job is over', async () => {
    using database = usesPartial();
    database.addBatch('a', { ago: 3 * hour, status: 'partial', links: [['partial', hour]] });
    for (const action of actions) {
      const cleanUp = await planFor(database, { action });
      expect(cleanUp.plan.operations).toEqual([]);
      expect(messagesOf(cleanUp)).not.toContain('unknown status');
    }
  });
});

describe('counters', () => {
  test('of a row that ends are what its rows say, whoever ended them', async () => {
    using database = usesPartial();
    const links = [
      ['completed', 2 * hour],
      ['failed', 2 * hour],
      ['failed', 2 * hour],
    ] as const;
    database.addBatch('a', { ago: 3 * hour, links });
    database.sql.exec('UPDATE jobs SET completed_links = 0, failed_links = 0');
    applyPlan(database, await planFor(database, { action: 'finalise' }));
    expect(database.row('jobs', 'job-a')).toMatchObject({
      status: 'partial',
      completed_links: 1,
      failed_links: 2,
      total_links: 3,
    });
  });

  test.each([
    ['links_failed', 2],
    ['done_links', 1],
    ['num_failed_links', 2],
    ['failed_count', 2],
    ['partial_links', 1],
    ['retry_links', 7],
    ['processed_links', 7],
  ])('of other names: %s', async (column, count) => {
    using database = usesPartial();
    database.sql.exec(`ALTER TABLE batches ADD COLUMN ${column} INTEGER DEFAULT 7`);
    const states = ['completed', 'failed', 'failed', 'partial'];
    const links = states.map((status) => [status, 2 * hour] as const);
    database.addBatch('a', { ago: 3 * hour, links });
    applyPlan(database, await planFor(database, {}));
    expect(database.row('batches', 'batch-a')).toMatchObject({
      status: 'partial',
      [column]: count,
    });
  });

  test('which hold something else are left as they are', async () => {
    using database = usesPartial();
    database.sql.exec(`ALTER TABLE batches ADD COLUMN failed_links TEXT DEFAULT '["a"]';
      ALTER TABLE batches ADD COLUMN links_failed DEFAULT 'many'`);
    database.addBatch('a', { ago: 3 * hour, links: [['failed', 2 * hour]] });
    applyPlan(database, await planFor(database, {}));
    expect(database.row('batches', 'batch-a')).toMatchObject({
      status: 'failed',
      failed_links: '["a"]',
      links_failed: 'many',
    });
  });
});

describe('a parent that is pending', () => {
  const pending = (database: AppDatabase, moved: number, last: string): void => {
    const links = [['completed', moved] as const, [last, 2 * hour] as const];
    database.addBatch('a', { ago: 3 * hour, status: 'pending', links });
  };

  test('ends with its rows once it is its turn', async () => {
    using database = usesPartial();
    pending(database, 5 * minute, 'failed');
    expect(await become(database, {})).toEqual({});
    using later = usesPartial();
    pending(later, 40 * minute, 'failed');
    expect(await become(later, {})).toEqual({ 'job-a': 'partial', 'batch-a': 'partial' });
  });

  test('ends with the last of its rows, which is stuck', async () => {
    using database = usesPartial();
    pending(database, 40 * minute, 'processing');
    const link = { 'link-a-1': 'failed' };
    const end = { 'job-a': 'partial', 'batch-a': 'partial', ...link };
    expect(await become(database, { action: 'fail' })).toEqual(end);
    expect(await become(database, { action: 'finalise' })).toEqual({});
    using fresh = usesPartial();
    pending(fresh, 5 * minute, 'processing');
    expect(await become(fresh, { action: 'fail' })).toMatchObject(link);
    expect(await become(fresh, { action: 'fail' })).not.toHaveProperty('batch-a');
  });

  test('waits while one of its rows does, and while its task is there', async () => {
    using database = usesPartial();
    pending(database, 40 * minute, 'pending');
    expect(await become(database, {})).toEqual({});
    using owed = usesPartial();
    pending(owed, 40 * minute, 'failed');
    const tasks = (ids: readonly string[]): TasksFact => {
      const found = ids.filter((id) => id === 'task-a');
      return { ...nothingLeft(), owed: found } as TasksFact;
    };
    const cleanUp = await planFor(owed, { evidence: 'broker' }, { tasks });
    expect(cleanUp.repairs.flatMap(({ rows }) => rows)).toEqual([]);
    expect(messagesOf(cleanUp)).not.toContain('batches batch-a');
  });
});

describe('a parent of rows in two tables', () => {
  const load = (): AppDatabase => {
    const file = join(import.meta.dirname, '../../fixtures/databases/left-alone-and-changed.sql');
    const moment = `datetime('${bySqlite(0)}'`;
    return new AppDatabase(readFileSync(file, 'utf8').replaceAll("datetime('now'", moment));
  };

  const tables = { projects: {}, clips: {}, tasks: {} };
  const wishes = { database: null, stores: [{ database: path, tables, where: 'input stores' }] };

  test('is not completed while nobody knows when a row below it moved', async () => {
    const cases = actions.flatMap((action) => [
      [action, ''] as const,
      [action, 'no time'] as const,
    ]);
    for (const [action, kind] of cases) {
      using database = load();
      if (kind === 'no time') database.sql.exec('ALTER TABLE clips DROP COLUMN start_time');
      const cleanUp = await planFor(database, { ...wishes, action });
      const told = cleanUp.repairs.flatMap(({ rows }) => rows.map(({ table }) => table));
      expect(told).toEqual(action === 'finalise' ? [] : ['tasks']);
      expect(messagesOf(cleanUp)).toMatch(/skipped.*(?:projects 1|clips 1)/);
      applyPlan(database, cleanUp);
      const row = database.sql.prepare('SELECT status FROM projects').pluck().get();
      expect(row).toBe('processing');
    }
  });

  test('is not completed while those of one are stuck, and counts are by table', async () => {
    using database = load();
    database.sql.exec(`ALTER TABLE clips DROP COLUMN start_time;
      ALTER TABLE clips ADD COLUMN created_at TEXT;
      ALTER TABLE projects ADD COLUMN error TEXT;
      UPDATE clips SET created_at = '${bySqlite(day)}'`);
    const first = await planFor(database, wishes);
    expect(first.repairs.flatMap(({ rows }) => rows.map(({ table }) => table))).toEqual(['tasks']);
    expect(messagesOf(first)).toContain(
      'projects 1: rows below it are completed, but those in tasks',
    );
    applyPlan(database, first);
    applyPlan(database, await planFor(database, wishes));
    const row = database.sql.prepare('SELECT status, error FROM projects').get();
    expect(row).toMatchObject({
      status: 'completed',
      error: expect.stringMatching(/^0 of 1 clips failed, 1 of 1 tasks failed; finalised/),
    });
  });
});

describe('a parent whose rows have ended, and have no time', () => {
  /** Without a column for it, or with an empty one. */
  const load = (column: string, ...clips: readonly string[]): AppDatabase => {
    const database = new AppDatabase(`
      CREATE TABLE video_jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT);
      CREATE TABLE clips (id INTEGER PRIMARY KEY, status TEXT, job_id TEXT REFERENCES video_jobs (id)
        ${column});`);
    database.add('video_jobs', { id: 'v', status: 'processing', created_at: bySqlite(day) });
    for (const status of clips) database.add('clips', { status, job_id: 'v' });
    return database;
  };
  const tables = { video_jobs: {}, clips: {} };
  const stores = [{ database: path, tables, where: 'input stores' }];
  const columns = ['', ', finished_at TIMESTAMP'];

  test.each(columns)(
    'is not completed by its own age: the last may just have ended (%s)',
    async (column) => {
      for (const clips of [['completed'], ['completed', 'failed'], ['partial']]) {
        for (const action of actions) {
          using database = load(column, ...clips);
          const cleanUp = await planFor(database, { stores, action });
          expect(cleanUp.repairs).toEqual([]);
          expect(cleanUp.plan.skippedRows).toBe(1);
          expect(messagesOf(cleanUp)).toMatch(
            /video_jobs v: rows below it are completed, but the age of clips 1 is unknown; `ids` selects/,
          );
        }
      }
    },
  );

  test.each(columns)('becomes what its rows say once `ids` names it (%s)', async (column) => {
    for (const [clips, end] of [
      [['completed', 'completed'], 'completed'],
      [['completed', 'partial'], 'partial'],
      [['failed', 'cancelled'], 'failed'],
    ] as const) {
      for (const action of actions) {
        using database = load(column, ...clips);
        expect(await become(database, { stores, action, ids: ['video_jobs:v'] })).toEqual({
          v: end,
        });
      }
    }
  });

  test.each(columns)('fails by its own age if none completed (%s)', async (column) => {
    for (const action of actions) {
      using database = load(column, 'failed', 'cancelled');
      expect(await become(database, { stores, action })).toEqual({ v: 'failed' });
    }
  });
});

describe('a job that repeats another', () => {
  const load = (): AppDatabase => {
    const database = new AppDatabase(`CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT,
      created_at TEXT, task_id TEXT, retry_of_id TEXT REFERENCES jobs (id) ON DELETE CASCADE);`);
    const add = (id: string, status: string, ago: number, retry_of_id: string | null): void => {
      database.add('jobs', { id, status, created_at: bySqlite(ago), task_id: id, retry_of_id });
    };
    add('first', 'processing', day, null);
    add('again', 'completed', minute, 'first');
    return database;
  };

  test('is no part of it: neither its age nor its end is that of the other', async () => {
    using database = load();
    expect(await become(database, { action: 'fail' })).toEqual({ first: 'failed' });
  });

  test('is not deleted with it', async () => {
    using database = load();
    const cleanUp = await planFor(database, { action: 'delete' });
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toContain(
      'jobs first is referenced by 1 row of jobs (retry_of_id)',
    );
  });
});
