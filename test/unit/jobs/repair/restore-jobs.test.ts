import { describe, expect, test } from 'vitest';
import { cleanUpDefaults } from '../../../../src/config/cleanup-desired.ts';
import {
  isTransaction,
  planRestore,
  requireCleanUp,
} from '../../../../src/jobs/repair/restore-jobs.ts';
import { ConfigError } from '../../../../src/model/errors.ts';
import type { StoreFact, TransactionFact } from '../../../../src/model/facts.ts';
import { bytes, epochSeconds } from '../../../../src/model/units.ts';

const store = (path: string): StoreFact => ({
  kind: 'sqlite',
  path,
  file: `1:${path.length}`,
  owner: 'app',
  group: 'app',
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

describe('a backup', () => {
  test('is restored to the only database, or to the given one', () => {
    const only = planRestore('latest', [store('/srv/jobs.db')], cleanUpDefaults);
    expect(only.operations).toMatchObject([
      { op: 'restore-database', database: '/srv/jobs.db', backup: 'latest', keep: 5 },
    ]);
    const named = planRestore('/var/lib/celeriac/backups/jobs-1.db', [store('/srv/a.db')], {
      ...cleanUpDefaults,
      database: '/srv/a.db',
    });
    expect(named.operations).toMatchObject([{ backup: '/var/lib/celeriac/backups/jobs-1.db' }]);
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
    const restore = () => planRestore('latest', stores, { ...cleanUpDefaults, database });
    expect(restore).toThrow(ConfigError);
    expect(restore).toThrow(problem);
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
