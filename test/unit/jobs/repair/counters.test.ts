import { expect, test } from 'vitest';
import { AppDatabase, bySqlite, day, planFor } from '../app-database.ts';

/** A batch that counted more rows than are left, one of which is stuck. */
function batch(total: number): AppDatabase {
  const database = new AppDatabase(`
    CREATE TABLE batches (id INTEGER PRIMARY KEY, status TEXT, total_links INTEGER,
      completed_links INTEGER, failed_links INTEGER, created_at TEXT);
    CREATE TABLE batch_links (id INTEGER PRIMARY KEY, status TEXT, created_at TEXT,
      batch_id INTEGER REFERENCES batches (id))`);
  const created_at = bySqlite(day);
  const counts = { total_links: total, completed_links: 5, failed_links: 0 };
  database.add('batches', { id: 1, status: 'processing', ...counts, created_at });
  database.add('batch_links', { id: 1, status: 'completed', batch_id: 1, created_at });
  database.add('batch_links', { id: 2, status: 'processing', batch_id: 1, created_at });
  return database;
}

const countersOf = async (database: AppDatabase): Promise<unknown> => {
  const { plan } = await planFor(database);
  const rows = plan.operations.flatMap((each) => (each.op === 'repair-jobs' ? each.rows : []));
  const change = rows.find(({ table }) => table === 'batches')?.change;
  return change?.kind === 'update' ? change.set : null;
};

test('what was counted of rows that the app has removed since stays counted', async () => {
  using database = batch(6);
  const set = await countersOf(database);
  expect(set).toMatchObject({ failed_links: 1 });
  expect(set).not.toHaveProperty('completed_links');
});

test('where all rows are there, a count that is too high is corrected', async () => {
  using database = batch(2);
  expect(await countersOf(database)).toMatchObject({ completed_links: 1, failed_links: 1 });
});
