import type { SettledTable } from './job-store.ts';
import type { CommitId } from './release.ts';
import type { Bytes, Seconds, Sha256 } from './units.ts';

/**
 * Everything that Celeriac can ever do to a server. Each verb is data, and one small file on the
 * host (`host/celeriac_host/operations/<verb with underscores>.py`) with `check`, `do` and `undo`.
 */
export type Operation =
  | WriteFile
  | RemoveFile
  | SetMode
  | MakeSwap
  | SwapOn
  | SwapOff
  | SetSysctl
  | TryApp
  | VerifyUnit
  | GuardUnit
  | InstallUnit
  | EnableUnit
  | DrainWorker
  | StopUnit
  | SettleJobs
  | RestoreUnacked
  | FindUnacked
  | EndProcess
  | StartUnit
  | ProveUnit
  | FetchCommit
  | CheckoutCode
  | UnpackRelease
  | SwitchRelease
  | PruneReleases
  | InstallDependencies
  | BackupDatabase
  | RepairJobs
  | SendTasks
  | RestoreDatabase;

interface Described {
  /** What it does, for people: one line, no full stop. */
  readonly title: string;
  /** Why: actual against desired, one line. */
  readonly why: string;
  /** A unified diff, where it changes text. */
  readonly diff?: string;
}

/** Writes a whole file, atomically, beside a backup. Parents are made (0755). */
export interface WriteFile extends Described {
  readonly op: 'write-file';
  readonly path: string;
  readonly text: string;
  readonly mode: string;
  /** What the plan saw there; `null`: nothing. Anything else now: refuse, the facts are stale. */
  readonly expects: Sha256 | null;
}

export interface RemoveFile extends Described {
  readonly op: 'remove-file';
  readonly path: string;
  readonly expects: Sha256;
}

/** Mode and owner of a regular file; its content stays. */
export interface SetMode extends Described {
  readonly op: 'set-mode';
  readonly path: string;
  readonly mode: string;
  readonly owner: string;
}

/** A file of this size, without holes, mode 600, formatted by mkswap. Never an active one. */
export interface MakeSwap extends Described, SwapFileMaking {
  readonly op: 'make-swap';
  readonly path: string;
  readonly sizeBytes: Bytes;
  /** The type of the file system that the plan saw there; on any other the host refuses. */
  readonly filesystem: string;
}

/** How a file without holes is made on one kind of file system. */
export interface SwapFileMaking {
  /** `allocate`: fallocate, and zeros are written where that fails; `write`: zeros at once. */
  readonly fill: 'allocate' | 'write';
  /** Switches copy-on-write off for the file, while it is empty. */
  readonly nocow: boolean;
}

export interface SwapOn extends Described {
  readonly op: 'swap-on';
  readonly path: string;
}

export interface SwapOff extends Described {
  readonly op: 'swap-off';
  readonly path: string;
}

export interface SetSysctl extends Described {
  readonly op: 'set-sysctl';
  readonly name: string;
  readonly value: string;
}

/**
 * Imports the app as the worker would (its interpreter, user, directory and environment), in a
 * process of its own, before anything is stopped.
 */
export interface TryApp extends Described {
  readonly op: 'try-app';
  readonly unit: string;
  /** The interpreter and its leading arguments, e.g. `['/usr/bin/python3']`. */
  readonly interpreter: readonly string[];
  /** The value of `-A`. */
  readonly app: string;
  /** Directories put before the module search path. */
  readonly pythonPath: readonly string[];
  /** A release that is not the current one yet: what lies in `from` is looked for in `to`. */
  readonly instead?: { readonly from: string; readonly to: string };
  readonly timeoutSeconds: Seconds;
}

/** `systemd-analyze verify` over the text to be installed; any line on stderr is a finding. */
export interface VerifyUnit extends Described {
  readonly op: 'verify-unit';
  readonly unit: string;
  readonly text: string;
  /** Drop-ins as they will be; one of the same name on the host is not looked at. */
  readonly dropIns?: readonly { readonly name: string; readonly text: string }[];
}

/**
 * Remembers how the unit runs now. Undone last: after everything else was put back, the unit is
 * brought to that state again, with whatever definition is then in place. By the app the consumers
 * of a worker are cancelled before it is stopped or restarted.
 */
export interface GuardUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'guard-unit';
}

/** Writes a unit file or drop-in beside a backup, and has the manager read it (daemon-reload). */
export interface InstallUnit extends Described {
  readonly op: 'install-unit';
  readonly unit: string;
  readonly path: string;
  readonly text: string;
  readonly expects: Sha256 | null;
}

export interface EnableUnit extends Described {
  readonly op: 'enable-unit';
  readonly unit: string;
}

/** A process of the app's own: its interpreter, its user and directory, its Celery. */
export interface ByTheApp {
  readonly unit: string;
  /** The interpreter and its leading arguments, e.g. `['/usr/bin/python3']`. */
  readonly interpreter: readonly string[];
  /** The value of `-A`. */
  readonly app: string;
  /** Directories put before the module search path. */
  readonly pythonPath: readonly string[];
}

/** How the host recognizes workers of an app that its unit does not run, at the moment it looks. */
export interface WorkerSearch {
  /** Where they run; links are followed. */
  readonly directory: string;
  /**
   * A regular expression, read alike by JavaScript and Python, over the arguments of a process, each
   * with a NUL after it.
   */
  readonly command: string;
}

/** A process of the app's own that asks its broker and workers, the other workers included. */
export interface AskingTheApp extends ByTheApp {
  readonly otherWorkers: WorkerSearch;
}

/** An operation whose undo may have to stop or start the unit. */
export interface WithTimedUndo {
  /** How long that may take by the unit's time-outs, and some seconds for systemd to say so. */
  readonly undoTimeoutSeconds: Seconds;
}

/**
 * Has this worker, and no other on its broker, take no more tasks; waits for those that it has. A
 * worker that does not answer is left to the stop, which is warm as well.
 */
export interface DrainWorker extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'drain-worker';
  readonly timeoutSeconds: Seconds;
  /** When the time is up: go on to the stop, fail, or go on waiting while tasks end. */
  readonly policy: 'proceed' | 'abort' | 'wait';
  /** With `wait`: fail once no task has ended for so long. */
  readonly stuckSeconds: Seconds;
}

/**
 * Cancels the consumers of a worker that was not drained, stops the unit and waits until its cgroup
 * is empty.
 */
export interface StopUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'stop-unit';
  readonly timeoutSeconds: Seconds;
}

/**
 * Fails or resets the jobs that the stopped worker left "processing": with nothing in its cgroup,
 * each is orphaned whose message is in no queue, not unacked, and held by no other worker. The
 * host picks them, by the tables given here: before the stop nobody can know them. They are
 * changed as `repair-jobs` does it, after a backup.
 */
export interface SettleJobs extends Described, AskingTheApp {
  readonly op: 'settle-jobs';
  readonly database: string;
  /** Parents before what is below them. */
  readonly tables: readonly SettledTable[];
  readonly action: 'fail' | 'reset';
  /** Stands in the error column of the rows that are failed. */
  readonly message: string;
  /** The same for a parent that ends with them: `{failed}` of `{rows}` rows of `{table}` failed. */
  readonly endMessage: string;
  /** How the rows of one table ended: `{failed} of {rows} {table} failed`; `{ends}` above. */
  readonly endOfTable: string;
  readonly keepBackups: number;
  readonly busyTimeoutSeconds: Seconds;
}

/**
 * Messages that dead workers never acknowledged (Redis), back into their queues; none while another
 * worker uses the broker.
 */
export interface RestoreUnacked extends Described, AskingTheApp {
  readonly op: 'restore-unacked';
}

/** Tells of such messages, and leaves them: Celery restores them when their time-out is over. */
export interface FindUnacked extends Described, ByTheApp {
  readonly op: 'find-unacked';
}

/** TERM, then KILL after the grace, to one process known by pid and start; never by name. */
export interface EndProcess extends Described {
  readonly op: 'end-process';
  readonly pid: number;
  readonly startTicks: number;
  /** Where the plan saw it; a process of another cgroup is not ended. */
  readonly cgroup: string;
  readonly graceSeconds: Seconds;
}

/**
 * `reset-failed`, start, and wait until it is active (for Type=notify: ready). Undone, it is stopped
 * as by stop-unit.
 */
export interface StartUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'start-unit';
  readonly timeoutSeconds: Seconds;
}

/** Proof that the unit runs as asked, for some time. Changes nothing. */
export interface ProveUnit extends Described {
  readonly op: 'prove-unit';
  readonly unit: string;
  /** Property → value exactly as `systemctl show` prints it. */
  readonly properties: Readonly<Record<string, string>>;
  /** Direct children of the main process; `null`: any number. */
  readonly children: number | null;
  /** How long NRestarts and the main pid must stay put. */
  readonly minHealthySeconds: Seconds;
  /** How long to wait for the children to appear. */
  readonly timeoutSeconds: Seconds;
  /** What `systemd-analyze security` said before; where given, the result says it for before and after. */
  readonly exposure?: { readonly before: number | null };
}

/** Takes a commit that was sent as a git bundle into the object store of a checkout. */
export interface FetchCommit extends Described {
  readonly op: 'fetch-commit';
  readonly checkout: string;
  readonly commit: CommitId;
  /** Of the bundle. */
  readonly sha256: Sha256;
}

/** Moves a checkout, and the branch it is on, to a commit that is there. */
export interface CheckoutCode extends Described {
  readonly op: 'checkout-code';
  readonly checkout: string;
  readonly commit: CommitId;
  /** The commit that the plan saw there. */
  readonly expects: CommitId;
  /** Stashes what is in no commit. Without it the plan saw none, and the host refuses any. */
  readonly stash: boolean;
}

/** Unpacks a commit that was sent as an archive to `releases/<commit>`. */
export interface UnpackRelease extends Described {
  readonly op: 'unpack-release';
  readonly deployTo: string;
  readonly commit: CommitId;
  /** Of the archive. */
  readonly sha256: Sha256;
  readonly shared: readonly SharedPath[];
}

/** A path inside each release that is a link to `shared/`. */
export interface SharedPath {
  readonly path: string;
  /** A folder is made when it is not there; a file has to be. */
  readonly folder: boolean;
}

/** Points the link `current` at a release, in one rename. */
export interface SwitchRelease extends Described {
  readonly op: 'switch-release';
  readonly deployTo: string;
  readonly commit: CommitId;
  /** Where the link led when the plan was made; `null`: nowhere. */
  readonly expects: string | null;
}

/** Removes the oldest releases. */
export interface PruneReleases extends Described {
  readonly op: 'prune-releases';
  readonly deployTo: string;
  readonly keep: number;
  /** Never removed: the release before this one. */
  readonly spare: readonly CommitId[];
}

/** Installs a lock file into the virtual environment of the unit's interpreter. */
export type InstallDependencies = Described & {
  readonly op: 'install-dependencies';
  readonly unit: string;
  readonly interpreter: readonly string[];
  readonly tool: 'pip' | 'uv';
  /** Inside the repository. */
  readonly file: string;
  readonly commit: CommitId;
  /** Hash over the lock file and what it includes. */
  readonly lock: string;
  readonly timeoutSeconds: Seconds;
} & ({ readonly checkout: string } | { readonly release: string });

/** A consistent copy (online backup) under `/var/lib/celeriac/backups`, the last `keep` kept. */
export interface BackupDatabase extends Described {
  readonly op: 'backup-database';
  readonly database: string;
  readonly keep: number;
}

export type SqlValue = string | number | null;

export interface RowChange {
  readonly table: string;
  /** The column that names the row. */
  readonly key: string;
  /** Its value. */
  readonly id: string | number;
  /** Rows of one group are changed together or, when one of them is not as seen, not at all. */
  readonly group: string;
  /** The columns as the plan saw them. */
  readonly seen: Readonly<Record<string, SqlValue>>;
  /** How many rows named it in that column of another table when the plan was made. */
  readonly below?: readonly {
    readonly table: string;
    readonly column: string;
    readonly rows: number;
  }[];
  /** It is made pending again: the name under which the host counts how often. */
  readonly reset?: string;
  readonly change:
    | { readonly kind: 'update'; readonly set: Readonly<Record<string, SqlValue>> }
    | { readonly kind: 'delete' }
    /** Only compared: its group is judged by it. */
    | { readonly kind: 'keep' };
}

/**
 * One transaction, compare-and-set group by group: as the file's owner (SQLite), or through the
 * host's psql as the unit's user (PostgreSQL). A group is left alone when one of its rows is not
 * as seen, or, by a second look, one of its tasks is still owed or held.
 */
export interface RepairJobs extends Described {
  readonly op: 'repair-jobs';
  readonly database: string;
  /** The worker's unit; PostgreSQL is reached with its user and environment. */
  readonly unit: string;
  /** In the order in which they are to be changed: children before parents. */
  readonly rows: readonly RowChange[];
  readonly busyTimeoutSeconds: Seconds;
  /** Asked again just before the change; `null`: nobody can be asked. */
  readonly lookAgain: LookAgain | null;
}

/** Which task a group of rows waits for. */
export interface LookAgain extends AskingTheApp {
  readonly tasks: readonly { readonly group: string; readonly task: string }[];
}

/** Calls tasks by their name through the app's own Celery, each once, under a given id. */
export interface SendTasks extends Described, AskingTheApp {
  readonly op: 'send-tasks';
  /** The rows whose tasks are sent; one that is not so in the database is not sent. */
  readonly database: string;
  readonly calls: readonly TaskCall[];
}

export interface TaskCall {
  readonly id: string;
  readonly task: string;
  readonly args: readonly SqlValue[];
  readonly queue: string | null;
  /** Sent only while this row holds the id in that column: the repair may have left it alone. */
  readonly row: {
    readonly table: string;
    readonly key: string;
    readonly id: string | number;
    readonly column: string;
  };
}

/** Puts a backup back in place of what a SQLite database holds now, which is backed up first. */
export interface RestoreDatabase extends Described {
  readonly op: 'restore-database';
  readonly database: string;
  /** Its path on the host, or `latest`. */
  readonly backup: string;
  readonly keep: number;
  readonly busyTimeoutSeconds: Seconds;
}

/** An ordered list; empty when the host is as desired. */
export interface Plan {
  readonly operations: readonly Operation[];
  /** Already so: lines for the report, e.g. `swap: 2 GiB at /swapfile`. */
  readonly satisfied: readonly string[];
  /** Things a person should know, that the plan does not change. */
  readonly findings: readonly Finding[];
}

export interface Finding {
  readonly level: 'notice' | 'warning';
  readonly message: string;
  /** File and line on the host, where there is one. */
  readonly where?: string;
}
