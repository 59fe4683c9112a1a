import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { StoreFact, TransactionFact } from '../../model/facts.ts';
import type { Plan } from '../../model/operation.ts';

/** Whether `restore` is a transaction, not a backup. */
export const isTransaction = (restore: string): boolean => /^[0-9]{8}T[0-9]{6}-/.test(restore);

/**
 * The clean-up to undo.
 *
 * @throws ConfigError when the host has no such clean-up, or it is already undone
 */
export function requireCleanUp(
  restore: string,
  transactions: readonly TransactionFact[],
): TransactionFact {
  const known = transactions.filter(({ action }) => action === 'cleanup');
  const found = known.find(({ id }) => id === restore);
  const standing = known.filter(({ state }) => state === 'committed').map(({ id }) => id);
  const expected = `one of: ${standing.slice(-10).join(', ') || 'none; the host has no clean-up that can be undone'}`;
  if (found === undefined) {
    throw new ConfigError('input restore', `no clean-up ${restore} on the host`, expected);
  }
  if (found.state !== 'committed') {
    throw new ConfigError('input restore', `${restore} is ${found.state}, not committed`, expected);
  }
  return found;
}

/**
 * Plans to restore a database from a backup.
 *
 * @throws ConfigError when the database is ambiguous, or of a kind without backups
 */
export function planRestore(
  restore: string,
  stores: readonly StoreFact[],
  desired: CleanUpDesired,
): Plan {
  const { database, busyTimeoutSeconds, keepBackups } = desired;
  const files = stores.filter((fact) => fact.kind !== 'postgresql');
  const [only] = files;
  if (database?.includes('://')) {
    throw new ConfigError(
      'input restore',
      `${database} is not a file, and Celeriac does not back it up`,
      'the `transaction` of a clean-up, to restore its rows',
    );
  }
  if (only === undefined || (database === null && files.length > 1)) {
    throw new ConfigError(
      'input database',
      only === undefined
        ? `no SQLite file found below the WorkingDirectory of ${desired.unit}`
        : `there are several databases: ${files.map(({ path }) => path).join(', ')}`,
      'the path of the database to restore',
    );
  }
  const what = restore === 'latest' ? 'its newest backup' : restore;
  return {
    operations: [
      {
        op: 'restore-database',
        title: `restore ${only.path}`,
        why: `from ${what}, as requested; the current content is backed up first`,
        database: only.path,
        backup: restore,
        keep: keepBackups,
        busyTimeoutSeconds,
      },
    ],
    satisfied: [],
    findings: [],
  };
}
