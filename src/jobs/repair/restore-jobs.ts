import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { StoreFact, TransactionFact } from '../../model/facts.ts';
import type { Plan } from '../../model/operation.ts';

/** Whether `restore` names a transaction, not a backup. */
export const isTransaction = (restore: string): boolean => /^[0-9]{8}T[0-9]{6}-/.test(restore);

/**
 * The clean-up whose rows are to be put back.
 *
 * @throws ConfigError when the host remembers no such clean-up, or it is undone already
 */
export function requireCleanUp(
  restore: string,
  transactions: readonly TransactionFact[],
): TransactionFact {
  const known = transactions.filter(({ action }) => action === 'cleanup');
  const found = known.find(({ id }) => id === restore);
  const standing = known.filter(({ state }) => state === 'committed').map(({ id }) => id);
  const expected = `one of: ${standing.slice(-10).join(', ') || 'none; the host remembers no clean-up that stands'}`;
  if (found === undefined) {
    throw new ConfigError('input restore', `the host knows no clean-up ${restore}`, expected);
  }
  if (found.state !== 'committed') {
    throw new ConfigError('input restore', `${restore} is ${found.state}, not committed`, expected);
  }
  return found;
}

/**
 * A backup in place of what a database holds now.
 *
 * @throws ConfigError when it is not known which database, or it is none that has backups
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
      `${database} is no file: its backups are not Celeriac's`,
      'the `transaction` of a clean-up, which puts its rows back',
    );
  }
  if (only === undefined || (database === null && files.length > 1)) {
    throw new ConfigError(
      'input database',
      only === undefined
        ? `no SQLite file was found below the WorkingDirectory of ${desired.unit}`
        : `which database is to be restored is not said: there are ${files.map(({ path }) => path).join(', ')}`,
      'the path of the database that is to be restored',
    );
  }
  const what = restore === 'latest' ? 'its newest backup' : restore;
  return {
    operations: [
      {
        op: 'restore-database',
        title: `Restore ${only.path}`,
        why: `to ${what}, as asked; what it holds now is backed up first`,
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
