import { expect, test } from 'vitest';
import { AppDatabase, bySqlite, day, messagesOf, planFor } from '../jobs/app-database.ts';

/* Ids that the app, or COLLATE NOCASE, compares without regard to case. */

const old = { status: 'processing', created_at: bySqlite(3 * day) };

test.each(['fail', 'reset', 'delete', 'finalise'] as const)(
  'a row whose parent is spelled in another case is no orphan: both are skipped (%s)',
  async (action) => {
    using database = new AppDatabase();
    database.add('batches', { id: 'AB-1', ...old });
    database.add('batch_links', { id: 'link-1', batch_id: 'ab-1', ...old });
    database.add('batch_variations', { id: 'part-1', batch_link_id: 'LINK-1', ...old });
    const cleanUp = await planFor(database, { action });
    expect(cleanUp.plan.operations).toEqual([]);
    expect(messagesOf(cleanUp)).toMatch(/whose id is spelled AB-1|names it ab-1/);
  },
);

test('a row whose parent is gone in any spelling is an orphan', async () => {
  using database = new AppDatabase();
  database.add('batches', { id: 'AB-1', ...old });
  database.add('batch_links', { id: 'link-1', batch_id: 'other', ...old });
  const { repairs } = await planFor(database, { action: 'fail' });
  const ids = repairs.flatMap(({ rows }) => rows.map(({ id }) => id));
  expect(ids).toContain('link-1');
});
