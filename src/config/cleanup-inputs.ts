import { ConfigError } from '../model/errors.ts';
import type { CleanupValues } from './action-inputs.ts';
import { readAppUser } from './app-user-input.ts';
import { type CleanUpDesired, cleanUpDefaults } from './cleanup-desired.ts';
import { parseStores, type StoreSpec } from './stores-input.ts';

/**
 * The desired state of cleanup. `runUrl` is recorded in the rows that are changed.
 *
 * @throws ConfigError when `stores` is invalid, or inputs contradict each other
 */
export function cleanUpDesired(inputs: CleanupValues, runUrl: string): CleanUpDesired {
  const { stores, database } = readStores(inputs);
  if (inputs['delete-completed'] && (inputs.action !== 'delete' || inputs.ids.length === 0)) {
    throw new ConfigError(
      'input delete-completed',
      '`delete-completed` needs `action: delete` and `ids`',
      'the `ids` of the jobs to delete, completed or not',
    );
  }
  if (inputs['accept-loss'] && !/^(?:latest$|\/)/.test(inputs.restore)) {
    throw new ConfigError(
      'input accept-loss',
      '`accept-loss` needs `restore` of a backup',
      '`restore: latest`, or the path of a backup',
    );
  }
  refuseEnded(inputs.statuses, stores);
  return {
    ...cleanUpDefaults,
    database,
    noDatabase: inputs.database.none,
    stores,
    unit: inputs.unit,
    appUser: readAppUser(inputs['app-user']),
    action: inputs.action,
    thresholdSeconds: inputs.threshold,
    ids: inputs.ids,
    deleteCompleted: inputs['delete-completed'],
    statuses: inputs.statuses,
    orphans: inputs.orphans,
    evidence: inputs.evidence,
    confirmAfterSeconds: inputs['confirm-after'],
    maxResets: inputs['max-resets'],
    timeZone: inputs.timezone,
    snapshotLimitBytes: inputs['snapshot-limit'],
    keepBackups: inputs['keep-backups'],
    busyTimeoutSeconds: inputs['busy-timeout'],
    acceptLoss: inputs['accept-loss'],
    dryRun: inputs['dry-run'],
    runUrl,
  };
}

/**
 * Where the jobs are.
 *
 * @throws ConfigError when `stores` is invalid, or combined with `database`
 */
export function readStores(
  inputs: Pick<CleanupValues, 'stores' | 'database'>,
): Pick<CleanUpDesired, 'stores' | 'database'> {
  const stores = parseStores(inputs.stores);
  const { path: database, none } = inputs.database;
  if (stores.length === 0 || (database === null && !none)) return { stores, database };
  throw new ConfigError(
    'input stores',
    '`stores` and `database` cannot be combined',
    'one of the two',
  );
}

/** Words of most apps for a status in which nothing more happens. */
const ended: ReadonlySet<string> = new Set(
  'completed complete done finished success succeeded successful partial failed failure fail error errored cancelled canceled aborted revoked'.split(
    ' ',
  ),
);

const own: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled', 'partial']);

/** Statuses in which no job can be stuck; with `words`, an app's own word may mean otherwise. */
function refuseEnded(statuses: readonly string[], stores: readonly StoreSpec[]): void {
  const tables = stores.flatMap(({ tables }) => Object.values(tables));
  const meanings = (status: string): readonly string[] =>
    tables.flatMap(({ words }) => (words && Object.hasOwn(words, status) && words[status]) || []);
  const wrong = statuses.find((status) => {
    const meant = meanings(status);
    if (own.has(status.toLowerCase())) return true;
    return meant.length > 0
      ? meant.every((word) => own.has(word))
      : ended.has(status.toLowerCase());
  });
  if (wrong === undefined) return;
  throw new ConfigError(
    'input statuses',
    `a job in status ${wrong} has ended and cannot be stuck`,
    'statuses of unfinished work, such as processing',
  );
}
