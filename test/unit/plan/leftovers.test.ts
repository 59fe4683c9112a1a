import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { otherWorkersIn } from '../../../src/celery/worker-process.ts';
import { seconds } from '../../../src/model/units.ts';
import { planLeftovers } from '../../../src/plan/leftovers.ts';
import { workerDesired } from '../../lib/worker-desired.ts';
import { AppDatabase, path } from '../jobs/app-database.ts';

const byTheApp = {
  unit: 'celery-worker.service',
  interpreter: ['/srv/app/venv/bin/python'],
  app: 'celery_app',
  pythonPath: [],
  otherWorkers: otherWorkersIn('/srv/app'),
};

const settling = workerDesired({
  unit: byTheApp.unit,
  supportModule: { name: 'celeriac_support', text: '' },
  orphanedJobs: {
    action: 'fail',
    database: null,
    keepBackups: 5,
    busyTimeoutSeconds: seconds(10),
    runUrl: null,
  },
});

const load = (name: string): AppDatabase => {
  const file = join(import.meta.dirname, `../../fixtures/databases/${name}.sql`);
  return new AppDatabase(readFileSync(file, 'utf8'));
};

test('a restart settles the tables that the clean-up recognizes, and reports the skipped ones', () => {
  using database = load('orders-delete');
  const { beforeStart, findings } = planLeftovers(byTheApp, [database.fact()], settling);
  const [settle] = beforeStart;
  if (settle?.op !== 'settle-jobs') throw new Error('nothing is settled');
  expect(settle.tables.map(({ table }) => table)).toEqual(['tasks']);
  expect(settle.tables[0]?.parent).toBeNull();
  expect(settle.otherWorkers).toEqual(byTheApp.otherWorkers);
  expect(findings).toEqual([
    {
      level: 'notice',
      message: expect.stringMatching(
        /^skipped tables, because nothing shows .*orders \(.*invoices \(/,
      ),
      where: path,
    },
  ]);
});

test('a database without a certain table of jobs is not used', () => {
  using database = load('numbers');
  expect(() => planLeftovers(byTheApp, [database.fact()], settling)).toThrow(
    'no database with jobs was found',
  );
});
