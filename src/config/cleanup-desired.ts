import { type Bytes, bytes, MiB, type Seconds, seconds } from '../model/units.ts';
import type { StoreSpec } from './stores-input.ts';

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
