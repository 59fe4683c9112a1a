import { describe, expect, test } from 'vitest';
import { type CleanUpDesired, cleanUpDefaults } from '../../../../src/config/cleanup-desired.ts';
import {
  isTransaction,
  planRestore,
  requireCleanUp,
  requireFile,
} from '../../../../src/jobs/repair/restore-jobs.ts';
import { ConfigError } from '../../../../src/model/errors.ts';
import type { TransactionFact } from '../../../../src/model/facts/ledger.ts';
import type {
  BackupFact,
  StoreFact,
  StoreTable,
  TableDifference,
} from '../../../../src/model/facts/store.ts';
import { bytes, epochSeconds } from '../../../../src/model/units.ts';

const store = (path: string): StoreFact => ({
  kind: 'sqlite',
  path,
  file: `1:${path.length}`,
  owner: 'app',
  group: 'app',
  user: 'app',
  sizeBytes: bytes(1),
  tables: [],
});

const transaction = (changes: Partial<TransactionFact>): TransactionFact => ({
  id: '20261122T131500-4f2a',
  action: 'cleanup',
  holder: 'someone',
  startedAt: epochSeconds(1),
  state: 'committed',
  undoneBy: '',
  undoneWhy: '',
  ...changes,
});

const jobs: StoreTable = {
  name: 'jobs',
  columns: ['id', 'status', 'celery_task_id', 'created_at'].map((name) => ({ name, type: 'TEXT' })),
  foreignKeys: [],
  statuses: ['processing'],
};
const path = '/var/lib/celeriac/backups/jobs-0a1b2c-20261128T100000Z.db';
const compared = (...differences: TableDifference[]): BackupFact => ({
  kind: 'compared',
  path,
  takenAt: epochSeconds(1_795_860_000),
  differences,
});
const differ = (table: string, more: Partial<TableDifference>): TableDifference => ({
  table,
  newer: 0,
  changed: 0,
  gone: 0,
  ...more,
});
const planned = (backup: BackupFact, more: Partial<CleanUpDesired> = {}) =>
  planRestore({ ...store('/srv/jobs.db'), tables: [jobs] } as StoreFact, backup, 'latest', {
    ...cleanUpDefaults,
    ...more,
  });

describe('a backup', () => {
  test('is restored to the only database, or to the given one', () => {
    expect(requireFile([store('/srv/jobs.db')], cleanUpDefaults).path).toBe('/srv/jobs.db');
    const named = { ...cleanUpDefaults, database: '/srv/a.db' };
    expect(requireFile([store('/srv/a.db')], named).path).toBe('/srv/a.db');
  });

  test.each<[string, StoreFact[], string | null, string]>([
    ['none', [], null, 'no SQLite file found'],
    [
      'two',
      [store('/srv/a.db'), store('/srv/bb.db')],
      null,
      'several databases: /srv/a.db, /srv/bb.db',
    ],
    ['PostgreSQL', [], 'postgresql://app@127.0.0.1/jobs', 'is not a file'],
  ])('for %s is an error that says what is missing', (_, stores, database, problem) => {
    const find = () => requireFile(stores, { ...cleanUpDefaults, database });
    expect(find).toThrow(ConfigError);
    expect(find).toThrow(problem);
  });

  test('is restored if only jobs have changed since', () => {
    const { operations, findings } = planned(compared(differ('jobs', { changed: 2, gone: 1 })));
    expect(operations).toMatchObject([{ op: 'restore-database', backup: path, keep: 5 }]);
    expect(findings).toEqual([]);
  });

  test.each<[string, BackupFact, RegExp]>([
    ['newer jobs', compared(differ('jobs', { newer: 3 })), /jobs \(3 rows newer\)/],
    [
      'changes in other tables',
      compared(differ('jobs', { changed: 1 }), differ('orders', { newer: 1, changed: 2, gone: 3 })),
      /lost: orders \(1 row newer, 2 rows changed, 3 rows removed\)$/,
    ],
    [
      'a damaged database',
      { kind: 'unknown', path, takenAt: epochSeconds(1), problem: 'it is damaged' },
      /are unknown: it is damaged/,
    ],
  ])('that would lose %s is refused, unless the loss is accepted', (_, backup, problem) => {
    expect(() => planned(backup)).toThrow(ConfigError);
    expect(() => planned(backup)).toThrow(problem);
    const { operations, findings } = planned(backup, { acceptLoss: true });
    expect(operations).toHaveLength(1);
    expect(findings).toMatchObject([{ level: 'warning', message: expect.stringMatching(problem) }]);
  });

  test('that the host does not have is refused with those that it has', () => {
    const absent = { kind: 'absent', known: [path] } as const;
    expect(() => planned(absent)).toThrow('no backup of /srv/jobs.db');
  });
});

describe('a clean-up', () => {
  test('is distinguished from a backup by its name', () => {
    expect(isTransaction('20261122T131500-4f2a')).toBe(true);
    expect(isTransaction('latest')).toBe(false);
    expect(isTransaction('/var/lib/celeriac/backups/20261122T131500-4f2a')).toBe(false);
  });

  test('can be undone if the host has it on record as committed', () => {
    const { id } = transaction({});
    expect(requireCleanUp(id, [transaction({})]).id).toBe(id);
    const deploy = transaction({ action: 'deploy-worker' });
    expect(() => requireCleanUp(id, [deploy])).toThrow(`no clean-up ${id} on the host`);
    const undone = transaction({ state: 'undone' });
    expect(() => requireCleanUp(id, [undone])).toThrow(`${id} is undone, not committed`);
  });
});
