import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Machine, startMachine } from '../../sandbox/machine.ts';
import { runWorkflow, type WorkflowRun } from '../lib/act.ts';
import { takeFingerprint } from '../lib/fingerprint.ts';

let machine: Machine;

beforeAll(async () => {
  machine = await startMachine({ name: 'workflow-cleanup', state: 'before' });
});
beforeEach(async () => {
  await machine.reset();
  // One job that a worker has just begun: whatever happens to the others, it is left alone.
  await sql(
    `INSERT INTO jobs (id, status, started_at) VALUES ('f0e1d2c3-0000-4000-8000-000000000001', 'processing', strftime('%Y-%m-%dT%H:%M:%f', 'now'))`,
  );
});
afterAll(async () => {
  await machine?.stop();
});

const byHand = (inputs: Readonly<Record<string, string>>): Promise<WorkflowRun> =>
  runWorkflow('cleanup.yml', 'workflow_dispatch', machine, {
    inputs: { 'confirm-after': 'off', ...inputs },
  });

const onSchedule = (): Promise<WorkflowRun> => runWorkflow('cleanup.yml', 'schedule', machine);

const outputsOf = (run: WorkflowRun): Readonly<Record<string, string>> =>
  run.steps.find(({ name }) => name === 'Stuck jobs')?.outputs ?? {};

async function sql(statement: string): Promise<string> {
  const database = '/root/slideshow/backend/batch_processing.db';
  return (await machine.run(`sqlite3 -bail ${database}`, { input: statement })).stdout.trim();
}

/** How many rows of a job and of all below it have which status. */
const statusesBelow = (job: string): Promise<string> =>
  sql(`
    WITH rows (status) AS (
      SELECT status FROM jobs WHERE id LIKE '${job}%'
      UNION ALL SELECT status FROM batches WHERE job_id LIKE '${job}%'
      UNION ALL SELECT l.status FROM batch_links l JOIN batches b ON b.id = l.batch_id
        WHERE b.job_id LIKE '${job}%'
    )
    SELECT group_concat(line, ', ') FROM
      (SELECT count(*) || ' ' || status AS line FROM rows GROUP BY status ORDER BY status)`);

it('is a dry run by default, resets the selected job, and fails stuck jobs on its schedule', async () => {
  await look();
  await resetOne();
  // A worker that runs would be asked twice, a minute apart.
  await machine.run('systemctl stop celery-worker');
  await failOnSchedule();
  await repeat();
});

/** As it is run by hand when nothing is changed in its form. */
async function look(): Promise<void> {
  const before = await takeFingerprint(machine);
  const run = await byHand({ action: 'delete', threshold: '30m', ids: '', 'dry-run': 'true' });
  expect(run.code).toBe(0);
  expect(outputsOf(run)).toEqual({
    found: '20',
    repaired: '0',
    changed: 'false',
    transaction: '',
    'plan-path': expect.stringContaining('celeriac'),
  });
  expect(run.lines.join('\n')).toMatch(/jobs +77cfa3cd +processing +deleted/);
  expect(await takeFingerprint(machine)).toEqual(before);
}

async function resetOne(): Promise<void> {
  const other = await statusesBelow('b49d06f6');
  const run = await byHand({ action: 'reset', ids: '77cfa3cd', 'dry-run': 'false' });
  expect(run.code).toBe(0);
  expect(outputsOf(run)).toMatchObject({ changed: 'true' });
  expect(await statusesBelow('77cfa3cd')).toBe('9 pending');
  expect(await statusesBelow('b49d06f6')).toBe(other);
}

async function failOnSchedule(): Promise<void> {
  const run = await onSchedule();
  expect(run.code).toBe(0);
  expect(outputsOf(run)).toMatchObject({ changed: 'true', repaired: '9' });
  expect(run.lines.join('\n')).toContain('warning: repaired 9 stuck or orphaned rows');
  expect(await statusesBelow('b49d06f6')).toBe('9 failed');
  expect(await statusesBelow('77cfa3cd')).toBe('9 pending');
  expect(await statusesBelow('f0e1d2c3')).toBe('1 processing');
  expect(await sql('PRAGMA integrity_check; PRAGMA foreign_key_check')).toBe('ok');
}

/** Half an hour later there is nothing to do. */
async function repeat(): Promise<void> {
  const before = await takeFingerprint(machine);
  const run = await onSchedule();
  expect(run.code).toBe(0);
  expect(outputsOf(run)).toEqual({ found: '0', repaired: '0', changed: 'false', transaction: '' });
  expect(await takeFingerprint(machine)).toEqual(before);
}

it('accepts a threshold', { tags: ['nightly'] }, async () => {
  const before = await takeFingerprint(machine);
  const patient = await byHand({ action: 'fail', threshold: '3650d', 'dry-run': 'false' });
  expect(patient.code).toBe(0);
  expect(outputsOf(patient)).toMatchObject({ found: '0', changed: 'false' });

  const wrong = await byHand({ action: 'fail', threshold: '30x', 'dry-run': 'false' });
  expect(wrong.code).toBe(1);
  expect(wrong.lines.join('\n')).toContain('invalid `threshold`: "30x"');
  expect(await takeFingerprint(machine)).toEqual(before);
});
