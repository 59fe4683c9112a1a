import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openDatabase } from '../../../src/adapters/sqlite-native.ts';
import type { CleanUpDesired } from '../../../src/config/cleanup-desired.ts';
import { planExtract } from '../../../src/jobs/judge/suspects.ts';
import type { CleanUp } from '../../../src/jobs/repair/clean-up-plan.ts';
import { proposeMapping } from '../../../src/jobs/tables/mapping.ts';
import { ConfigError, HostError } from '../../../src/model/errors.ts';
import type { Extract } from '../../../src/model/job-store.ts';
import { bytes } from '../../../src/model/units.ts';
import type { Agent } from '../../../src/ports/agent.ts';
import { describeIdle } from '../../../src/report/plan-view.ts';
import { planCleanUp } from '../../../src/use-case/clean-up.ts';
import { openStoreHere } from '../../lib/store-here.ts';
import {
  AppDatabase,
  agentOf,
  bySqlite,
  day,
  desire,
  messagesOf,
  minute,
  newTaskId,
  now,
  path,
} from '../jobs/app-database.ts';
import { drive, type Said } from '../jobs/drive-host.ts';
import { addBusiness, businesses, forests, grow, store } from '../jobs/random-forest.ts';

/** Too much to be copied whole, in a table that holds no jobs. */
function fatten(database: AppDatabase): void {
  database.sql.exec('CREATE TABLE photos (name TEXT, content BLOB)');
  database.sql.prepare('INSERT INTO photos VALUES (?, zeroblob(2000000))').run('one');
}

/** Also below rows of the same table: links below their batch's first, jobs below each other. */
function nest(database: AppDatabase, references: '' | 'REFERENCES'): void {
  const tie = (table: string): string => (references === '' ? '' : `${references} ${table} (id)`);
  database.sql.exec(`
    ALTER TABLE jobs ADD COLUMN parent_job_id TEXT ${tie('jobs')};
    ALTER TABLE batch_links ADD COLUMN parent_id TEXT ${tie('batch_links')};
    UPDATE batch_links SET parent_id =
      (SELECT min(id) FROM batch_links AS one WHERE one.batch_id = batch_links.batch_id);
    UPDATE jobs SET parent_job_id = 'jobs-1' WHERE id = 'jobs-2';
    UPDATE jobs SET parent_job_id = 'gone' WHERE id = 'jobs-1';
  `);
}

const limit = 1_000_000;

function extractOf(database: AppDatabase, wishes: Partial<CleanUpDesired> = {}): Said {
  const mapping = proposeMapping(database.file, database.tables());
  const extract = planExtract(mapping, desire(wishes));
  const said = drive(database, 'session.snapshot', 'snapshot', {
    database: database.file,
    limitBytes: limit,
    extract,
  });
  if (said.error !== undefined) throw new Error(said.error);
  return said;
}

const contentOf = (said: Said): Uint8Array => Buffer.from(said.content ?? '', 'base64');

const planOn = (
  database: AppDatabase,
  content: Uint8Array,
  wishes: Partial<CleanUpDesired>,
): Promise<CleanUp> =>
  planCleanUp(
    {
      agent: agentOf([database.fact()], { [path]: content }),
      openStore: openStoreHere,
      newTaskId,
    },
    desire(wishes),
  );

/** What the host itself sends, as often as it is asked. */
function planOnHost(
  database: AppDatabase,
  wishes: Partial<CleanUpDesired>,
  asked: Extract[] = [],
): Promise<CleanUp> {
  const snapshot = async (name: string, limitBytes: number, extract: Extract) => {
    asked.push(extract);
    const args = { database: database.file, limitBytes, extract };
    const said = drive(database, 'session.snapshot', 'snapshot', args);
    if (said.error !== undefined) throw new HostError(said.error, { step: '', next: '' });
    const info = { ...(said.value as object), database: name, takenAt: now };
    return { info, content: contentOf(said) };
  };
  const agent = { ...agentOf([database.fact()], {}), snapshot } as unknown as Agent;
  return planCleanUp(
    { agent, openStore: openStoreHere, newTaskId },
    desire({ snapshotLimitBytes: bytes(limit), ...wishes }),
  );
}

const changesOf = ({ plan }: CleanUp) =>
  plan.operations.flatMap((each) => (each.op === 'repair-jobs' ? each.rows : []));

describe('an extract', () => {
  const comparePlans = async (numRuns: number) => {
    await fc.assert(
      fc.asyncProperty(
        forests,
        businesses,
        fc.constantFrom('fail' as const, 'reset' as const, 'delete' as const),
        fc.constantFrom('flat', 'nested', 'with foreign keys'),
        async (seeds, business, action, shape) => {
          const nodes = grow(seeds);
          using database = store(nodes, business.odd);
          addBusiness(database, nodes, business);
          if (shape !== 'flat') nest(database, shape === 'nested' ? '' : 'REFERENCES');
          // Some parents are gone.
          database.sql.exec("DELETE FROM batches WHERE id LIKE '%.1'");
          // Nobody has said what this word means.
          if (business.odd.statuses === 'text') {
            database.sql.exec(
              "UPDATE jobs SET status = 'RUNNING' WHERE status = 'processing' AND id > 'jobs-0'",
            );
          }
          fatten(database);
          const said = extractOf(database);
          expect(said.value).toMatchObject({ holds: 'rows' });
          const whole = await planOn(database, database.content(), { action });
          const part = await planOnHost(database, { action });
          expect(changesOf(part)).toEqual(changesOf(whole));
          expect(part.repairs.map(({ rows }) => rows)).toEqual(
            whole.repairs.map(({ rows }) => rows),
          );
          const left = ({ plan }: CleanUp) =>
            plan.findings.filter(({ message }) => /skipped|unknown status/.test(message));
          expect(left(part)).toEqual(left(whole));
          expect(part.plan.skippedRows).toBe(whole.plan.skippedRows);
        },
      ),
      { numRuns },
    );
  };

  test('gives the same plan as the complete database', () => comparePlans(15), 1_200_000);

  test(
    'is planned on as the whole would be, for many more forests',
    {
      tags: ['nightly'],
      timeout: 1_200_000,
    },
    () => comparePlans(300),
  );

  test('contains the selected rows, also by prefix, with their families', async () => {
    const seed = { status: 'completed', age: 90, task: 'none', below: [] } as const;
    const link = { ...seed, status: 'processing' };
    const tree = { ...seed, below: [{ ...seed, below: [link, seed] }] };
    using database = store(grow([tree, tree, tree]));
    fatten(database);
    const read = (wishes: Partial<CleanUpDesired>): readonly unknown[] => {
      const file = join(database.folder, 'part.db');
      writeFileSync(file, contentOf(extractOf(database, wishes)));
      using part = { sql: openDatabase(file), [Symbol.dispose]: () => part.sql.close() };
      return ['jobs', 'batches', 'batch_links'].flatMap((table) =>
        part.sql.prepare(`SELECT id FROM ${table} ORDER BY id`).pluck().all(),
      );
    };
    const family = (at: number) => [
      `jobs-${at}`,
      `batches-${at}.0`,
      `batch_links-${at}.0.0`,
      `batch_links-${at}.0.1`,
    ];
    expect(read({ ids: ['batch_links-1.0.1'] })).toEqual(family(1));
    expect(read({ ids: ['batch_links:batch_links-2.0'] })).toEqual(family(2));
    expect(read({ ids: ['jobs:batch_links-2.0'] })).toEqual([]);
    // Too short for a beginning: the judge would not take it for one.
    expect(read({ ids: ['batch_l'] })).toEqual([]);
    expect(read({ statuses: ['waiting'] })).toEqual([]);
  });

  test('contains the referencing rows of other tables, with the needed columns', async () => {
    const seed = { status: 'completed', age: 90, task: 'none', below: [] } as const;
    using database = store(grow([{ ...seed, status: 'processing' }, seed]));
    database.sql.exec(`
      CREATE TABLE notes (id INTEGER PRIMARY KEY, job TEXT REFERENCES jobs (id), about TEXT,
        secret TEXT, written_at TEXT);
      CREATE TABLE marks (id INTEGER PRIMARY KEY, job_id TEXT, batch TEXT REFERENCES batches (id));
      INSERT INTO notes VALUES (1, 'jobs-0', 'x', 'y', '2026'), (2, 'jobs-1', 'x', 'y', '2026');
      INSERT INTO marks VALUES (1, 'jobs-0', NULL), (2, 'jobs-1', NULL);`);
    fatten(database);
    const file = join(database.folder, 'part.db');
    writeFileSync(file, contentOf(extractOf(database)));
    using part = { sql: openDatabase(file), [Symbol.dispose]: () => part.sql.close() };
    expect(part.sql.prepare('SELECT * FROM notes').all()).toEqual([
      { job: 'jobs-0', written_at: '2026' },
    ]);
    // By its name alone a table ties where no foreign key does.
    expect(part.sql.prepare('SELECT * FROM marks').all()).toEqual([]);
  });

  test('that is too large reports its size', () => {
    const seed = { status: 'processing', age: 90, task: 'none', below: [] } as const;
    using database = store(grow([seed, seed]));
    database.sql.prepare('UPDATE jobs SET folder_name = ?').run('x'.repeat(1_000_000));
    expect(() => extractOf(database)).toThrow(
      /the rows that may need repair are more than 1000000 bytes \(snapshot-limit\): 2 jobs,/,
    );
  });

  test('leaves the database unchanged, and no temporary folder', () => {
    using database = store(grow([]));
    fatten(database);
    const before = database.content();
    extractOf(database);
    expect(database.content()).toEqual(before);
  });
});

describe('statuses that nobody has explained, in a large database', () => {
  const running = (count: number, ago: number): AppDatabase => {
    const database = new AppDatabase(
      'CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT, celery_task_id TEXT, created_at TIMESTAMP);',
    );
    // Among more rows than the host looks at to find out what the statuses are.
    const add = database.sql.prepare(
      `WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < ?)
        INSERT INTO jobs SELECT ? || at, ?, NULL, ? FROM n`,
    );
    add.run(1000, 'a', 'completed', bySqlite(day));
    add.run(count, 'b', 'RUNNING', bySqlite(ago));
    add.run(5000, 'c', 'completed', bySqlite(day));
    fatten(database);
    return database;
  };
  test('rows that look stuck in one are named, and the host is not said to be as desired', async () => {
    using database = running(2, day);
    const asked: Extract[] = [];
    const part = await planOnHost(database, {}, asked);
    const whole = await planOn(database, database.content(), {});
    expect(asked.map(({ tables }) => tables[0]?.unknown)).toEqual([[], ['RUNNING']]);
    expect(messagesOf(part)).toBe(messagesOf(whole));
    expect(messagesOf(part)).toContain(
      'b1, jobs b2: no sign of life in the unknown status RUNNING',
    );
    expect(messagesOf(part)).toContain('jobs: skipped rows with an unknown status: RUNNING; to');
    expect(describeIdle(part.plan)).toContain('2 rows that look stuck were skipped');
  });

  test('rows in one that moved just now do not look stuck, and it is named all the same', async () => {
    using database = running(2, 5 * minute);
    const part = await planOnHost(database, {});
    expect(messagesOf(part)).toContain('jobs: skipped rows with an unknown status: RUNNING; to');
    expect(describeIdle(part.plan)).toContain('in the desired state');
  });

  test('of many rows some are looked at, and the report says of how many', async () => {
    using database = running(400, day);
    const part = await planOnHost(database, {});
    expect(messagesOf(part)).toContain(
      'RUNNING (looked at 200 of 400 rows in RUNNING); to include',
    );
    expect(part.plan.skippedRows).toBe(200);
  });

  test('rows that are too large to be read as well are counted', async () => {
    using database = running(2, day);
    database.sql.exec('ALTER TABLE jobs ADD COLUMN log BLOB');
    database.sql.exec("UPDATE jobs SET log = zeroblob(2000000) WHERE status = 'RUNNING'");
    const part = await planOnHost(database, {});
    expect(messagesOf(part)).toContain('RUNNING (looked at 0 of 2 rows in RUNNING); to include');
  });

  test('one that means nothing of work is named, and its rows are not read', async () => {
    using database = running(2, day);
    database.sql.exec("UPDATE jobs SET status = 'archived' WHERE status = 'RUNNING'");
    const asked: Extract[] = [];
    const part = await planOnHost(database, {}, asked);
    expect(asked).toHaveLength(1);
    expect(messagesOf(part)).toContain('jobs: skipped rows with an unknown status: archived');
  });

  test('one that `words` does not map is refused', async () => {
    using database = running(2, day);
    const tables = { jobs: { words: { done: 'completed' as const } } };
    const stores = [{ database: path, tables, where: 'input stores, line 1' }];
    const refused = await planOnHost(database, { stores }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ConfigError);
    expect((refused as ConfigError).message).toContain("has the status 'RUNNING', which `words`");
  });
});
