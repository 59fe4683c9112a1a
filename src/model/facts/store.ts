import type { RepairJobs } from '../operation/jobs.ts';
import type { Bytes, EpochSeconds } from '../units.ts';

/** A backup of a SQLite database, and how the database differs from it now. */
export type BackupFact =
  | { readonly kind: 'absent'; readonly known: readonly string[] }
  | {
      readonly kind: 'unknown';
      readonly path: string;
      readonly takenAt: EpochSeconds;
      readonly problem: string;
    }
  | {
      readonly kind: 'compared';
      readonly path: string;
      readonly takenAt: EpochSeconds;
      readonly differences: readonly TableDifference[];
    };

/** Rows of the present that the backup lacks, has otherwise, and rows that only it has. */
export interface TableDifference {
  readonly table: string;
  readonly newer: number;
  readonly changed: number;
  readonly gone: number;
}

export type StoreFact =
  | {
      readonly kind: 'sqlite';
      readonly path: string;
      /** Device and inode: two paths may lead to the same file. */
      readonly file: string;
      readonly owner: string;
      readonly group: string;
      /** The app's user, who opened it. */
      readonly user: string;
      readonly sizeBytes: Bytes;
      readonly tables: readonly StoreTable[];
    }
  | {
      readonly kind: 'postgresql';
      /** The URL, without a password. */
      readonly path: string;
      /** The app's user, who connected to it. */
      readonly user: string;
      readonly tables: readonly StoreTable[];
    }
  | { readonly kind: 'absent'; readonly path: string }
  | { readonly kind: 'unreadable'; readonly path: string; readonly problem: string };

/** Changes to try: in a PostgreSQL database and rolled back, of a SQLite database on a copy. */
export type RehearsalQuery = Pick<
  RepairJobs,
  'database' | 'unit' | 'user' | 'rows' | 'busyTimeoutSeconds'
>;

export interface RehearsalFact {
  /** Why the database rejects the changes. */
  readonly problems: readonly string[];
  /** Rows that were not tried: locked by somebody else, or no longer as seen. */
  readonly skipped: readonly {
    readonly table: string;
    readonly id: string | number;
    readonly group: string;
    readonly why: string;
  }[];
}

export interface StoreTable {
  readonly name: string;
  readonly columns: readonly StoreColumn[];
  readonly foreignKeys: readonly {
    readonly column: string;
    readonly table: string;
    readonly to: string;
  }[];
  /**
   * Distinct values of its status column, from its newest and oldest rows, at most 50. Missing if
   * they were not requested, there is no such column, or it cannot be read.
   */
  readonly statuses?: readonly (string | number)[];
  /** Column → some of its newest values; added on the runner, from its copy. */
  readonly times?: Readonly<Record<string, readonly (string | number)[]>>;
}

export interface StoreColumn {
  readonly name: string;
  /** As declared; of a PostgreSQL domain the type below it. */
  readonly type: string;
  readonly notNull?: boolean;
  /** Its DEFAULT, an SQL expression. */
  readonly default?: string;
  /** The characters that its text may have by a CHECK. */
  readonly longest?: number;
  /** Whether a CHECK demands JSON. */
  readonly json?: boolean;
  /** The only words that it takes, by its enum or a CHECK; missing if nothing says so. */
  readonly labels?: readonly string[];
}
