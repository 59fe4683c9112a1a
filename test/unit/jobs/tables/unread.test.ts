import { describe, expect, it } from 'vitest';
import { tellUnread } from '../../../../src/jobs/tables/job-tables.ts';
import type { StoreTable } from '../../../../src/model/facts/store.ts';

const table = (name: string, ...columns: readonly string[]): StoreTable =>
  ({
    name,
    columns: columns.map((column) => ({ name: column, type: 'TEXT' })),
    foreignKeys: [],
    statuses: [],
  }) as unknown as StoreTable;

const good = table('jobs', 'id', 'status', 'created_at');

describe('tables that are named like jobs', () => {
  it('are named when the id and the status have names of their own', () => {
    const tables = [good, table('video_jobs', 'job_no', 'state')];
    expect(tellUnread('/srv/app.db', tables)).toEqual({
      level: 'notice',
      lasting: true,
      where: '/srv/app.db',
      message:
        'skipped tables that are named like jobs, because no column has a known name for the id or the status: video_jobs (no id and no status); to include one, name its columns in `stores`: [{ database: "/srv/app.db", tables: { "video_jobs": { id: COLUMN, status: COLUMN } } }]',
    });
  });

  it('are listed together', () => {
    const tables = [table('jobs', 'job_no', 'status'), table('tasks', 'id', 'phase')];
    const told = tellUnread('/srv/app.db', tables)?.message;
    expect(told).toContain('jobs (no id), tasks (no status)');
    expect(told).toContain('"TABLE": { id: COLUMN }');
  });

  it.each<[string, readonly StoreTable[], Parameters<typeof tellUnread>[2]]>([
    ['can be read', [good], {}],
    ['are configured', [table('jobs', 'job_no', 'state')], { jobs: { id: 'job_no' } }],
    ['are ignored', [table('jobs', 'job_no', 'state')], { jobs: { ignore: true } }],
    ['belong to Celery', [table('celery_taskmeta', 'task_id', 'state')], {}],
  ])('are not mentioned if they %s', (_, tables, specs) => {
    expect(tellUnread('/srv/app.db', tables, specs)).toBeNull();
  });

  it('nor are other tables', () => {
    expect(tellUnread('/srv/app.db', [table('invoices', 'number', 'state')])).toBeNull();
  });
});
