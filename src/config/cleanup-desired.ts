import { type Bytes, bytes, MiB, type Seconds, seconds } from '../model/units.ts';

/** What becomes of a stuck row. */
export type CleanUpAction = 'reset' | 'fail' | 'delete';

/** Which jobs are to be cleaned up, and how. */
export interface CleanUpDesired {
  /** Path of the SQLite file on the host; `null`: those below the unit's WorkingDirectory. */
  readonly database: string | null;
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
  unit: 'celery-worker.service',
  action: 'fail',
  thresholdSeconds: seconds(1800),
  ids: [],
  statuses: ['processing'],
  orphans: true,
  snapshotLimitBytes: bytes(256 * MiB),
  keepBackups: 5,
  busyTimeoutSeconds: seconds(10),
  dryRun: false,
  runUrl: null,
} as const satisfies CleanUpDesired;
