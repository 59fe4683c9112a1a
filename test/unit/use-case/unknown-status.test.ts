import { describe, expect, test } from 'vitest';
import { ConfigError } from '../../../src/model/errors.ts';
import { describeIdle } from '../../../src/report/plan-view.ts';
import { AppDatabase, bySqlite, day, messagesOf, minute, planFor } from '../jobs/app-database.ts';

const withJob = (labels: string, status: string, ago: number = day): AppDatabase => {
  const check = labels === '' ? '' : ` CHECK (status IN (${labels}))`;
  const database = new AppDatabase(
    `CREATE TABLE jobs (id TEXT, status TEXT${check}, celery_task_id TEXT, created_at TIMESTAMP);`,
  );
  database.add('jobs', { id: 'j1', status, created_at: bySqlite(ago) });
  return database;
};

describe('statuses that nobody has explained', () => {
  test('a database that takes no known status is refused with those that it takes', async () => {
    using database = withJob("'new', 'at_work', 'ok', 'bad'", 'at_work');
    for (const action of ['fail', 'reset', 'delete', 'finalise'] as const) {
      await expect(planFor(database, { action })).rejects.toThrow(ConfigError);
      await expect(planFor(database, { action })).rejects.toThrow(
        /takes only new, at_work, ok, bad, none of which is a known status/,
      );
    }
  });

  test('one that spells them otherwise is not', async () => {
    using database = withJob("'NEW', 'PROCESSING', 'FAILED'", 'PROCESSING');
    expect((await planFor(database)).plan.operations.length).toBeGreaterThan(0);
  });

  test('a row that looks stuck in such a status is said to be skipped', async () => {
    using database = withJob('', 'RUNNING');
    const cleanUp = await planFor(database);
    expect(cleanUp.plan.operations).toEqual([]);
    expect(describeIdle(cleanUp.plan)).toContain('1 row that looks stuck was skipped');
    expect(messagesOf(cleanUp)).toContain('jobs j1: no sign of life in the unknown status RUNNING');
  });

  test.each([
    ['RUNNING', 5 * minute],
    ['archived', day],
  ])('one in status %s that began %d s ago does not look stuck', async (status, ago) => {
    using database = withJob('', status, ago);
    expect(describeIdle((await planFor(database)).plan)).toContain('in the desired state');
  });
});
