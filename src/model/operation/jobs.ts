import type { Seconds } from '../units.ts';
import type { AskingTheApp } from './app.ts';
import type { Described } from './described.ts';

/** Copies the database consistently (online backup) to `/var/lib/celeriac/backups`. */
export interface BackupDatabase extends Described {
  readonly op: 'backup-database';
  readonly database: string;
  readonly unit: string;
  /** The app's user, who opens the database. */
  readonly user: string;
  readonly keep: number;
}

export type SqlValue = string | number | null;

export interface RowChange {
  readonly table: string;
  /** The column that identifies the row. */
  readonly key: string;
  /** Its value. */
  readonly id: string | number;
  /** The rows of a group are changed together or, if one of them has changed since, not at all. */
  readonly group: string;
  /** Column values as planned for. */
  readonly seen: Readonly<Record<string, SqlValue>>;
  /** How many rows of other tables referenced it when the plan was made. */
  readonly below?: readonly {
    readonly table: string;
    readonly column: string;
    readonly rows: number;
  }[];
  /** For a row that becomes pending again: the key under which the host counts its resets. */
  readonly reset?: string;
  readonly change:
    | {
        readonly kind: 'update';
        readonly set: Readonly<Record<string, SqlValue>>;
        /** Of these the columns whose text is JSON, where the column's type is. */
        readonly json?: readonly string[];
      }
    | { readonly kind: 'delete' }
    /** Only compared, for the sake of its group. */
    | { readonly kind: 'keep' };
}

/**
 * Changes rows in one transaction, with compare-and-set for each group: as the file's owner
 * (SQLite), or through psql on the host as the unit's user (PostgreSQL). A group is skipped if one
 * of its rows has changed, or if a second check finds that one of its tasks is still owed or held.
 */
export interface RepairJobs extends Described {
  readonly op: 'repair-jobs';
  readonly database: string;
  /** The worker's unit; its environment is used to connect to PostgreSQL. */
  readonly unit: string;
  /** The app's user, who opens the database or connects to it. */
  readonly user: string;
  /** In the order of the changes: children before parents. */
  readonly rows: readonly RowChange[];
  readonly busyTimeoutSeconds: Seconds;
  /** Tasks to ask about again just before the change; `null`: the app cannot be asked. */
  readonly lookAgain: LookAgain | null;
}

/** The tasks that groups of rows wait for. */
export interface LookAgain extends AskingTheApp {
  readonly tasks: readonly AwaitedTask[];
}

export interface AwaitedTask {
  readonly group: string;
  /** `null`: not known, so nobody may hold any task and none may wait. */
  readonly task: string | null;
}

/** Sends tasks by name through the app's Celery, each once, with a given id. */
export interface SendTasks extends Described, AskingTheApp {
  readonly op: 'send-tasks';
  /** The database with the rows of these tasks, and the app's user, who opens it. */
  readonly database: string;
  readonly user: string;
  readonly calls: readonly TaskCall[];
}

export interface TaskCall {
  readonly id: string;
  readonly task: string;
  readonly args: readonly SqlValue[];
  readonly queue: string | null;
  /** Sent only if this column of this row contains the id: the repair may have skipped the row. */
  readonly row: {
    readonly table: string;
    readonly key: string;
    readonly id: string | number;
    readonly column: string;
  };
}

/** Restores a backup of a SQLite database; the current content is backed up first. */
export interface RestoreDatabase extends Described {
  readonly op: 'restore-database';
  readonly database: string;
  readonly unit: string;
  /** The app's user, who opens the database; `null`: the user of the unit. */
  readonly user: string | null;
  /** Its path on the host, or `latest`. */
  readonly backup: string;
  readonly keep: number;
  readonly busyTimeoutSeconds: Seconds;
}
