import { ConfigError } from '../model/errors.ts';
import { type Bytes, bytes, MiB, type Seconds, seconds } from '../model/units.ts';
import { readAppUser } from './app-user-input.ts';
import type { CleanupValues } from './cleanup-inputs.ts';
import { parseStores, type StoreSpec } from './stores-input.ts';

/** What to do with stuck rows. `finalise`: only finalise parents whose rows have all ended. */
export type CleanUpAction = 'reset' | 'fail' | 'delete' | 'finalise';

/** Which jobs to clean up, and how. */
export interface CleanUpDesired {
  /** A SQLite file on the host, or a `postgresql://` URL; `null`: search for databases. */
  readonly database: string | null;
  /** The app has no tables of jobs: there is nothing to do. */
  readonly noDatabase: boolean;
  /** Job databases as the user describes them; if there are any, no others are searched for. */
  readonly stores: readonly StoreSpec[];
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  /** Who opens the databases on the host; `null`: the user of the unit. */
  readonly appUser: string | null;
  readonly action: CleanUpAction;
  /** Minimum age of the last sign of life of a row and of all rows below it. */
  readonly thresholdSeconds: Seconds;
  /**
   * Only these rows, regardless of their age: full ids or at least their first 8 characters;
   * `table:id` if the id exists in two tables.
   */
  readonly ids: readonly string[];
  /** With `delete` and `ids`: also rows that have ended. */
  readonly deleteCompleted: boolean;
  /** Statuses in which a row can be stuck. */
  readonly statuses: readonly string[];
  /** Also rows whose parent row is gone. */
  readonly orphans: boolean;
  /** Whether the worker and the broker are asked before a row counts as stuck. */
  readonly evidence: 'broker' | 'age';
  /** Time between the two checks, during which a row must not change; 0: no second check. */
  readonly confirmAfterSeconds: Seconds;
  /** A row that has been reset this many times fails. */
  readonly maxResets: number;
  /** IANA name of the zone of timestamps that have none. */
  readonly timeZone: string;
  /** Larger databases are not copied to the runner. */
  readonly snapshotLimitBytes: Bytes;
  /** Copies kept under /var/lib/celeriac/backups for each database. */
  readonly keepBackups: number;
  /** How long to wait while another program has locked the database. */
  readonly busyTimeoutSeconds: Seconds;
  /** A restored backup may replace newer rows. */
  readonly acceptLoss: boolean;
  readonly dryRun: boolean;
  /** Recorded in the rows that are changed. */
  readonly runUrl: string | null;
}

export const cleanUpDefaults = {
  database: null,
  noDatabase: false,
  stores: [],
  unit: 'celery-worker.service',
  appUser: null,
  action: 'fail',
  thresholdSeconds: seconds(1800),
  ids: [],
  deleteCompleted: false,
  statuses: ['processing'],
  orphans: true,
  evidence: 'broker',
  confirmAfterSeconds: seconds(60),
  maxResets: 3,
  timeZone: 'UTC',
  snapshotLimitBytes: bytes(256 * MiB),
  keepBackups: 5,
  busyTimeoutSeconds: seconds(10),
  acceptLoss: false,
  dryRun: false,
  runUrl: null,
} as const satisfies CleanUpDesired;

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
    { because: ['database'] },
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
