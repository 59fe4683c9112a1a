import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { type CleanUpDesired, cleanUpDefaults } from '../../src/config/cleanup-desired.ts';
import { reportSkipped } from '../../src/jobs/repair/clean-up-outcome.ts';
import type { CleanUp } from '../../src/jobs/repair/clean-up-plan.ts';
import { ConfigError } from '../../src/model/errors.ts';
import { planCleanUp } from '../../src/use-case/clean-up.ts';
import { Hand } from './lib/hand.ts';
import { UNIT } from './lib/worker.ts';

/** Jobs in a real PostgreSQL server, reached by the host's own psql as the unit's user. */

const DROP_INS = `/etc/systemd/system/${UNIT}.d`;
const url = 'postgresql://app@127.0.0.1:5432/jobs';
let hand: Hand;

const psql = async (script: string, database = 'jobs'): Promise<string> => {
  const argv = `cd / && runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 -d ${database}`;
  return (await hand.machine.run(argv, { input: script, timeoutSeconds: 300 })).stdout.trim();
};

const dump = (): Promise<string> =>
  psql('SELECT * FROM jobs ORDER BY id; SELECT * FROM job_links ORDER BY id;');

beforeAll(async () => {
  hand = await Hand.open(await startMachine({ name: 'cleanup-postgresql', state: 'healthy' }));
  await hand.shell(`systemctl stop ${UNIT} && systemctl start postgresql@15-main`);
  await psql("CREATE ROLE app LOGIN PASSWORD 'quite secret';", 'postgres');
});

/** The stuck jobs, in a database of their own; the unit knows no password. */
beforeEach(async () => {
  await hand.shell(`rm -rf ${DROP_INS} && systemctl daemon-reload`);
  await psql('DROP DATABASE IF EXISTS jobs WITH (FORCE);', 'postgres');
  await psql('CREATE DATABASE jobs OWNER app;', 'postgres');
  await psql(`SET ROLE app;
    CREATE TYPE state AS ENUM ('pending', 'processing', 'completed', 'failed', 'cancelled');
    CREATE TABLE jobs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), status state NOT NULL,
      total_links int, failed_links int DEFAULT 0, price numeric, meta jsonb,
      celery_task_id text, error_message text, started_at timestamptz, completed_at timestamptz,
      twice int GENERATED ALWAYS AS (total_links * 2) STORED);
    CREATE TABLE job_links (id bigserial PRIMARY KEY, job_id uuid REFERENCES jobs, status text,
      "odd ""näme" text, started_at timestamp, completed_at timestamp);
    INSERT INTO jobs (id, status, total_links, price, meta, celery_task_id, started_at)
      SELECT ('0000000' || i || '-0000-4000-8000-000000000000')::uuid, 'processing', 2, 1.10,
        '{"a": 1.50}', 'task-' || i, now() - interval '1 day' FROM generate_series(1, 3) i;
    INSERT INTO job_links (job_id, status, "odd ""näme", started_at)
      SELECT id, 'processing', E'it''s \\\\ ü\\n', now() - interval '1 day' FROM jobs, generate_series(1, 2);
    CREATE TABLE crawl_jobs (id uuid PRIMARY KEY, parent_id text, status text, started_at timestamptz);
    CREATE TABLE sub_tasks (id bigint PRIMARY KEY, above bigint REFERENCES sub_tasks, status text,
      started_at timestamptz);
    INSERT INTO sub_tasks SELECT i, nullif(i - 1, 0), CASE i WHEN 3 THEN 'pending' ELSE 'processing' END,
      now() - interval '1 day' * (3 - i) FROM generate_series(1, 3) i;
    INSERT INTO crawl_jobs SELECT ('0000000' || id || '-0000-4000-8000-000000000001')::uuid,
      '0000000' || above || '-0000-4000-8000-000000000001', status, started_at FROM sub_tasks;
    INSERT INTO jobs (id, status, started_at) VALUES ('00000009-0000-4000-8000-000000000000', 'processing', now());`);
});
afterAll(async () => {
  await hand?.stop();
});

const plan = (wishes: Partial<CleanUpDesired> = {}): Promise<CleanUp> =>
  planCleanUp(
    { agent: hand.agent, openStore: openSqliteStore, newTaskId: randomUUID },
    { ...cleanUpDefaults, database: url, evidence: 'age', ...wishes },
  );

const found = ({ repairs }: CleanUp): readonly string[] =>
  repairs.flatMap(({ rows }) => rows.map(({ table, id }) => `${table} ${String(id).slice(0, 8)}`));

test('a psql that would ask for a password is one clear error', async () => {
  const error = await plan().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).message).toBe(
    `${url} asks for a password, which is neither in PGPASSWORD, PGPASSFILE or a URL of the unit's environment, nor in ~/.pgpass of its user`,
  );
});

/** To the unit, in its own URL of the database. */
async function tellPassword(): Promise<void> {
  const own = 'postgresql+psycopg2://app:quite%%20secret@localhost/jobs';
  await hand.shell(`mkdir -p ${DROP_INS}`);
  await hand.machine.writeFile(
    `${DROP_INS}/database.conf`,
    `[Service]\nEnvironment=DATABASE_URL=${own}\n`,
    '0600',
  );
  await hand.shell('systemctl daemon-reload');
}

test("the password comes from the unit's URL; the plan is the same, and so are the rows", async () => {
  await tellPassword();
  const before = await dump();
  const cleanUp = await plan();
  expect(found(cleanUp).filter((row) => row.startsWith('jobs'))).toEqual([
    'jobs 00000001',
    'jobs 00000002',
    'jobs 00000003',
  ]);
  // Of those below their own kind each is as fresh as the last, which itself is no suspect.
  expect(found(cleanUp)).toHaveLength(9);
  expect(await dump()).toBe(before);

  // Somebody is at work on a link of the third job; a link of the second moves.
  await psql("UPDATE job_links SET started_at = now() WHERE job_id::text LIKE '00000002%'");
  await hand.shell(`setsid nohup runuser -u postgres -- psql -X -q -d jobs -c "BEGIN" -c "SELECT 1 FROM job_links WHERE job_id::text LIKE '00000003%' FOR UPDATE" -c "SELECT pg_sleep(600)" >/dev/null 2>&1 </dev/null & echo $! >/run/holder.pid
    for n in $(seq 600); do runuser -u postgres -- psql -X -A -t -c "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()" | grep -qx 1 && break; sleep 0.2; done`);
  const changed = await dump();
  const outcome = await hand.commit(cleanUp.plan.operations);
  expect(outcome.steps.map(({ op }) => op)).toEqual(['repair-jobs']);
  expect(outcome.steps[0]?.result).toMatchObject({ changed: 3, updated: 3 });
  const skipped = reportSkipped(outcome, cleanUp).map(({ message }) => message);
  expect(skipped.join()).toContain('changed meanwhile');
  expect(outcome.steps[0]?.result?.skipped).toContainEqual(
    expect.objectContaining({
      moved: { started_at: expect.any(String) },
      seenAt: expect.any(Number),
    }),
  );
  expect(skipped.join()).toContain('is locked by another session');
  expect(await psql("SELECT count(*) FROM jobs WHERE status = 'failed' AND failed_links = 2")).toBe(
    '1',
  );
  expect(await psql("SELECT error_message FROM jobs WHERE status = 'failed'")).toMatch(
    /^stuck in processing for /,
  );
  await hand.undo(outcome.transaction);
  expect(await dump()).toBe(changed);
});

/** What is no job: a database of `test/fixtures/databases` in PostgreSQL's words. */
async function makeShop(name: string, more: string): Promise<void> {
  const text = readFileSync(join(import.meta.dirname, `../fixtures/databases/${name}.sql`), 'utf8');
  const sql = text.replace(/datetime\('now','-(\d+ \w+)'\)/g, "now() - interval '$1'");
  await psql('DROP DATABASE IF EXISTS shop', 'postgres');
  await psql('CREATE DATABASE shop OWNER app', 'postgres');
  await psql(`SET ROLE app; ${sql} ${more}`, 'shop');
}

/** The database, its tables of other things, that of its jobs; what is added to it, and later. */
type Shop = readonly [string, string, string, string, string];
const shops: readonly [Shop, Shop] = [
  [
    'payments',
    'users payments',
    'jobs',
    "UPDATE jobs SET status = 'processing'; CREATE TABLE comments (job_id text REFERENCES jobs ON DELETE CASCADE);",
    "INSERT INTO comments VALUES ('j')",
  ],
  [
    'orders-delete',
    'orders invoices',
    'tasks',
    `INSERT INTO tasks VALUES (7, 1, 'gone', 'processing', now() - interval '3 days');
      CREATE TABLE comments (task_id int REFERENCES tasks);`,
    'INSERT INTO comments VALUES (7)',
  ],
];

const changesOnlyJobs = async (
  name: string,
  others: string,
  table: string,
  more: string,
  comment: string,
): Promise<void> => {
  const shop = url.replace(/jobs$/, 'shop');
  const own = shop.replace('//app@', '//app:quite%%20secret@');
  await hand.shell(`mkdir -p ${DROP_INS}`);
  const unit = `[Service]\nEnvironment=SHOP_URL=${own}\n`;
  await hand.machine.writeFile(`${DROP_INS}/shop.conf`, unit, '0600');
  await hand.shell('systemctl daemon-reload');
  const read = (tables: string): Promise<string> =>
    psql(
      tables.replaceAll(/\w+/g, (each) => `SELECT * FROM ${each} ORDER BY 1;`),
      'shop',
    );

  await makeShop(name, more);
  const before = await read(others);
  const ends = { fail: ['failed'], reset: ['pending'], delete: ['deleted'], finalise: [] };
  for (const action of ['fail', 'reset', 'delete', 'finalise'] as const) {
    const cleanUp = await plan({ database: shop, action });
    const rows = cleanUp.repairs.flatMap((each) => each.rows);
    expect(rows.map((row) => `${row.table} ${row.becomes}`)).toEqual(
      ends[action].map((end) => `${table} ${end}`),
    );
    const notices = cleanUp.plan.findings.map(({ message }) => message).join();
    for (const other of others.split(' ')) expect(notices).toContain(other);
    expect(notices).toContain('skipped tables, because nothing shows that their rows are jobs');
    if (action === 'fail')
      await hand.undo((await hand.commit(cleanUp.plan.operations)).transaction);
    if (action !== 'delete') continue;
    // Somebody comments on it between the look and the change; and then it is known.
    await psql(comment, 'shop');
    const { steps } = await hand.commit(cleanUp.plan.operations);
    expect(steps[0]?.result).toMatchObject({ changed: 0, skipped: [{ table }] });
    const again = await plan({ database: shop, action });
    expect(again.plan.operations).toEqual([]);
    expect(again.plan.findings.map(({ message }) => message).join()).toMatch(
      /is referenced by 1 row of comments \((?:job|task)_id\), which are not jobs/,
    );
    await psql('DELETE FROM comments', 'shop');
    const { steps: done } = await hand.commit(cleanUp.plan.operations);
    expect(done[0]?.result).toMatchObject({ deleted: 1 });
  }
  expect(await read(others)).toBe(before);
};

test.each([shops[0]])('%s: %s hold no jobs and never change, %s do', changesOnlyJobs);
test.each([shops[1]])(
  '%s: %s hold no jobs and never change, %s do',
  { tags: ['nightly'] },
  changesOnlyJobs,
);

/** A database of its own, which the unit names with its password. */
async function makeDatabase(sql: string): Promise<string> {
  const own = url.replace(/jobs$/, 'fits');
  await hand.shell(`mkdir -p ${DROP_INS}`);
  const unit = `[Service]\nEnvironment=OWN_URL=${own.replace('//app@', '//app:quite%%20secret@')}\n`;
  await hand.machine.writeFile(`${DROP_INS}/fits.conf`, unit, '0600');
  await hand.shell('systemctl daemon-reload');
  await psql('DROP DATABASE IF EXISTS fits WITH (FORCE)', 'postgres');
  await psql('CREATE DATABASE fits OWNER app', 'postgres');
  await psql(`SET ROLE app; ${sql}`, 'fits');
  return own;
}

test('what is written fits, and a dry run meets what the database rejects', async () => {
  const own = await makeDatabase(`
    CREATE DOMAIN short AS varchar(20);
    CREATE TABLE tasks (id serial PRIMARY KEY, task_id varchar(30), status varchar(20),
      created_at timestamp, error varchar(40));
    CREATE TABLE scrape_jobs (id int PRIMARY KEY, status text, created_at timestamp, error jsonb);
    CREATE TABLE render_jobs (id int PRIMARY KEY, status text, created_at timestamp, error short,
      finished_at timestamp);
    INSERT INTO tasks (status, created_at) VALUES ('processing', now() - interval '5 hours');
    INSERT INTO scrape_jobs VALUES (1, 'processing', now() - interval '5 hours', NULL),
      (2, 'processing', now() - interval '5 hours', '{"type": "Timeout"}');
    INSERT INTO render_jobs VALUES (1, 'processing', now() - interval '5 hours', 'é', NULL);`);
  const read = (): Promise<string> =>
    psql(
      `SELECT length(error), status FROM tasks; SELECT error FROM render_jobs;
       SELECT jsonb_typeof(error->'message'), error->'previous' FROM scrape_jobs ORDER BY id;`,
      'fits',
    );
  const before = await read();
  const cleanUp = await plan({ database: own });
  expect(await read()).toBe(before);
  const outcome = await hand.commit(cleanUp.plan.operations);
  expect(outcome.steps[0]?.result).toMatchObject({ changed: 4, skipped: [] });
  expect((await read()).split('\n')).toEqual([
    '40|failed',
    'stuck in processing ',
    'string|',
    'string|{"type": "Timeout"}',
  ]);
  await hand.undo(outcome.transaction);
  expect(await read()).toBe(before);

  await psql('ALTER TABLE tasks ADD CONSTRAINT never CHECK (status <> $$failed$$)', 'fits');
  const error = await plan({ database: own }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).message).toContain('tasks 1: new row');
  expect((error as ConfigError).message).toContain('violates check constraint "never"');
  expect(await read()).toBe(before);
});

test('words are those of an enum, a domain or a CHECK; a domain may be NOT NULL', async () => {
  const own = await makeDatabase(`
    CREATE TYPE state AS ENUM ('PENDING', 'PROCESSING', 'Done', 'Error');
    CREATE DOMAIN word AS text NOT NULL CHECK (VALUE IN ('processing', 'completed', 'Failed'));
    CREATE DOMAIN deeper AS word;
    CREATE DOMAIN title AS varchar(40) NOT NULL CHECK (VALUE <> '');
    CREATE TABLE jobs (id int PRIMARY KEY, status state, title title, created_at timestamp);
    CREATE TABLE video_jobs (id int PRIMARY KEY, status deeper, title title, created_at timestamp);
    CREATE TABLE tasks (id int PRIMARY KEY, created_at timestamp, status varchar(20),
      CHECK (status IS NULL OR status IN ('processing', 'FAILED')));
    INSERT INTO jobs VALUES (1, 'PROCESSING', 'one', now() - interval '5 hours');
    INSERT INTO video_jobs VALUES (1, 'processing', 'two', now() - interval '5 hours');
    INSERT INTO tasks VALUES (1, now() - interval '5 hours', 'processing');`);
  const read = (): Promise<string> =>
    psql('SELECT status FROM jobs; TABLE video_jobs; SELECT status FROM tasks', 'fits');
  const before = await read();
  const cleanUp = await plan({ database: own });
  const outcome = await hand.commit(cleanUp.plan.operations);
  expect(outcome.steps[0]?.result).toMatchObject({ changed: 3, skipped: [] });
  expect(await read()).toMatch(/^Error\n1\|Failed\|two\|.*\nFAILED$/);
  await hand.undo(outcome.transaction);
  expect(await read()).toBe(before);

  const deleted = await hand.commit(
    (await plan({ database: own, action: 'delete' })).plan.operations,
  );
  expect(await read()).toBe('');
  await hand.undo(deleted.transaction);
  expect(await read()).toBe(before);

  const error = await plan({ database: own, action: 'reset' }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).message).toContain("does not take 'pending'");
  expect(await read()).toBe(before);
});

test('partitions are read through their parent, each row once', async () => {
  const own = await makeDatabase(`
    CREATE TABLE jobs (id bigserial, status text, created_at timestamptz, tenant int,
      PRIMARY KEY (id, tenant)) PARTITION BY LIST (tenant);
    CREATE TABLE jobs_1 PARTITION OF jobs FOR VALUES IN (1);
    CREATE TABLE jobs_2 PARTITION OF jobs FOR VALUES IN (2);
    INSERT INTO jobs (status, created_at, tenant)
      SELECT 'processing', now() - interval '5 hours', tenant FROM generate_series(1, 2) tenant;`);
  const cleanUp = await plan({ database: own });
  expect(cleanUp.mappings.flatMap(({ lines }) => lines)).toHaveLength(1);
  expect(found(cleanUp)).toEqual(['jobs 1', 'jobs 2']);
  const { steps } = await hand.commit(cleanUp.plan.operations);
  expect(steps[0]?.result).toMatchObject({ changed: 2 });
  expect(await psql('SELECT count(*) FROM jobs WHERE status = $$failed$$', 'fits')).toBe('2');
});

const fixture = (name: string): string =>
  readFileSync(join(import.meta.dirname, `../fixtures/databases/${name}.sql`), 'utf8');

test('the fixture postgresql-varchar: a green dry run, then a real run that does the same', {
  tags: ['nightly'],
}, async () => {
  const own = await makeDatabase(fixture('postgresql-varchar'));
  const cleanUp = await plan({ database: own });
  const [row] = cleanUp.repairs.flatMap(({ rows }) => rows);
  expect(row).toMatchObject({ table: 'tasks', id: 1, becomes: 'failed' });
  const { steps } = await hand.commit(cleanUp.plan.operations);
  expect(steps[0]?.result).toMatchObject({ changed: 1, skipped: [] });
  expect(await psql('SELECT status, length(error) FROM tasks', 'fits')).toBe('failed|40');
});

test('the fixture postgresql-partitions: one table, one row, changed once', {
  tags: ['nightly'],
}, async () => {
  const own = await makeDatabase(fixture('postgresql-partitions'));
  const cleanUp = await plan({ database: own });
  expect(cleanUp.mappings.flatMap(({ lines }) => lines)).toHaveLength(1);
  expect(found(cleanUp)).toEqual(['jobs 1']);
  const { steps } = await hand.commit(cleanUp.plan.operations);
  expect(steps[0]?.result).toMatchObject({ changed: 1, skipped: [] });
  expect(await psql('SELECT status FROM jobs', 'fits')).toBe('failed');
});

test('statuses that nobody has explained are told, also of rows that are not read', async () => {
  const own = await makeDatabase(`
    CREATE TYPE state AS ENUM ('pending', 'processing', 'RUNNING', 'archived', 'failed');
    CREATE TABLE jobs (id int PRIMARY KEY, status state, created_at timestamptz, celery_task_id text);
    CREATE TABLE crawl_jobs (id int PRIMARY KEY, status text, created_at timestamptz);
    CREATE TABLE video_jobs (id int PRIMARY KEY, status json, created_at timestamptz,
      celery_task_id text);
    INSERT INTO jobs SELECT i, CASE WHEN i % 2 = 0 THEN 'RUNNING' ELSE 'archived' END::state,
      now() - interval '1 day' FROM generate_series(1, 500) i;
    INSERT INTO crawl_jobs VALUES (1, 'working', now()), (2, NULL, now()), (3, 'failed', now());
    INSERT INTO video_jobs VALUES (1, '"working"', now());`);
  const { plan: told } = await plan({ database: own });
  const messages = told.findings.map(({ message }) => message).join('\n');
  expect(told.operations).toEqual([]);
  expect(told.skippedRows).toBe(200);
  expect(messages).toContain('no sign of life in the unknown status RUNNING');
  expect(messages).toMatch(
    /jobs: .* status: RUNNING, archived \(looked at 200 of 250 rows in RUNNING\)/,
  );
  expect(messages).toMatch(
    /crawl_jobs: skipped rows with an unknown status: (?:working, no text|no text, working)/,
  );
});

test('deleted rows are restored to the last digit', { tags: ['nightly'] }, async () => {
  await tellPassword();
  const before = await dump();
  const cleanUp = await plan({ action: 'delete', ids: ['jobs:00000001'] });
  const outcome = await hand.commit(cleanUp.plan.operations);
  expect(outcome.steps[0]?.result).toMatchObject({ deleted: 3 });
  expect(await psql('SELECT count(*) FROM jobs')).toBe('3');
  await hand.undo(outcome.transaction);
  expect(await dump()).toBe(before);
});
