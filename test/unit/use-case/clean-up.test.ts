import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openSqliteStore } from '../../../src/adapters/sqlite-store.ts';
import type { CleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import { countRepaired, reportSkipped } from '../../../src/jobs/repair/clean-up-outcome.ts';
import { describeMapping, proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import type { TasksFact } from '../../../src/model/facts/broker.ts';
import type { StoreFact } from '../../../src/model/facts/store.ts';
import type { RepairJobs } from '../../../src/model/operation/jobs.ts';
import { seconds } from '../../../src/model/units.ts';
import type { OpenStore } from '../../../src/ports/store.ts';
import { describeOutcome } from '../../../src/report/summary.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { lookForStuckRows } from '../../../src/use-case/look-for-stuck-rows.ts';
import { configRefusal } from '../../lib/refusals.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  applyPlan,
  byPython,
  bySqlite,
  day,
  desire,
  hour,
  messagesOf,
  minute,
  newTaskId,
  nothingLeft,
  now,
  path,
  planFor,
} from '../jobs/app-database.ts';
import { unitFact } from '../verify/facts.ts';

type CleanUp = Awaited<ReturnType<typeof planFor>>;

/** `id: status → new`, for every row of the table that people see. */
const changesOf = (cleanUp: CleanUp): Record<string, string> =>
  Object.fromEntries(
    cleanUp.repairs.flatMap(({ rows }) =>
      rows.map((row) => [row.id, `${row.status} → ${row.becomes}`]),
    ),
  );

const repairOf = (cleanUp: CleanUp): RepairJobs => {
  const found = cleanUp.plan.operations.find((operation) => operation.op === 'repair-jobs');
  if (found?.op !== 'repair-jobs') throw new Error('there is no repair');
  return found;
};

const changeOf = (cleanUp: CleanUp, id: string) =>
  repairOf(cleanUp).rows.find((row) => row.id === id)?.change;

/** A batch of which nothing moved for eight days: two links stuck, one waiting, and a first one. */
const deadBatch = (database: AppDatabase, first = 'completed') =>
  database.addBatch('dead', {
    ago: 8 * day + 4 * hour,
    links: [
      [first, 8 * day + 3 * hour],
      ['processing', 8 * day + 3 * hour],
      ['processing', 8 * day + 3 * hour],
      ['pending', 0],
    ],
  });

const ended: Record<CleanUpDesired['action'], string> = {
  fail: 'failed',
  reset: 'pending',
  delete: 'deleted',
  finalise: 'processing',
};

/** The rows as people are shown them. */
const tableOf = (cleanUp: CleanUp): string => repairOf(cleanUp).diff ?? '';

describe('which rows are found', () => {
  test('both timestamp formats are compared as instants, on the same day', async () => {
    using database = new AppDatabase();
    // As text 'T' sorts after a space: these would never be older than a threshold today.
    database.add('jobs', {
      id: 'old-t',
      status: 'processing',
      started_at: byPython(31 * minute),
      created_at: bySqlite(hour),
    });
    database.add('jobs', {
      id: 'new-t',
      status: 'processing',
      started_at: byPython(29 * minute),
      created_at: bySqlite(hour),
    });
    database.add('jobs', {
      id: 'old-s',
      status: 'processing',
      started_at: bySqlite(31 * minute),
      created_at: byPython(hour),
    });
    database.add('jobs', {
      id: 'new-s',
      status: 'processing',
      started_at: bySqlite(29 * minute),
      created_at: byPython(hour),
    });
    const found = changesOf(await planFor(database));
    expect(found).toEqual({ 'old-t': 'processing → failed', 'old-s': 'processing → failed' });
  });

  test('a parent is as recent as the most recent row below it', async () => {
    using database = new AppDatabase();
    database.addBatch('slow', {
      ago: 2 * hour,
      links: [
        ['completed', hour],
        ['processing', 5 * minute],
        ['pending', 0],
      ],
    });
    const cleanUp = await planFor(database);
    expect(cleanUp.plan.operations).toEqual([]);
    expect(cleanUp.plan.satisfied).toEqual([`jobs: nothing to repair in ${path}`]);
  });

  test('a variation that changes keeps its whole job alive', async () => {
    using database = new AppDatabase();
    const { links } = database.addBatch('deep', {
      ago: 3 * hour,
      links: [['processing', 2 * hour]],
    });
    database.addVariation(links[0] ?? '', 'completed', minute);
    expect((await planFor(database)).plan.operations).toEqual([]);
  });

  test('healthy work beside stuck work is skipped', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    const alive = database.addBatch('alive', { ago: hour, links: [['processing', minute]] });
    const cleanUp = await planFor(database);
    const touched = repairOf(cleanUp).rows.map((row) => row.id);
    for (const id of [alive.job, alive.batch, ...alive.links]) expect(touched).not.toContain(id);
  });

  test('a stuck link of a live batch is repaired alone, and the counters are adjusted', async () => {
    using database = new AppDatabase();
    database.addBatch('mixed', {
      ago: 3 * hour,
      links: [
        ['processing', 2 * hour],
        ['processing', minute],
      ],
    });
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({
      'job-mixed': 'processing → processing',
      'link-mixed-0': 'processing → failed',
    });
    expect(changeOf(cleanUp, 'job-mixed')).toEqual({ kind: 'update', set: { failed_links: 1 } });
    expect(tableOf(cleanUp)).toContain('failed_links 0 → 1');
  });

  test('a pending job is not stuck unless requested', async () => {
    using database = new AppDatabase();
    database.add('video_jobs', { id: 'waiting', status: 'pending', created_at: bySqlite(day) });
    expect(changesOf(await planFor(database))).toEqual({});
    const asked = await planFor(database, { statuses: ['processing', 'pending'] });
    expect(changesOf(asked)).toEqual({ waiting: 'pending → failed' });
  });

  test('a row with unreadable times is reported and skipped', async () => {
    using database = new AppDatabase();
    const times = { created_at: null, started_at: null };
    database.add('jobs', { id: 'timeless', status: 'processing', ...times });
    database.add('jobs', {
      id: 'odd',
      status: 'processing',
      created_at: bySqlite(day),
      started_at: 'yesterday',
    });
    database.add('jobs', { id: 'future', status: 'processing', created_at: bySqlite(-day) });
    database.add('jobs', { id: 'blob', status: 'processing', created_at: Buffer.from('x') });
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({});
    expect(messagesOf(cleanUp)).toContain('jobs timeless has no timestamp');
    expect(messagesOf(cleanUp)).toContain("jobs odd has started_at = 'yesterday'");
    expect(messagesOf(cleanUp)).toContain('in the future: jobs future');
    expect(messagesOf(cleanUp)).toContain('jobs blob has created_at = binary data');
    // Then the host is not said to be as desired.
    expect(describeOutcome(cleanUp.plan, null)).toBe(
      'Nothing was repaired: 4 rows that look stuck were skipped, for the reasons given.',
    );
    expect(cleanUp.plan.satisfied).toEqual([
      `jobs: nothing that can be repaired in ${path}, 4 rows skipped`,
    ]);
  });

  test.each(['fail', 'reset', 'delete', 'finalise'] as const)(
    '%s: a parent whose completed rows have no time ends only by ids',
    async (action) => {
      using database = new AppDatabase();
      database.addBatch('mute', { ago: day, links: [['completed', day]] });
      database.sql.exec(
        'UPDATE batch_links SET created_at = NULL, started_at = NULL, completed_at = NULL',
      );
      const byAge = await planFor(database, { action });
      expect(changesOf(byAge)).toEqual({});
      expect(messagesOf(byAge)).toContain(
        'rows below it are completed, but the age of batch_links link-mute-0 is unknown; `ids` selects it',
      );
      const byId = await planFor(database, { action, ids: ['jobs:job-mute'] });
      expect(changesOf(byId)).toEqual({
        'job-mute': 'processing → completed',
        'batch-mute': 'processing → completed',
      });
    },
  );

  test('a host without such rows is as desired', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'new', status: 'processing', created_at: bySqlite(minute) });
    database.add('jobs', { id: 'old', status: 'completed', created_at: bySqlite(day) });
    const cleanUp = await planFor(database);
    expect(describeOutcome(cleanUp.plan, null)).toBe(
      'Nothing to do: the host is in the desired state.',
    );
  });

  test('unknown statuses are reported', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'odd', status: 'paused', created_at: bySqlite(day) });
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({});
    expect(messagesOf(cleanUp)).toContain('skipped rows with an unknown status: paused');
  });

  test('an unknown status that may be that of work comes with what to write', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: 'odd', status: 'RUNNING', created_at: bySqlite(day) });
    expect(messagesOf(await planFor(database))).toContain(
      'unknown status: RUNNING; to include them, say what each means in `stores`: `words: { "RUNNING": processing }`',
    );
  });

  test('rows with a duplicate id or none are never changed', async () => {
    using database = new AppDatabase('CREATE TABLE jobs (id TEXT, status TEXT, created_at TEXT);');
    for (const id of ['twin', 'twin', null, 'single']) {
      database.add('jobs', { id, status: 'processing', created_at: bySqlite(day) });
    }
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({ single: 'processing → failed' });
    expect(messagesOf(cleanUp)).toContain('jobs twin: another row of the table has the same id');
    expect(messagesOf(cleanUp)).toContain('1 row whose id is neither text nor a number');
  });
});

describe('fail', () => {
  test('marks the stuck tree and its mirror, with the duration and the run', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    const cleanUp = await planFor(database);
    // Something was completed, and the app has no word for a part of it.
    expect(changesOf(cleanUp)).toEqual({
      'job-dead': 'processing → completed',
      'batch-dead': 'processing → completed',
      'link-dead-1': 'processing → failed',
      'link-dead-2': 'processing → failed',
      'link-dead-3': 'pending → failed',
    });
    expect(changeOf(cleanUp, 'link-dead-1')).toEqual({
      kind: 'update',
      set: {
        status: 'failed',
        completed_at: '2026-01-18T15:00:00.000000',
        error_message:
          'stuck in processing for 8 d 3 h; marked failed by celeriac, https://ci.example/runs/7',
      },
    });
    applyPlan(database, cleanUp);
    expect(database.row('jobs', 'job-dead')).toMatchObject({ completed_links: 1, failed_links: 3 });
    expect(database.row('batch_links', 'link-dead-0')).toMatchObject({ status: 'completed' });
    expect(database.row('batch_links', 'link-dead-3')?.error_message).toMatch(/^never started/);
    expect(database.row('batch_links', 'link-dead-1')?.celery_task_id).toBe('task-dead-1');
  });

  test('keeps the error message of the app', async () => {
    using database = new AppDatabase();
    const times = { created_at: bySqlite(day) };
    database.add('jobs', {
      id: 'said',
      status: 'processing',
      error_message: 'retry 2: 429',
      ...times,
    });
    const change = changeOf(await planFor(database, { runUrl: null }), 'said');
    expect(change?.kind === 'update' && change.set.error_message).toBe(
      'stuck in processing for 1 d; marked failed by celeriac; previous error: retry 2: 429',
    );
  });

  test('writes completed_at in the format of its column', async () => {
    using database = new AppDatabase();
    const times = { created_at: bySqlite(day), started_at: byPython(day) };
    database.add('jobs', {
      id: 'done',
      status: 'completed',
      ...times,
      completed_at: bySqlite(hour),
    });
    database.add('jobs', { id: 'stuck', status: 'processing', ...times });
    const change = changeOf(await planFor(database), 'stuck');
    expect(change?.kind === 'update' && change.set.completed_at).toBe('2026-01-18 15:00:00');
  });

  test('ends a parent that would otherwise wait forever for its last child, at its turn', async () => {
    using database = new AppDatabase();
    const lastMoved = (ago: number): void => {
      const links = [['completed', ago] as const, ['processing', 2 * hour] as const];
      database.sql.exec('DELETE FROM batch_links; DELETE FROM batches; DELETE FROM jobs');
      database.addBatch('last', { ago: 3 * hour, links });
    };
    lastMoved(5 * minute);
    expect(changesOf(await planFor(database))).toEqual({
      'job-last': 'processing → processing',
      'link-last-1': 'processing → failed',
    });
    lastMoved(40 * minute);
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({
      'job-last': 'processing → completed',
      'batch-last': 'processing → completed',
      'link-last-1': 'processing → failed',
    });
    expect(changeOf(cleanUp, 'batch-last')).toMatchObject({
      set: { error_message: expect.stringContaining('1 of 2 batch_links failed; finalised by') },
    });
    expect(changeOf(cleanUp, 'job-last')).not.toHaveProperty('set.error_message');
  });

  test('does not end a parent that still expects children', async () => {
    using database = new AppDatabase();
    database.addBatch('more', {
      ago: 3 * hour,
      links: [
        ['completed', 5 * minute],
        ['processing', 2 * hour],
      ],
    });
    database.sql.exec("UPDATE batches SET total_links = 5 WHERE id = 'batch-more'");
    expect(changesOf(await planFor(database))).toEqual({
      'job-more': 'processing → processing',
      'link-more-1': 'processing → failed',
    });
  });

  test('a job whose batch has ended gets the status of the batch', async () => {
    using database = new AppDatabase();
    database.addBatch('lag', { ago: 3 * hour, links: [['completed', 2 * hour]] });
    database.sql
      .prepare("UPDATE batches SET status = 'completed', completed_at = ? WHERE id = 'batch-lag'")
      .run(byPython(2 * hour));
    for (const action of ['fail', 'reset', 'delete'] as const) {
      const cleanUp = await planFor(database, { action });
      expect(changesOf(cleanUp)).toEqual({ 'job-lag': 'processing → completed' });
      expect(changeOf(cleanUp, 'job-lag')).toEqual({
        kind: 'update',
        set: { status: 'completed', completed_at: byPython(2 * hour) },
      });
    }
  });

  test('a batch whose job was cancelled is cancelled, and its links with it', async () => {
    using database = new AppDatabase();
    database.addBatch('off', {
      ago: 3 * hour,
      job: { status: 'cancelled' },
      links: [
        ['processing', 2 * hour],
        ['pending', 0],
      ],
    });
    for (const action of ['fail', 'reset'] as const) {
      expect(changesOf(await planFor(database, { action }))).toEqual({
        'batch-off': 'processing → cancelled',
        'link-off-0': 'processing → cancelled',
        'link-off-1': 'pending → cancelled',
      });
    }
  });

  test('a job with several batches ends when all of them have ended alike', async () => {
    using database = new AppDatabase();
    const { job } = database.addBatch('twice', { ago: 3 * hour, links: [] });
    const times = { job_id: job, created_at: bySqlite(3 * hour) };
    for (const [id, ago] of [
      ['b-1', 2 * hour],
      ['b-2', hour],
    ] as const) {
      database.add('batches', { id, status: 'completed', ...times, completed_at: byPython(ago) });
    }
    database.sql.exec("DELETE FROM batches WHERE id = 'batch-twice'");
    expect(changeOf(await planFor(database), job)).toEqual({
      kind: 'update',
      set: { status: 'completed', completed_at: byPython(hour) },
    });
    database.sql.exec("UPDATE batches SET status = 'failed' WHERE id = 'b-1'");
    expect(changesOf(await planFor(database))).toEqual({ [job]: 'processing → completed' });
  });

  test('a stuck batch beside a live one is repaired alone', async () => {
    using database = new AppDatabase();
    const { job } = database.addBatch('pair', { ago: 3 * hour, links: [['processing', 2 * hour]] });
    const other = { id: 'batch-new', status: 'processing', job_id: job };
    database.add('batches', { ...other, created_at: bySqlite(minute) });
    for (const action of ['fail', 'reset', 'delete'] as const) {
      const found = changesOf(await planFor(database, { action }));
      expect(found['batch-new']).toBeUndefined();
      expect(found['batch-pair']).toBe(`processing → ${ended[action]}`);
      expect(found['job-pair'] ?? 'processing → processing').toBe('processing → processing');
    }
  });

  test('a pending job beside its stuck batch fails with it', async () => {
    using database = new AppDatabase();
    database.addBatch('half', { ago: 3 * hour, job: { status: 'pending' }, links: [] });
    expect(changesOf(await planFor(database))).toEqual({
      'job-half': 'pending → failed',
      'batch-half': 'processing → failed',
    });
  });
});

describe('reset', () => {
  test('clears the columns of the run, recounts, and reports that nothing starts automatically', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    database.sql.exec("UPDATE jobs SET failed_links = 2, error_message = 'x'");
    const cleanUp = await planFor(database, { action: 'reset' });
    expect(changesOf(cleanUp)).toEqual({
      'job-dead': 'processing → pending',
      'batch-dead': 'processing → pending',
      'link-dead-1': 'processing → pending',
      'link-dead-2': 'processing → pending',
    });
    expect(messagesOf(cleanUp)).toContain('4 reset rows will stay pending');
    applyPlan(database, cleanUp);
    expect(database.row('jobs', 'job-dead')).toMatchObject({
      status: 'pending',
      started_at: null,
      completed_at: null,
      error_message: null,
      celery_task_id: null,
      completed_links: 1,
      failed_links: 0,
    });
  });

  test('a link whose batch has ended would wait forever, so it fails instead', async () => {
    using database = new AppDatabase();
    database.addBatch('over', {
      ago: 3 * hour,
      status: 'completed',
      links: [
        ['processing', 2 * hour],
        ['completed', 2 * hour],
      ],
    });
    const found = changesOf(await planFor(database, { action: 'reset' }));
    expect(found['link-over-0']).toBe('processing → failed');
    expect(found['batch-over']).toBeUndefined();
  });
});

describe('delete', () => {
  test('removes the whole tree, children first, and nothing else', async () => {
    using database = new AppDatabase();
    const { links } = deadBatch(database, 'processing');
    for (const link of links) database.addVariation(link, 'processing', 8 * day + 3 * hour);
    database.addBatch('alive', { ago: hour, links: [['processing', minute]] });
    const before = Object.keys(database.statuses());
    const cleanUp = await planFor(database, { action: 'delete' });
    const order = repairOf(cleanUp).rows.map((row) => row.table);
    expect(order).toEqual([...order].toSorted((a, b) => orderOf.indexOf(a) - orderOf.indexOf(b)));
    applyPlan(database, cleanUp);
    const after = Object.keys(database.statuses());
    expect(before.filter((id) => !after.includes(id)).every((id) => id.includes('dead'))).toBe(
      true,
    );
    expect(after.toSorted()).toEqual(['batch-alive', 'job-alive', 'link-alive-0']);
    expect(database.sql.pragma('foreign_key_check')).toEqual([]);
  });

  test('a stuck link of a live batch: its variations are removed, totals are adjusted', async () => {
    using database = new AppDatabase();
    const { links } = database.addBatch('mixed', {
      ago: 3 * hour,
      links: [
        ['processing', 2 * hour],
        ['processing', minute],
      ],
    });
    database.addVariation(links[0] ?? '', 'pending', 2 * hour);
    const cleanUp = await planFor(database, { action: 'delete' });
    expect(
      Object.values(changesOf(cleanUp)).filter((change) => /deleted/.test(change)),
    ).toHaveLength(2);
    expect(changeOf(cleanUp, 'batch-mixed')).toEqual({ kind: 'update', set: { total_links: 1 } });
    expect(changeOf(cleanUp, 'job-mixed')).toEqual({ kind: 'update', set: { total_links: 1 } });
  });

  test.each(['ON DELETE CASCADE', 'ON DELETE SET NULL', ''])(
    'a job that rows of another table name by a foreign key (%s) is skipped, with all below it',
    async (onDelete) => {
      using database = new AppDatabase();
      const { links } = deadBatch(database);
      database.sql.exec(`CREATE TABLE notes (id TEXT, link TEXT REFERENCES batch_links (id) ${onDelete});
        INSERT INTO notes VALUES ('n', '${links[1]}')`);
      database.add('video_jobs', { id: 'v', status: 'processing', created_at: bySqlite(day) });
      const cleanUp = await planFor(database, { action: 'delete' });
      expect(changesOf(cleanUp)).toEqual({ v: 'processing → deleted' });
      expect(messagesOf(cleanUp)).toContain(
        'skipped: jobs job-dead: batch_links link-dead-1 is referenced by 1 row of notes (link), which are not jobs',
      );
      expect(changesOf(await planFor(database))).toMatchObject({
        'link-dead-1': 'processing → failed',
      });
    },
  );

  test('without a foreign key such rows stay and are reported; the host checks for new ones', async () => {
    using database = new AppDatabase();
    deadBatch(database, 'processing');
    database.sql.exec(`CREATE TABLE notes (id TEXT, job_id TEXT);
      CREATE TABLE views (job TEXT REFERENCES jobs (id));
      INSERT INTO notes VALUES ('n', 'job-dead')`);
    const cleanUp = await planFor(database, { action: 'delete' });
    expect(changesOf(cleanUp)).toMatchObject({ 'job-dead': 'processing → deleted' });
    expect(messagesOf(cleanUp)).toContain(
      'rows that reference deleted rows stay unchanged: 1 row of notes (job_id)',
    );
    expect(repairOf(cleanUp).rows.find(({ id }) => id === 'job-dead')?.below).toEqual([
      { table: 'batches', column: 'job_id', rows: 1 },
      { table: 'views', column: 'job', rows: 0 },
    ]);
  });

  test('a reset that would remove referenced rows is skipped, too', async () => {
    using database = new AppDatabase(`
      CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, task_id TEXT UNIQUE);
      CREATE TABLE outcomes (id TEXT, task TEXT REFERENCES jobs (task_id));`);
    for (const id of ['one', 'two']) {
      const created_at = bySqlite(day);
      database.add('jobs', { id, status: 'processing', task_id: `task-${id}`, created_at });
    }
    database.add('outcomes', { id: 'o', task: 'task-one' });
    const cleanUp = await planFor(database, { action: 'reset' });
    expect(changesOf(cleanUp)).toEqual({ two: 'processing → pending' });
    expect(messagesOf(cleanUp)).toContain('skipped: jobs one is referenced by 1 row of outcomes');
    expect(changesOf(await planFor(database))).toMatchObject({ one: 'processing → failed' });
  });
});

const orderOf = ['batch_variations', 'batch_links', 'batches', 'jobs'];

describe('orphans', () => {
  const withOrphans = (): AppDatabase => {
    const database = new AppDatabase();
    const old = { created_at: bySqlite(day) };
    database.add('batch_links', { id: 'link-open', batch_id: 'gone', status: 'pending', ...old });
    database.add('batch_links', { id: 'link-done', batch_id: 'gone', status: 'completed', ...old });
    database.add('batch_links', {
      id: 'link-new',
      batch_id: 'gone',
      status: 'pending',
      created_at: bySqlite(60),
    });
    database.add('batch_variations', {
      id: 'var',
      batch_link_id: 'gone',
      status: 'processing',
      ...old,
    });
    database.add('batches', { id: 'batch', job_id: 'gone', status: 'processing', ...old });
    database.add('batches', { id: 'batch-done', job_id: 'gone', status: 'completed', ...old });
    database.add('batches', { id: 'alone', job_id: null, status: 'completed', ...old });
    return database;
  };

  test.each(['fail', 'reset'] as const)('%s marks unfinished ones as failed', async (action) => {
    using database = withOrphans();
    const cleanUp = await planFor(database, { action });
    expect(changesOf(cleanUp)).toEqual({
      batch: 'processing → failed',
      'link-open': 'pending → failed',
      var: 'processing → failed',
    });
    expect(messagesOf(cleanUp)).toContain(
      'skipped 1 orphan that ended; action delete removes those without completed work',
    );
    expect(tableOf(cleanUp)).toContain("orphan: batches has no row 'gone'");
  });

  test('delete removes them, and keeps what completed', async () => {
    using database = withOrphans();
    const times = { created_at: bySqlite(day) };
    database.add('batch_links', { id: 'link-bad', batch_id: 'gone', status: 'failed', ...times });
    const cleanUp = await planFor(database, { action: 'delete' });
    expect(Object.keys(changesOf(cleanUp)).toSorted()).toEqual(
      ['batch', 'link-bad', 'link-open', 'var'].toSorted(),
    );
    expect(messagesOf(cleanUp)).toContain('batch_links: skipped 1 orphan that ended');
  });

  test('without `orphans`, only stuck rows are repaired', async () => {
    using database = withOrphans();
    const found = changesOf(await planFor(database, { action: 'delete', orphans: false }));
    expect(Object.keys(found).toSorted()).toEqual(['batch', 'var']);
  });
});

describe('ids', () => {
  const uuid = '77cfa3cd-1111-4222-8333-444444444444';
  const twin = '77cfa3cd-9999-4222-8333-444444444444';
  const fresh = { status: 'processing', created_at: bySqlite(0) };

  test.each(['fail', 'reset', 'delete'] as const)(
    '%s by prefix, whatever the age',
    async (action) => {
      using database = new AppDatabase();
      database.add('jobs', { id: uuid, ...fresh });
      database.add('jobs', { id: 'another-job', ...fresh, created_at: bySqlite(day) });
      const found = changesOf(await planFor(database, { action, ids: ['77cfa3cd'] }));
      expect(found).toEqual({ [uuid]: `processing → ${ended[action]}` });
    },
  );

  test('selects the tree and its mirror', async () => {
    using database = new AppDatabase();
    database.addBatch('mine', {
      ago: minute,
      links: [
        ['processing', 1],
        ['completed', 1],
      ],
    });
    const failed = changesOf(await planFor(database, { ids: ['batch-mine'] }));
    expect(Object.keys(failed).toSorted()).toEqual(['batch-mine', 'job-mine', 'link-mine-0']);
    const named = { ids: ['batch-mine'], action: 'delete' } as const;
    expect(changesOf(await planFor(database, named))).toEqual({
      'link-mine-0': 'processing → deleted',
      'batch-mine': 'processing → completed',
      'job-mine': 'processing → completed',
    });
    const deleted = await planFor(database, { ...named, deleteCompleted: true });
    expect(Object.values(changesOf(deleted)).every((change) => /deleted/.test(change))).toBe(true);
    expect(Object.keys(changesOf(deleted))).toHaveLength(4);
  });

  test('an ended row can only be deleted, and the report says so', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: uuid, status: 'completed', created_at: bySqlite(day) });
    const cleanUp = await planFor(database, { ids: [uuid] });
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toContain('skipped jobs 77cfa3cd: it is completed');
    const named = { ids: [uuid], action: 'delete' } as const;
    const kept = await planFor(database, named);
    expect(changesOf(kept)).toEqual({});
    expect(messagesOf(kept)).toContain('only action delete with `delete-completed` changes');
    const deleted = await planFor(database, { ...named, deleteCompleted: true });
    expect(changesOf(deleted)).toEqual({ [uuid]: 'completed → deleted' });
  });

  test('an ambiguous prefix lists the matching ids', async () => {
    using database = new AppDatabase();
    database.add('jobs', { id: uuid, ...fresh });
    database.add('video_jobs', { id: twin, ...fresh });
    const error = await configRefusal(planFor(database, { ids: ['77cfa3cd'] }));
    expect(error.where).toBe('input ids');
    expect(error.message).toContain(`jobs:${uuid}`);
    expect(error.message).toContain(`video_jobs:${twin}`);
    const told = await planFor(database, { ids: ['video_jobs:77cfa3cd'] });
    expect(Object.keys(changesOf(told))).toEqual([twin]);
  });

  test.each([
    'ffffffff',
    '77cfa3c', // too short
    "77cfa3cd' OR '1'='1",
    '%',
    '77cfa3cd%',
    '"; DROP TABLE jobs; --',
    'jobs:ffffffff',
    '',
  ])('%j matches nothing and is refused', async (id) => {
    using database = new AppDatabase();
    database.add('jobs', { id: uuid, ...fresh });
    const error = await configRefusal(planFor(database, { ids: [id] }));
    expect(error.where).toBe('input ids');
    expect(error.expected).toContain('its first 8 characters');
  });

  test('integer ids are never prefixes', async () => {
    using database = new AppDatabase(
      'CREATE TABLE tasks (id INTEGER PRIMARY KEY, status TEXT, created_at REAL);',
    );
    database.add('tasks', { id: 12, status: 'processing', created_at: now - 60 });
    const cleanUp = await planFor(database, { ids: ['12'], action: 'delete' });
    expect(repairOf(cleanUp).rows).toMatchObject([{ id: 12, change: { kind: 'delete' } }]);
  });
});

describe('twice', () => {
  test.each(['fail', 'reset', 'delete'] as const)(
    'after %s there is nothing to do',
    async (action) => {
      using database = new AppDatabase();
      const { links } = deadBatch(database);
      for (const link of links) database.addVariation(link, 'processing', 8 * day + 3 * hour);
      database.addBatch('last', {
        ago: 3 * hour,
        links: [
          ['completed', 5 * minute],
          ['processing', 2 * hour],
        ],
      });
      database.add('batch_links', {
        id: 'orphan',
        batch_id: 'gone',
        status: 'processing',
        created_at: bySqlite(day),
      });
      database.add('video_jobs', { id: 'video', status: 'processing', created_at: bySqlite(day) });
      const first = await planFor(database, { action });
      expect(first.plan.operations.map((operation) => operation.op)).toEqual([
        'backup-database',
        'repair-jobs',
      ]);
      applyPlan(database, first);
      const second = await planFor(database, { action });
      expect(changesOf(second)).toEqual({});
      expect(second.plan.operations).toEqual([]);
    },
  );
});

describe('the operations for the host', () => {
  test('every row comes with its values, grouped by tree', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    const { rows } = repairOf(await planFor(database));
    expect(new Set(rows.map((row) => row.group))).toEqual(new Set(['jobs:job-dead']));
    expect(rows.find((row) => row.id === 'link-dead-0')?.change).toEqual({ kind: 'keep' });
    const batch = rows.find((row) => row.id === 'batch-dead');
    expect(batch?.below).toEqual([{ table: 'batch_links', column: 'batch_id', rows: 4 }]);
    expect(batch?.seen).toEqual({
      status: 'processing',
      job_id: 'job-dead',
      created_at: bySqlite(8 * day + 4 * hour),
      started_at: byPython(8 * day + 4 * hour),
      completed_at: null,
      total_links: 4,
    });
  });

  test('a dry run and a real run have the same plan', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    const wet = await planFor(database, { dryRun: false });
    const dry = await planFor(database, { dryRun: true });
    expect(dry.plan).toEqual(wet.plan);
  });

  test('hostile names are quoted', async () => {
    const name = 'jo"bs]; DROP TABLE x; -- `|';
    const quoted = `"${name.replaceAll('"', '""')}"`;
    using database = new AppDatabase(
      `CREATE TABLE ${quoted} (id TEXT PRIMARY KEY, status TEXT, created_at TEXT, task_id TEXT);`,
    );
    database.sql
      .prepare(`INSERT INTO ${quoted} VALUES (?, 'processing', ?, NULL)`)
      .run("x' OR 1=1 --|\n<b>", bySqlite(day));
    const cleanUp = await planFor(database);
    expect(repairOf(cleanUp).rows).toMatchObject([{ table: name, id: "x' OR 1=1 --|\n<b>" }]);
    expect(tableOf(cleanUp).split('\n')).toHaveLength(2);
  });

  test('rows beyond the limit of a message wait for the next run', async () => {
    using database = new AppDatabase();
    database.sql.exec('BEGIN');
    for (let index = 0; index < 4000; index += 1) {
      const id = `job-${String(index).padStart(8, '0')}`;
      database.add('jobs', { id, status: 'processing', created_at: bySqlite(day) });
    }
    database.sql.exec('COMMIT');
    const cleanUp = await planFor(database, { action: 'delete' });
    const taken = repairOf(cleanUp).rows.length;
    expect(JSON.stringify(cleanUp.plan.operations).length).toBeLessThan(1024 * 1024);
    expect(messagesOf(cleanUp)).toContain(`${4000 - taken} more rows need repair`);
    expect(cleanUp.repairs[0]?.rows).toHaveLength(taken);
  });
});

test('what the host skipped is reported', () => {
  const skipped = Array.from({ length: 7 }, (_, index) => ({
    table: 'jobs',
    id: `job-${index}`,
    why: 'is gone',
  }));
  const step = {
    index: 1,
    op: 'repair-jobs',
    status: 'done',
    message: '',
    seconds: seconds(0),
  } as const;
  const outcome = {
    transaction: 't',
    result: 'committed',
    steps: [{ ...step, result: { changed: 3, skipped } }],
  } as const;
  const looks = { timeZone: 'UTC', pauseSeconds: seconds(60) };
  expect(reportSkipped(outcome, looks)).toEqual([
    {
      level: 'warning',
      message: expect.stringMatching(/^skipped 7 rows: jobs job-0 is gone; .*; and 2 more$/),
    },
  ]);
  expect(countRepaired(outcome)).toBe(3);
  expect(countRepaired({ ...outcome, result: 'undone' })).toBe(0);
  const nothing = { ...outcome, steps: [{ ...step, result: { skipped: [] } }] };
  expect(reportSkipped(nothing, looks)).toEqual([]);
});

describe('databases', () => {
  const other = '/srv/app/other.db';

  test('all databases with jobs are cleaned, one after another', async () => {
    using first = new AppDatabase();
    using second = new AppDatabase();
    deadBatch(first);
    second.add('video_jobs', { id: 'video', status: 'processing', created_at: bySqlite(day) });
    using notes = new AppDatabase('CREATE TABLE notes (id TEXT);');
    const facts = [
      first.fact(),
      { ...notes.fact(), path: '/srv/app/notes.db' } as StoreFact,
      { ...second.fact(), path: other } as StoreFact,
    ];
    const agent = agentOf(facts, { [path]: first.content(), [other]: second.content() });
    const tools = { agent, openStore: openStoreHere, newTaskId };
    const cleanUp = await planCleanUp(tools, desire({ database: null }));
    expect(agent.asked).toEqual([
      'look {"stores":{"unit":"celery-worker.service","databases":null,"user":null,"statusColumns":["status"]},"unit":{"name":"celery-worker.service"}}',
      `snapshot ${path}`,
      `snapshot ${other}`,
      expect.stringContaining(`look {"rehearsal":{"database":"${path}"`),
      expect.stringContaining(`look {"rehearsal":{"database":"${other}"`),
    ]);
    const told = cleanUp.plan.operations.map((operation) =>
      'database' in operation ? [operation.op, operation.database] : [],
    );
    expect(told).toEqual([
      ['backup-database', path],
      ['repair-jobs', path],
      ['backup-database', other],
      ['repair-jobs', other],
    ]);
  });

  test.each<[string, StoreFact[], string]>([
    ['none', [], 'no SQLite file found below the WorkingDirectory of celery-worker.service'],
    [
      'only foreign ones',
      [{ kind: 'unreadable', path: other, problem: 'file is not a database' }],
      'only /srv/app/other.db (file is not a database)',
    ],
  ])('%s found: the error says to set database', async (_, facts, expected) => {
    const tools = { agent: agentOf(facts, {}), openStore: openStoreHere, newTaskId };
    const error = await configRefusal(planCleanUp(tools, desire({ database: null })));
    expect(error.message).toContain(expected);
    expect(error.expected).toContain('`database`: ');
    expect(error.expected).toContain('or `database: none` if the app has no tables of jobs');
  });

  test.each(['age', 'broker'] as const)(
    'a unit that does not exist is not taken for an app without a database (evidence: %s)',
    async (evidence) => {
      const unit = unitFact({ name: 'nope.service', loadState: 'not-found' });
      const agent = agentOf([], {}, { unit });
      const tools = { agent, openStore: openSqliteStore, newTaskId };
      const wishes = { database: null, unit: 'nope.service', evidence };
      const error = await configRefusal(planCleanUp(tools, desire(wishes)));
      expect(error.where).toBe('input unit');
      expect(error.message).toBe('nope.service: no such unit on the host');
    },
  );

  test.each<[string, StoreFact, string]>([
    ['missing', { kind: 'absent', path }, 'no such file'],
    ['foreign', { kind: 'unreadable', path, problem: 'file is not a database' }, 'not a database'],
  ])('a %s database is refused', async (_, fact, expected) => {
    const agent = agentOf([fact], {});
    const error = await configRefusal(
      planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desire()),
    );
    expect(error.where).toBe('input database');
    expect(error.message).toContain(expected);
    expect(agent.asked).toHaveLength(1);
  });

  test('a database whose tables have no status is refused before it is copied', async () => {
    using database = new AppDatabase('CREATE TABLE notes (id TEXT); CREATE TABLE tags (x);');
    const agent = agentOf([database.fact()], {});
    const error = await configRefusal(
      planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desire()),
    );
    expect(error.message).toContain('its tables: notes, tags');
    expect(error.expected).toContain('or `database: none` if the app has no tables of jobs');
    expect(agent.asked).toHaveLength(1);
  });

  test('a damaged copy is refused', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    for (let index = 0; index < 200; index += 1) {
      database.add('jobs', {
        id: `job-${index}`,
        status: 'completed',
        folder_name: 'x'.repeat(200),
      });
    }
    const content = database.content();
    // Where the pages of the jobs are.
    content.fill(0xa5, content.length - 3 * 4096);
    const agent = agentOf([database.fact()], { [path]: content });
    const error = await configRefusal(
      planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desire()),
    );
    expect(error.where).toBe('input database');
    expect(error.message).toMatch(/damaged|malformed/);
  });

  test('anything but a database is refused', async () => {
    using database = new AppDatabase();
    const content = new TextEncoder().encode('certainly no database '.repeat(200));
    const agent = agentOf([database.fact()], { [path]: content });
    const error = await configRefusal(
      planCleanUp({ agent, openStore: openStoreHere, newTaskId }, desire()),
    );
    expect(error.message).toContain('cannot be read as a SQLite database');
  });

  test('no copy is left behind, on success or failure', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    const left = (): string[] => readdirSync(database.folder).filter((name) => name !== 'app.db');
    const seen: string[][] = [];
    const openStore: OpenStore = async (name, content) => {
      const store = await openSqliteStore(name, content, database.folder);
      seen.push(left());
      return store;
    };
    const agent = agentOf([database.fact()], { [path]: database.content() });
    await planCleanUp({ agent, openStore, newTaskId }, desire());
    await configRefusal(
      planCleanUp({ agent, openStore, newTaskId }, desire({ ids: ['ffffffff'] })),
    );
    expect(seen.map((names) => names.length)).toEqual([1, 1]);
    expect(left()).toEqual([]);
  });

  test('a status in which jobs cannot be stuck is refused', async () => {
    using database = new AppDatabase();
    const error = await configRefusal(planFor(database, { statuses: ['completed'] }));
    expect(error.where).toBe('input statuses');
  });

  test('a search without repair finds the same rows', async () => {
    using database = new AppDatabase();
    deadBatch(database);
    const agent = agentOf([database.fact()], { [path]: database.content() });
    const [found] = await lookForStuckRows({ agent, openStore: openStoreHere }, desire());
    expect(found?.stuck.map(({ row }) => row.id).toSorted()).toEqual([
      'batch-dead',
      'job-dead',
      'link-dead-1',
      'link-dead-2',
    ]);
    const wishes = desire({ thresholdSeconds: seconds(30 * day) });
    const [none] = await lookForStuckRows({ agent, openStore: openStoreHere }, wishes);
    expect(none?.stuck).toEqual([]);
  });
});

describe('jobs with jobs below them', () => {
  const nested = (tie: string): AppDatabase =>
    new AppDatabase(`CREATE TABLE jobs (
      id TEXT PRIMARY KEY, status TEXT NOT NULL, celery_task_id TEXT, error_message TEXT,
      created_at TIMESTAMP, completed_at TIMESTAMP, ${tie});`);
  const byKey = 'parent TEXT REFERENCES jobs (id)';
  const byName = 'parent_id TEXT';
  const add = (
    database: AppDatabase,
    id: string,
    status: string,
    ago: number,
    above: string | null = null,
  ): void => {
    const tie = database.tables()[0]?.columns.find(({ name }) => name.startsWith('parent'));
    database.add('jobs', {
      id,
      status,
      created_at: bySqlite(ago),
      celery_task_id: `task-${id}`,
      [tie?.name ?? '']: above,
    });
  };

  test.each([byKey, byName])(
    '%s: the parent is as recent as the lowest descendant',
    async (tie) => {
      using database = nested(tie);
      // Below comes first in the table.
      add(database, 'leaf', 'processing', minute, 'middle');
      add(database, 'middle', 'processing', day, 'top');
      add(database, 'top', 'processing', 2 * day);
      add(database, 'other', 'processing', day, 'top');
      expect(changesOf(await planFor(database))).toEqual({ other: 'processing → failed' });
    },
  );

  test('the task of a child keeps its parent alive', async () => {
    using database = nested(byKey);
    add(database, 'leaf', 'processing', day, 'top');
    add(database, 'top', 'processing', day);
    const tasks = (): TasksFact => ({ ...nothingLeft(), held: ['task-leaf'] }) as TasksFact;
    const cleanUp = await planFor(database, { evidence: 'broker' }, { tasks });
    expect(changesOf(cleanUp)).toEqual({});
    expect(messagesOf(cleanUp)).toContain('a worker holds task task-leaf');
  });

  test('a parent ends when all children have ended; it is completed if one of them is', async () => {
    using database = nested(byKey);
    add(database, 'one', 'completed', day, 'top');
    add(database, 'two', 'failed', day, 'top');
    add(database, 'top', 'processing', day);
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({ top: 'processing → completed' });
    expect(changeOf(cleanUp, 'top')).toMatchObject({
      set: { error_message: expect.stringContaining('1 of 2 jobs failed') },
    });
  });

  test('a reference that is only inferred from a name makes no mirror', async () => {
    using database = nested(byName);
    add(database, 'only', 'processing', day, 'top');
    add(database, 'top', 'completed', 2 * day);
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({ only: 'processing → failed' });
    expect(messagesOf(await planFor(database, { dryRun: true }))).not.toContain('mirror');
  });

  test.each([byKey, byName])('%s: delete removes all of it, children first', async (tie) => {
    using database = nested(tie);
    add(database, 'leaf', 'completed', day, 'middle');
    add(database, 'top', 'processing', day, 'top');
    add(database, 'middle', 'processing', day, 'top');
    add(database, 'other', 'completed', day);
    const cleanUp = await planFor(database, {
      action: 'delete',
      ids: ['jobs:top'],
      deleteCompleted: true,
    });
    expect(repairOf(cleanUp).rows.map(({ id }) => id)).toEqual(['leaf', 'middle', 'top']);
    // The top names itself, as the host will count.
    expect(repairOf(cleanUp).rows.map(({ below }) => below?.[0]?.rows)).toEqual([0, 1, 2]);
    applyPlan(database, cleanUp);
    expect(database.statuses()).toEqual({ other: 'completed' });
  });

  test('a missing parent makes an orphan by a foreign key, but not by a name', async () => {
    for (const tie of [byKey, byName]) {
      using database = nested(tie);
      add(database, 'lost', 'failed', day, 'gone');
      const cleanUp = await planFor(database, { action: 'delete' });
      expect(changesOf(cleanUp)).toEqual(tie === byKey ? { lost: 'failed → deleted' } : {});
    }
  });

  test('a cycle or an endless chain is skipped', async () => {
    using database = nested(byName);
    add(database, 'a', 'processing', day, 'b');
    add(database, 'b', 'processing', day, 'a');
    add(database, 'below', 'processing', day, 'a');
    for (let at = 0; at < 120; at += 1) {
      add(database, `chain-${at}`, 'processing', day, at === 0 ? null : `chain-${at - 1}`);
    }
    add(database, 'apart', 'processing', day);
    const cleanUp = await planFor(database);
    expect(changesOf(cleanUp)).toEqual({ apart: 'processing → failed' });
    expect(messagesOf(cleanUp)).toContain(
      'skipped: jobs chain-0: rows of jobs are nested more than 100 levels deep, or form a cycle;',
    );
  });

  test('is shown in the mapping', () => {
    using database = nested(byName);
    expect(describeMapping(proposeMapping(path, database.tables()))).toEqual([
      expect.stringContaining(
        'status: status; no parent; child of the same table by parent_id (no foreign key);',
      ),
    ]);
  });

  test('a row between two trees: both are skipped', async () => {
    using database = new AppDatabase();
    database.sql.exec('ALTER TABLE batch_links ADD COLUMN parent_id TEXT');
    for (const name of ['one', 'two', 'three']) {
      database.addBatch(name, { ago: day, links: [['processing', day]] });
    }
    database.add('batch_links', {
      id: 'between',
      batch_id: 'batch-two',
      parent_id: 'link-one-0',
      status: 'processing',
      created_at: bySqlite(minute),
    });
    const cleanUp = await planFor(database);
    const changed = Object.keys(changesOf(cleanUp));
    for (const id of ['batch-one', 'batch-two', 'link-one-0', 'between']) {
      expect(changed).not.toContain(id);
    }
    expect(changed).toContain('batch-three');
    expect(messagesOf(cleanUp)).toContain(
      'belongs to batches batch-two and, by parent_id, to batches',
    );
  });

  test('is set or unset by `stores`', () => {
    using database = nested('of_job TEXT, parent_id TEXT');
    const told = (parent: { table: string; column: string } | null) =>
      proposeMapping(path, database.tables(), { jobs: { parent } })[0];
    expect(told({ table: 'jobs', column: 'of_job' })).toMatchObject({
      parent: null,
      own: { column: 'of_job', foreignKey: false },
    });
    expect(told(null)).toMatchObject({ parent: null, own: null });
  });
});

test('what the triggers of the database would change besides is told', async () => {
  using database = new AppDatabase();
  deadBatch(database);
  database.sql.exec('CREATE TABLE audit (note TEXT)');
  const quiet = await planFor(database, {});
  expect(messagesOf(quiet)).not.toContain('trigger');
  database.sql.exec(
    "CREATE TRIGGER note_failure AFTER UPDATE ON batch_links BEGIN UPDATE audit SET note = 'x'; END",
  );
  database.sql.exec("INSERT INTO audit VALUES ('kept')");
  const told = await planFor(database, {});
  expect(messagesOf(told)).toMatch(
    /^the trigger note_failure of the database would make \d+ more changes, which `restore` does not undo$/m,
  );
});
