import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseStores } from '../../../../src/config/stores-input.ts';
import { proposeMapping } from '../../../../src/jobs/tables/mapping.ts';
import type { StoreFact, StoreTable } from '../../../../src/model/facts/store.ts';
import { bytes } from '../../../../src/model/units.ts';
import { databaseLines, openDatabases } from '../../../../src/plan/init/database-lines.ts';

const table = (name: string, columns: string): StoreTable => ({
  name,
  columns: columns.split(' ').map((each) => ({ name: each, type: 'TEXT' })),
  foreignKeys: [],
});

const sqlite = (...tables: readonly StoreTable[]): StoreFact => ({
  kind: 'sqlite',
  path: '/srv/thumbs/thumbs.db',
  file: '1:2',
  owner: 'thumbs',
  group: 'thumbs',
  user: 'thumbs',
  sizeBytes: bytes(4096),
  tables,
});

const renders = table('render_jobs', 'id state created updated task_id error');
const users = table('users', 'id email status');
const isActive = (line: string): boolean => !line.startsWith('#');
/** What a person gets who removes the `#`. */
const sketch = (lines: readonly string[]): string => {
  const from = lines.indexOf('# stores:');
  const to = lines.indexOf('# If none does:');
  return lines
    .slice(from, to)
    .map((line) => line.slice(2))
    .join('\n');
};

describe('a database in which no table is recognised', () => {
  const lines = databaseLines([sqlite(users, renders, table('tags', 'id label'))]);

  test('is a question to the owner, and sets nothing', () => {
    expect(lines.filter(isActive)).toEqual([]);
    expect(lines[0]).toBe(
      '# Does the app keep its jobs in /srv/thumbs/thumbs.db? No table shows by itself that it does:',
    );
    expect(lines.at(-1)).toBe('# database: none');
  });

  test('is explained table by table, the likeliest first', () => {
    expect(lines.filter((line) => line.startsWith('# - '))).toEqual([
      '# - render_jobs: no column has a known name for the status',
      '# - users: not named like a job, and without a column for Celery task ids',
    ]);
  });

  test('has a sketch of `stores` with the columns that are known, which the clean-up takes', () => {
    expect(parse(sketch(lines))).toEqual({
      stores: [
        {
          database: '/srv/thumbs/thumbs.db',
          tables: {
            render_jobs: {
              id: 'id',
              status: 'state',
              created: 'created',
              updated: 'updated',
              error: 'error',
              task: 'task_id',
            },
          },
        },
      ],
    });
    const [store] = parseStores(sketch(lines).replace('stores:\n', ''));
    const [mapped] = proposeMapping('/srv/thumbs/thumbs.db', [renders], store?.tables);
    expect([mapped?.status, mapped?.task]).toEqual(['state', 'task_id']);
  });

  test('names as COLUMN what only the owner knows', () => {
    const unnamed = table('render_jobs', 'nr done task_id');
    expect(parse(sketch(databaseLines([sqlite(unnamed)]))).stores[0].tables.render_jobs).toEqual({
      id: 'COLUMN',
      status: 'COLUMN',
      task: 'task_id',
    });
  });

  test('is none beside one whose tables are', () => {
    const jobs = table('jobs', 'id status celery_task_id created_at');
    const stores = [sqlite(renders), { ...sqlite(jobs), path: '/srv/thumbs/jobs.db' } as StoreFact];
    expect(openDatabases(stores)).toEqual([]);
    expect(databaseLines(stores).filter(isActive)).toEqual(['database: /srv/thumbs/jobs.db']);
  });
});

test.each([
  ['no database', [], 'no sqlite:/// or postgresql:// URL in'],
  ['only tables without a status', [sqlite(table('tags', 'id label'))], 'tags (no column for a st'],
  [
    "only Celery's own",
    [sqlite(table('celery_taskmeta', 'id task_id status result date_done'))],
    'celery_taskmeta (of Celery or a framework)',
  ],
  ['an empty one', [sqlite()], 'it has no tables'],
  [
    'addresses',
    [sqlite(table('customers', 'id city state'))],
    'customers (no column for a status)',
  ],
])('%s: there is nothing to clean up, and the reason is told', (_, stores, why) => {
  const lines = databaseLines(stores);
  expect(lines.filter(isActive)).toEqual(['database: none']);
  expect(lines.join('\n')).toContain(why);
});

test('what cannot be read is told beside what is asked', () => {
  const closed: StoreFact = { kind: 'unreadable', path: '/srv/b.db', problem: 'is locked' };
  const lines = databaseLines([closed, sqlite(renders)]);
  expect(lines.filter(isActive)).toEqual([]);
  expect(lines[0]).toContain('/srv/b.db (is locked)');
  expect(lines.join('\n')).toContain('# - render_jobs: ');
});

test('the name of a table cannot leave its comment', () => {
  const evil = { ...renders, name: 'jobs\nssh-key: x' };
  expect(databaseLines([sqlite(evil)]).filter(isActive)).toEqual([]);
  expect(databaseLines([sqlite(evil)]).join('\n')).not.toMatch(/^ssh-key/m);
});
