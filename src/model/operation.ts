import type { CommitId } from './release.ts';
import type { SoakThresholds } from './soak.ts';
import type { Bytes, Seconds, Sha256 } from './units.ts';

/**
 * Everything that Celeriac can change on a host. Each operation is data here, and one small file of
 * the agent (`host/celeriac_host/operations/<op_with_underscores>.py`) with `check`, `do`, `undo`.
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
  | GuardCompanion
  | RestartCompanion
  | RunCommand
  | InstallUnit
  | EnableUnit
  | StartSampler
  | StopSampler
  | DrainWorker
  | StopUnit
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
  | RestoreDatabase
  | CreateUser
  | RemoveUser
  | RemoveFolder
  | InstallAgent
  | InstallSudoers
  | ProveAgent;

interface Described {
  /** What it does, for people: one line, no full stop. */
  readonly title: string;
  /** Why it is needed, one line: the actual and the desired state. */
  readonly why: string;
  /** A unified diff, if it changes text. */
  readonly diff?: string;
}

/** Replaces a file atomically, after a backup. Creates missing parent folders (0755). */
export interface WriteFile extends Described {
  readonly op: 'write-file';
  readonly path: string;
  readonly text: string;
  readonly mode: string;
  /** The file as planned for; `null`: absent. If it has changed since, the operation fails. */
  readonly expects: Sha256 | null;
}

export interface RemoveFile extends Described {
  readonly op: 'remove-file';
  readonly path: string;
  readonly expects: Sha256;
}

/** Sets the mode and owner of a regular file. */
export interface SetMode extends Described {
  readonly op: 'set-mode';
  readonly path: string;
  readonly mode: string;
  readonly owner: string;
}

/** Creates a swap file without holes, mode 600, formatted by mkswap; never changes active swap. */
export interface MakeSwap extends Described, SwapFileMaking {
  readonly op: 'make-swap';
  readonly path: string;
  readonly sizeBytes: Bytes;
  /** The type of the file system as planned for; on any other the operation fails. */
  readonly filesystem: string;
}

/** How to create a file without holes on a type of file system. */
export interface SwapFileMaking {
  /** `allocate`: fallocate, or writing zeros if that fails; `write`: writing zeros. */
  readonly fill: 'allocate' | 'write';
  /** Disables copy-on-write for the file while it is empty. */
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
 * Imports the app in a separate process as the worker would, before anything is stopped: with the
 * interpreter and the variables of its command line, its user, its directory, and the environment
 * that systemd gives it; nothing is added.
 */
export interface TryApp extends Described {
  readonly op: 'try-app';
  readonly unit: string;
  /** The interpreter and its leading arguments, e.g. `['/usr/bin/python3']`. */
  readonly interpreter: readonly string[];
  /** The value of `-A`. */
  readonly app: string;
  /** Further modules to import, as the worker does (`-I`). */
  readonly modules: readonly string[];
  /** Where the worker changes to (`--workdir`, `cd`); `null`: it stays in the unit's directory. */
  readonly directory: string | null;
  /** For a code folder that is not current yet: paths in `from` are replaced by paths in `to`. */
  readonly instead?: { readonly from: string; readonly to: string };
  /** Words that variables of the unit's environment must not contain; absent: any may. */
  readonly unwanted?: {
    readonly variables: readonly string[];
    readonly words: readonly string[];
    /** What they lead to, and what to do. */
    readonly why: string;
    readonly fix: string;
  };
  /** What the app's visibility timeout is compared with; absent: with nothing. */
  readonly visibility?: {
    readonly atLeastSeconds: Seconds;
    /** Whether a shorter one fails this step; otherwise it is reported. */
    readonly refuse: boolean;
    /** What a shorter one leads to, and what to do. */
    readonly why: string;
    readonly fix: string;
  };
  readonly timeoutSeconds: Seconds;
}

/** Runs `systemd-analyze verify` on the text to install; any line on stderr is a finding. */
export interface VerifyUnit extends Described {
  readonly op: 'verify-unit';
  readonly unit: string;
  readonly text: string;
  /** Drop-ins as they will be; they replace those of the same name on the host. */
  readonly dropIns?: readonly { readonly name: string; readonly text: string }[];
}

/**
 * Records the current state of the unit. It is undone last: once everything else is undone, the
 * unit returns to that state, with the definition that is then in place. Before a worker is stopped
 * or restarted, its consumers are cancelled through the app.
 */
export interface GuardUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'guard-unit';
  /** How long its undo watches the worker before it says that it serves again. */
  readonly minHealthySeconds?: Seconds;
}

/** Writes a unit file or drop-in, after a backup, and reloads systemd (daemon-reload). */
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

/** Has the host take a sample of the unit every minute until its release is proven or undone. */
export interface StartSampler extends Described {
  readonly op: 'start-sampler';
  readonly unit: string;
  /** On each of their file systems the room is watched; at most 20. */
  readonly paths: readonly string[];
  /** How long the release must run without failure: the host remembers it for whoever judges. */
  readonly soakSeconds: Seconds;
  /** The same for what fails it; absent: up to whoever judges. */
  readonly limits?: SoakThresholds;
}

/** Ends it before that: the release that comes is not to be soaked. */
export interface StopSampler extends Described {
  readonly op: 'stop-sampler';
  readonly unit: string;
}

/** How to start a process that imports the app: as the unit does, with its user and directory. */
export interface ByTheApp {
  readonly unit: string;
  /** The interpreter and its leading arguments, e.g. `['/usr/bin/python3']`. */
  readonly interpreter: readonly string[];
  /** The value of `-A`. */
  readonly app: string;
  /** Directories to prepend to the module search path. */
  readonly pythonPath: readonly string[];
}

/** How the host recognizes workers of the app that run outside the unit. */
export interface WorkerSearch {
  /** Their working directory; symbolic links are resolved. */
  readonly directory: string;
  /**
   * A regular expression with the same meaning in JavaScript and Python, for the arguments of a
   * process, each followed by a NUL.
   */
  readonly command: string;
}

/** How to ask the app's broker and workers, including workers outside the unit. */
export interface AskingTheApp extends ByTheApp {
  readonly otherWorkers: WorkerSearch;
}

/** An operation whose undo may have to stop or start the unit. */
export interface WithTimedUndo {
  /** The unit's time-outs for that, and some seconds for systemd to report the result. */
  readonly undoTimeoutSeconds: Seconds;
}

/**
 * Stops this worker, and no other on its broker, from consuming, and waits for its running tasks. A
 * worker that does not answer is not drained; the stop that follows is a warm shutdown, too.
 */
export interface DrainWorker extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'drain-worker';
  readonly timeoutSeconds: Seconds;
  /** After the time-out: stop the worker, fail, or continue to wait as long as tasks finish. */
  readonly policy: 'proceed' | 'abort' | 'wait';
  /** With `wait`: fail once no task has finished for this long. */
  readonly stuckSeconds: Seconds;
}

/**
 * Cancels the consumers of a worker that was not drained, stops the unit, and waits until its
 * cgroup is empty.
 */
export interface StopUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'stop-unit';
  readonly timeoutSeconds: Seconds;
}

/**
 * Returns messages that dead workers never acknowledged to their queues (Redis). Does nothing while
 * another worker uses the broker.
 */
export interface RestoreUnacked extends Described, AskingTheApp {
  readonly op: 'restore-unacked';
}

/** Reports such messages. Celery itself restores them after the visibility timeout. */
export interface FindUnacked extends Described, ByTheApp {
  readonly op: 'find-unacked';
}

/**
 * Cancels the consumers of workers outside the unit, by their app; then sends TERM to all of them, and
 * KILL after the grace period to those that are left. One grace period for all.
 */
export interface EndProcess extends Described, ByTheApp {
  readonly op: 'end-process';
  /** The unit's user; processes of others are refused. */
  readonly user: string;
  readonly processes: readonly EndedProcess[];
  readonly graceSeconds: Seconds;
}

/** A process, identified by pid and start time. */
export interface EndedProcess {
  readonly pid: number;
  readonly startTicks: number;
  /** Its cgroup as planned for; a process in any other cgroup is refused. */
  readonly cgroup: string;
}

/**
 * `reset-failed`, start, and wait until it is active (with Type=notify: ready). The undo stops it
 * as stop-unit does.
 */
export interface StartUnit extends Described, ByTheApp, WithTimedUndo {
  readonly op: 'start-unit';
  readonly timeoutSeconds: Seconds;
}

/** Checks that the unit runs as desired for some time. Changes nothing. */
export interface ProveUnit extends Described {
  readonly op: 'prove-unit';
  readonly unit: string;
  /** Property → expected value, exactly as `systemctl show` prints it. */
  readonly properties: Readonly<Record<string, string>>;
  /** Expected number of direct children of the main process; `null`: any. */
  readonly children: number | null;
  /** How long NRestarts and the main pid must not change. */
  readonly minHealthySeconds: Seconds;
  /** How long to wait for the children to appear. */
  readonly timeoutSeconds: Seconds;
  /** The exposure from `systemd-analyze security` before; if given, the result compares both. */
  readonly exposure?: { readonly before: number | null };
}

/** How a unit beside the worker gets new code: `reload` runs its `ExecReload=`. */
export type Renewal = 'restart' | 'reload';

/**
 * Records the state of a unit that runs the app's code beside the worker. Undone after the code is
 * restored: a unit that was restarted or reloaded meanwhile is once more.
 */
export interface GuardCompanion extends Described {
  readonly op: 'guard-companion';
  readonly unit: string;
  readonly how: Renewal;
  /** It runs beat: its old process must have ended before the next one starts. */
  readonly onlyOnce: boolean;
  /** How long it must run without a restart. */
  readonly minHealthySeconds: Seconds;
  readonly timeoutSeconds: Seconds;
}

/** Has such a unit load the new code, watches it, and asks its URL. One that rests is not started. */
export interface RestartCompanion extends Described {
  readonly op: 'restart-companion';
  readonly unit: string;
  readonly how: Renewal;
  readonly onlyOnce: boolean;
  readonly minHealthySeconds: Seconds;
  /** For the stop, and for the start. */
  readonly timeoutSeconds: Seconds;
  /** How long until the URL must answer. */
  readonly urlTimeoutSeconds: Seconds;
  /** It must answer with a status from 200 to 399; `null`: it is not asked. */
  readonly url: string | null;
}

/**
 * Runs a command of the app, such as a migration, with the user, the directory and the environment of
 * the unit. Its output is reported. What it did is never undone.
 */
export interface RunCommand extends Described {
  readonly op: 'run-command';
  readonly unit: string;
  /** The Python of the worker; `python` in `argv` stands for it. */
  readonly interpreter: readonly string[];
  /** Without a shell. */
  readonly argv: readonly string[];
  /** For a code folder that is not current yet: paths in `from` are replaced by paths in `to`. */
  readonly instead?: { readonly from: string; readonly to: string };
  readonly timeoutSeconds: Seconds;
}

/** An operation on files of the app: by a process of the app's user, who must own them. */
export interface AsTheAppUser {
  /** The `User=` of the unit, or the one that the workflow names. */
  readonly user: string;
}

/** Adds a commit that was sent as a Git bundle to the object store of a checkout. */
export interface FetchCommit extends Described, AsTheAppUser {
  readonly op: 'fetch-commit';
  readonly checkout: string;
  readonly commit: CommitId;
  /** Hash of the bundle. */
  readonly sha256: Sha256;
}

/** Moves a checkout, and its current branch, to a commit in its object store. */
export interface CheckoutCode extends Described, AsTheAppUser {
  readonly op: 'checkout-code';
  readonly checkout: string;
  readonly commit: CommitId;
  /** HEAD as planned for. */
  readonly expects: CommitId;
  /** Stashes uncommitted changes. If false, any uncommitted change makes the operation fail. */
  readonly stash: boolean;
}

/** Unpacks a commit that was sent as an archive into `releases/<commit>`. */
export interface UnpackRelease extends Described, AsTheAppUser {
  readonly op: 'unpack-release';
  readonly deployTo: string;
  readonly commit: CommitId;
  /** Hash of the archive. */
  readonly sha256: Sha256;
  readonly shared: readonly SharedPath[];
}

/** A path in each code folder that is a link into `shared/`. */
export interface SharedPath {
  readonly path: string;
  /** A missing folder is created; a missing file is an error. */
  readonly folder: boolean;
}

/** Points the link `current` at a code folder, in one rename. */
export interface SwitchRelease extends Described, AsTheAppUser {
  readonly op: 'switch-release';
  readonly deployTo: string;
  readonly commit: CommitId;
  /** Target of the link as planned for; `null`: no link. */
  readonly expects: string | null;
}

/** Removes the oldest code folders. */
export interface PruneReleases extends Described, AsTheAppUser {
  readonly op: 'prune-releases';
  readonly deployTo: string;
  readonly keep: number;
  /** Never removed: the code folder of the previous commit. */
  readonly spare: readonly CommitId[];
}

/** Installs a lock file into the virtual environment of the unit's interpreter. */
export type InstallDependencies = Described &
  AsTheAppUser & {
    readonly op: 'install-dependencies';
    readonly unit: string;
    readonly interpreter: readonly string[];
    readonly tool: 'pip' | 'uv';
    /** Path in the repository. */
    readonly file: string;
    readonly commit: CommitId;
    /** Hash over the lock file and what it includes. */
    readonly lock: string;
    readonly timeoutSeconds: Seconds;
  } & ({ readonly checkout: string } | { readonly release: string });

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

/** Adds a system user that only a key lets in; its home stays root's. */
export interface CreateUser extends Described {
  readonly op: 'create-user';
  readonly user: string;
  readonly home: string;
}

/** Removes a user that create-user added, and its empty home. */
export interface RemoveUser extends Described {
  readonly op: 'remove-user';
  readonly user: string;
}

/** Removes a folder if it is empty. */
export interface RemoveFolder extends Described {
  readonly op: 'remove-folder';
  readonly path: string;
}

/** Writes the agent that carries this out to the host, as a program (0755, root). */
export interface InstallAgent extends Described {
  readonly op: 'install-agent';
  readonly path: string;
  /** That of the agent, as planned for. */
  readonly version: string;
  /** The Python that runs it. */
  readonly python: string;
  readonly expects: Sha256 | null;
}

/** Writes a file of /etc/sudoers.d (0440), which visudo checks before and after. */
export interface InstallSudoers extends Described {
  readonly op: 'install-sudoers';
  readonly path: string;
  readonly text: string;
  readonly expects: Sha256 | null;
}

/** Starts the installed agent as its user will, and checks its hello. Changes nothing. */
export interface ProveAgent extends Described {
  readonly op: 'prove-agent';
  readonly user: string;
  readonly path: string;
  readonly version: string;
  readonly access: 'change' | 'read';
}

/** An ordered list of operations; empty if the host is as desired. */
export interface Plan {
  readonly operations: readonly Operation[];
  /** What is already as desired, e.g. `swap: 2 GiB at /swapfile`. */
  readonly satisfied: readonly string[];
  /** What people should know and the plan does not change. */
  readonly findings: readonly Finding[];
  /** Rows that look stuck, and that the plan skips. */
  readonly skippedRows?: number;
  /** What is not as desired and cannot be changed on this host: `swap`; findings say why. */
  readonly unmet?: readonly string[];
}

export interface Finding {
  readonly level: 'notice' | 'warning';
  readonly message: string;
  /** File and line on the host, if there is one. */
  readonly where?: string;
  /** The title of a fault that a person has accepted: not told again while nothing changes about it. */
  readonly accepted?: string;
  /** A lasting state of the host: later runs fold it away while nothing changes about it. */
  readonly lasting?: true;
}
