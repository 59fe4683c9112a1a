import { type Bytes, bytes, MiB, type Seconds, seconds } from '../model/units.ts';
import type { StoreSpec } from './stores-input.ts';

/** What becomes of a stuck row. `finalise`: only those parents end whose rows all have. */
export type CleanUpAction = 'reset' | 'fail' | 'delete' | 'finalise';

/** Which jobs are to be cleaned up, and how. */
export interface CleanUpDesired {
  /** A SQLite file on the host, or a `postgresql://` URL; `null`: those that are found. */
  readonly database: string | null;
  /** What a person says of job databases; where there are any, no others are looked for. */
  readonly stores: readonly StoreSpec[];
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly action: CleanUpAction;
  /** How old the last sign of life of a row, and of all below it, must be. */
  readonly thresholdSeconds: Seconds;
  /**
   * Only these rows, whatever their age: whole ids, or their first 8 characters or more;
   * `table:id` where two tables hold the same id.
   */
  readonly ids: readonly string[];
  /** Statuses in which a row can be stuck. */
  readonly statuses: readonly string[];
  /** Also rows whose parent is gone. */
  readonly orphans: boolean;
  /** Whether the worker and the broker are asked before a row is called dead. */
  readonly evidence: 'broker' | 'age';
  /** From the look to the change, in which nothing may have moved; 0: none. */
  readonly confirmAfterSeconds: Seconds;
  /** A row that was reset so often fails. */
  readonly maxResets: number;
  /** IANA name of the zone of times that name none. */
  readonly timeZone: string;
  /** Larger databases are not copied to the runner. */
  readonly snapshotLimitBytes: Bytes;
  /** Copies kept under /var/lib/celeriac/backups for each database. */
  readonly keepBackups: number;
  /** How long to wait while another program holds the database locked. */
  readonly busyTimeoutSeconds: Seconds;
  readonly dryRun: boolean;
  /** Named in the rows that are changed. */
  readonly runUrl: string | null;
}

export const cleanUpDefaults = {
  database: null,
  stores: [],
  unit: 'celery-worker.service',
  action: 'fail',
  thresholdSeconds: seconds(1800),
  ids: [],
  statuses: ['processing'],
  orphans: true,
  evidence: 'broker',
  confirmAfterSeconds: seconds(60),
  maxResets: 3,
  timeZone: 'UTC',
  snapshotLimitBytes: bytes(256 * MiB),
  keepBackups: 5,
  busyTimeoutSeconds: seconds(10),
  dryRun: false,
  runUrl: null,
} as const satisfies CleanUpDesired;
