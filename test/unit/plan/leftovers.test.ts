import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { otherWorkersIn } from '../../../src/celery/worker-process.ts';
import type { StoreFact } from '../../../src/model/facts/store.ts';
import { planLeftovers } from '../../../src/plan/leftovers.ts';
import { workerDesired } from '../../lib/worker-desired.ts';
import { AppDatabase, desire, path } from '../jobs/app-database.ts';

const byTheApp = {
  unit: 'celery-worker.service',
  interpreter: ['/srv/app/venv/bin/python'],
  app: 'celery_app',
  pythonPath: [],
  otherWorkers: otherWorkersIn('/srv/app'),
};

const supportModule = { name: 'celeriac_support', text: '' };
const plain = workerDesired({ unit: byTheApp.unit, supportModule });
const settling = { ...plain, orphanedJobs: desire({ database: null }) };

const load = (name: string): AppDatabase => {
  const file = join(import.meta.dirname, `../../fixtures/databases/${name}.sql`);
  return new AppDatabase(readFileSync(file, 'utf8'));
};

const opsOf = (desired: typeof plain, stores: readonly StoreFact[] = []) => {
  const { beforeStart, afterProof } = planLeftovers(byTheApp, stores, desired);
  return [beforeStart.map(({ op }) => op), afterProof.map(({ op }) => op)];
};

test('messages are returned before the start, or only looked for after the proof', () => {
  expect(opsOf(plain)).toEqual([[], ['find-unacked']]);
  expect(opsOf({ ...plain, restoreUnacked: true })).toEqual([['restore-unacked'], []]);
});

describe('with `orphaned-jobs`', () => {
  test('the release itself touches no row', () => {
    using database = load('orders-delete');
    expect(opsOf(settling, [database.fact()])).toEqual([[], ['find-unacked']]);
  });

  test('it is refused before anything changes if there is no database with jobs', () => {
    using database = load('numbers');
    expect(() => opsOf(settling, [database.fact()])).toThrow('no database with jobs found');
    expect(() => opsOf(settling, [])).toThrow('no SQLite file found');
    const absent = { ...plain, orphanedJobs: desire({ database: path }) };
    expect(() => opsOf(absent, [{ kind: 'absent', path }])).toThrow(`${path}: no such file`);
    expect(opsOf(plain, [database.fact()])).toEqual([[], ['find-unacked']]);
  });
});
