import type { CleanUpDesired } from '../../config/cleanup-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { TransactionFact } from '../../model/facts/ledger.ts';
import type { BackupFact, StoreFact } from '../../model/facts/store.ts';
import type { Plan } from '../../model/operation.ts';
import { formatCount, formatInstant } from '../../model/quantities.ts';
import { jobTablesOf, judgeTables } from '../tables/job-tables.ts';
import { tellRoot } from './root-works.ts';

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
 * The database to restore: the only one, or the given one.
 *
 * @throws ConfigError when the database is ambiguous, or of a kind without backups
 */
export function requireFile(stores: readonly StoreFact[], desired: CleanUpDesired): StoreFact {
  const { database } = desired;
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
  return only;
}

/**
 * Plans to restore a database from a backup. What the app has written since then would be lost: that
 * needs `accept-loss`.
 *
 * @throws ConfigError when there is no such backup, or rows would be lost
 */
export function planRestore(
  store: StoreFact,
  backup: BackupFact,
  restore: string,
  desired: CleanUpDesired,
): Plan {
  const { path } = store;
  if (backup.kind === 'absent') {
    throw new ConfigError(
      'input restore',
      `${restore === 'latest' ? 'no backup' : `${restore} is not a backup`} of ${path}`,
      `one of: ${backup.known.join(', ') || 'none; the host has no backup of it'}`,
    );
  }
  const taken = `${backup.path} (${formatInstant(backup.takenAt)})`;
  const lost = describeLoss(store, backup);
  if (lost !== null && !desired.acceptLoss) {
    throw new ConfigError(
      'input restore',
      `${taken}: ${lost}`,
      'the `transaction` of a clean-up, which restores the rows that it changed and no others; or `accept-loss: true`',
    );
  }
  return {
    operations: [
      {
        op: 'restore-database',
        title: `restore ${path}`,
        why: `from ${taken}, as requested; the current content is backed up first`,
        database: path,
        unit: desired.unit,
        user: desired.appUser,
        backup: backup.path,
        keep: desired.keepBackups,
        busyTimeoutSeconds: desired.busyTimeoutSeconds,
      },
    ],
    satisfied: [],
    findings: [
      ...tellRoot('user' in store ? [store.user] : [], desired),
      ...(lost === null
        ? []
        : [{ level: 'warning', message: `${taken}: ${lost}`, where: path } as const]),
    ],
  };
}

/** What the app has written since the backup; `null`: nothing but changes of jobs. */
function describeLoss(
  store: StoreFact,
  backup: Exclude<BackupFact, { kind: 'absent' }>,
): string | null {
  if (backup.kind === 'unknown') {
    return `the changes since then are unknown: ${backup.problem}`;
  }
  const tables = store.kind === 'sqlite' ? store.tables : [];
  const jobs = new Set(jobTablesOf(judgeTables(tables)).map(({ name }) => name));
  const lost = backup.differences.filter(({ table, newer }) => newer > 0 || !jobs.has(table));
  if (lost.length === 0) return null;
  const told = lost.map(({ table, newer, changed, gone }) => {
    const parts = [
      newer > 0 ? `${formatCount(newer, 'row')} newer` : null,
      changed > 0 ? `${formatCount(changed, 'row')} changed` : null,
      gone > 0 ? `${formatCount(gone, 'row')} removed` : null,
    ];
    return `${table} (${parts.filter((part) => part !== null).join(', ')})`;
  });
  return `changes since then would be lost: ${told.join(', ')}`;
}
