import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startMachine } from '../../sandbox/machine.ts';
import { openSqliteStore } from '../../src/adapters/sqlite-store.ts';
import { type CleanUpDesired, cleanUpDefaults } from '../../src/config/cleanup-desired.ts';
import { type CleanUp, planCleanUp } from '../../src/jobs/clean-up.ts';
import { reportSkipped } from '../../src/jobs/clean-up-outcome.ts';
import { ConfigError } from '../../src/model/errors.ts';
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

test("the password is that of the unit's own URL; the same plan, and the very rows", async () => {
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
  const skipped = reportSkipped(outcome).map(({ message }) => message);
  expect(skipped.join()).toContain('changed meanwhile');
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

test('deleted rows come back to the last digit', { tags: ['nightly'] }, async () => {
  await tellPassword();
  const before = await dump();
  const cleanUp = await plan({ action: 'delete', ids: ['jobs:00000001'] });
  const outcome = await hand.commit(cleanUp.plan.operations);
  expect(outcome.steps[0]?.result).toMatchObject({ deleted: 3 });
  expect(await psql('SELECT count(*) FROM jobs')).toBe('3');
  await hand.undo(outcome.transaction);
  expect(await dump()).toBe(before);
});
