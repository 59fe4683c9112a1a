import type { HardeningFact, HardeningQuery } from './hardening.ts';
import type { AskingTheApp, ByTheApp, RepairJobs, WorkerSearch } from './operation.ts';
import type { NotOwnTree, ReleaseFact, ReleaseQuery } from './release.ts';
import type { SamplesFact, SamplesQuery, SamplingFact } from './sample.ts';
import type { ReleaseState, SoakFigures } from './soak.ts';
import type { Bytes, EpochSeconds, Seconds, Sha256 } from './units.ts';

/**
 * The state of the host. A query names the facts to read, each with its arguments; the agent
 * answers all of them in one message. The types match the protocol: JSON, camelCase.
 */
export interface FactArguments {
  readonly host: Record<string, never>;
  readonly files: { readonly paths: readonly string[] };
  readonly swap: { readonly path: string };
  readonly sysctl: { readonly names: readonly string[] };
  /** What the present release proved of the unit. */
  readonly settings: { readonly unit: string };
  /** File systems that the app of a unit writes to, and those of the given paths. */
  readonly room: { readonly unit: string; readonly paths: readonly string[] };
  /** How long processes waited for memory and I/O. */
  readonly pressure: { readonly unit: string };
  readonly unit: {
    readonly name: string;
    /** Whether to run `systemd-analyze security`, which takes a second. */
    readonly exposure?: boolean;
    /** Paths that `programs` of the answer describes, too. */
    readonly programs?: readonly string[];
  };
  /** Processes whose arguments match, in any cgroup; see WorkerSearch. */
  readonly workers: Pick<WorkerSearch, 'command'>;
  /** The newest Python source below the unit's WorkingDirectory. */
  readonly code: { readonly unit: string };
  readonly journal: JournalQuery;
  readonly logged: LoggedQuery;
  readonly kernel: { readonly unit: string };
  /** What bounds the memory of a unit, and of the services beside it. */
  readonly limits: { readonly unit: string };
  /** Runs a command of the app once, as its unit would. */
  readonly command: CommandQuery;
  readonly http: { readonly probes: readonly HttpProbe[] };
  /**
   * Job databases: the given ones (paths of SQLite files, `postgresql://` URLs), or those found
   * below the unit's WorkingDirectory and in its environment.
   */
  readonly stores: {
    readonly unit: string;
    /** `null`: search for them. */
    readonly databases: readonly string[] | null;
    /** Who opens them on the host; `null`: the user of the unit. */
    readonly user: string | null;
    /** For the first of these that a table has, the answer contains its distinct values. */
    readonly statusColumns?: readonly string[];
  };
  readonly tasks: TasksQuery;
  readonly consuming: ConsumingQuery;
  readonly broker: BrokerQuery;
  /** Celery's beats, of any app: services and processes whose command matches. */
  readonly beats: Pick<WorkerSearch, 'command'>;
  readonly unacked: ByTheApp;
  readonly resets: { readonly database: string };
  /** `backup`: a path, or `latest`. */
  readonly backup: {
    readonly database: string;
    readonly backup: string;
    readonly unit: string;
    /** `null`: the user of the unit. */
    readonly user: string | null;
  };
  readonly rehearsal: RehearsalQuery;
  readonly past: Record<string, never>;
  readonly transactions: { readonly unit?: string };
  /** Newest first. */
  readonly undoing: { readonly transactions: readonly string[] };
  readonly releases: { readonly unit: string };
  readonly release: ReleaseQuery;
  readonly environment: {
    readonly unit: string;
    /** The app's, who would install into it. */
    readonly user: string;
    readonly interpreter: readonly string[];
  };
  /** Units that run code of the app beside its worker. */
  readonly companions: CompanionsQuery;
  readonly hardening: HardeningQuery;
  /** Services whose command matches, whether they are loaded or not; see WorkerSearch. */
  readonly services: Pick<WorkerSearch, 'command'>;
  /** How processes were started. */
  readonly starts: { readonly pids: readonly number[] };
  readonly samples: SamplesQuery;
  readonly sampling: { readonly unit: string };
}

export interface FactAnswers {
  readonly host: HostFact;
  readonly files: Readonly<Record<string, FileFact>>;
  readonly swap: SwapFact;
  readonly sysctl: SysctlFact;
  readonly settings: SettingsFact | null;
  readonly room: readonly FileSystemRoom[];
  readonly pressure: PressureFact;
  readonly unit: UnitFact;
  readonly workers: readonly WorkerProcess[];
  readonly code: CodeFact;
  readonly journal: JournalFact;
  readonly logged: LoggedFact;
  readonly kernel: KernelFact;
  readonly limits: LimitsFact;
  readonly command: CommandFact;
  readonly http: readonly HttpAnswer[];
  readonly stores: readonly StoreFact[];
  readonly tasks: TasksFact;
  readonly consuming: ConsumingFact;
  readonly broker: BrokerFact;
  readonly beats: BeatsFact;
  readonly unacked: UnackedFact;
  /** How often Celeriac has reset a row: `table:id` → times. */
  readonly resets: Readonly<Record<string, number>>;
  readonly backup: BackupFact;
  readonly rehearsal: RehearsalFact;
  readonly past: PastFact;
  readonly transactions: readonly TransactionFact[];
  readonly undoing: readonly UndoingFact[];
  readonly releases: ReleasesFact;
  readonly release: ReleaseFact;
  /** Why nothing can be installed into it; `null`: it is the app's, or not there yet. */
  readonly environment: NotOwnTree | null;
  readonly companions: CompanionsFact;
  readonly hardening: HardeningFact;
  readonly services: readonly ServiceFact[];
  readonly starts: readonly StartFact[];
  readonly samples: SamplesFact;
  readonly sampling: SamplingFact;
}

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

export interface CompanionsQuery {
  /** The worker's. */
  readonly unit: string;
  readonly units: readonly string[];
  /** Where code folders are uploaded to; `null`: nowhere. */
  readonly folder: string | null;
}

export interface CompanionsFact {
  /** In the order of the query. */
  readonly named: readonly NamedCompanion[];
  /** Other services with a process in the checkout of the app, in its folder, or a program there. */
  readonly beside: readonly ServiceBeside[];
}

export interface NamedCompanion {
  readonly unit: UnitFact;
  /** As in `CodeFact`. */
  readonly startedWithThese: boolean | null;
}

export interface ServiceBeside {
  readonly unit: string;
  /** One of its processes there. */
  readonly pid: number;
  readonly argv: readonly string[];
}

export type FactName = keyof FactArguments;
export type FactQuery = { readonly [Name in FactName]?: FactArguments[Name] };
/** The answer to a query: exactly the requested facts. */
export type FactsFor<Query extends FactQuery> = {
  readonly [Name in keyof Query & FactName]: FactAnswers[Name];
};

export interface HostFact {
  readonly os: { readonly id: string; readonly versionId: string; readonly name: string };
  readonly kernel: string;
  /** systemd's major version, e.g. 252. */
  readonly systemd: number;
  /** `systemd-detect-virt -c`: `lxc`, `openvz`, `docker`…; `null` outside a container. */
  readonly container: string | null;
  readonly cgroupVersion: 1 | 2;
  readonly cpus: number;
  readonly memory: MemoryFact;
  readonly now: EpochSeconds;
  readonly bootId: string;
  readonly uptime: Seconds;
  /** The clock of systemd's `…TimestampMonotonic`: nobody sets it, and it stops in suspend. */
  readonly monotonic: Seconds;
  readonly hostname: string;
  readonly python: string;
}

/** `/proc/meminfo`. */
export interface MemoryFact {
  readonly totalBytes: Bytes;
  readonly availableBytes: Bytes;
  readonly swapTotalBytes: Bytes;
  readonly swapFreeBytes: Bytes;
}

export type FileFact =
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'file';
      /** `null` when larger than 1 MiB or not UTF-8. */
      readonly text: string | null;
      readonly sha256: Sha256;
      readonly sizeBytes: Bytes;
      /** Four octal digits, `0644`. */
      readonly mode: string;
      readonly owner: string;
      readonly group: string;
    }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'other'; readonly what: string };

export interface SwapFact {
  readonly file:
    | { readonly kind: 'absent' }
    | {
        readonly kind: 'file';
        readonly sizeBytes: Bytes;
        /** Bytes allocated on the disk; less than the size if the file has holes. */
        readonly allocatedBytes: Bytes;
        readonly mode: string;
        readonly owner: string;
        /** Its first page ends with `SWAPSPACE2`. */
        readonly formatted: boolean;
        /** Not formatted, and only zeros in its first and last MiB: an unfinished swap file. */
        readonly blank: boolean;
        /** Copy-on-write is off for it (`chattr +C`); `null`: the file system does not tell. */
        readonly nocow?: boolean | null;
      }
    | { readonly kind: 'symlink'; readonly target: string }
    | { readonly kind: 'other'; readonly what: string };
  readonly active: readonly {
    readonly path: string;
    readonly type: string;
    readonly sizeBytes: Bytes;
    readonly usedBytes: Bytes;
    readonly priority: number;
  }[];
  readonly fstab: FileFact;
  /** Units that swap.target starts, e.g. `swapfile.swap`; absent: unknown. */
  readonly enabledUnits?: readonly string[];
  /** The file system of the swap file, or of the folder in which it would be created. */
  readonly filesystem: {
    readonly type: string;
    readonly mountPoint: string;
    readonly sizeBytes: Bytes;
    readonly freeBytes: Bytes;
  };
}

export interface SysctlFact {
  /** The current value; `null`: the kernel has no such setting. */
  readonly values: Readonly<Record<string, string | null>>;
  /** Settings that root cannot change here, because they belong to the host of this container. */
  readonly readOnly: readonly string[];
  /** Lines that set one of the names, in the order in which systemd-sysctl applies them. */
  readonly settings: readonly {
    readonly name: string;
    readonly value: string;
    readonly path: string;
    readonly line: number;
  }[];
}

/** Of the newest release that stayed and proved any; `null`: there is none. */
export interface SettingsFact {
  readonly transaction: string;
  /** As `systemctl show` printed them. */
  readonly properties: Readonly<Record<string, string>>;
}

/** Pressure Stall Information of the kernel. */
export interface PressureFact {
  /** In a container, of the machine that it runs on. */
  readonly machine: Stalls;
  readonly unit: Stalls;
}

/** `null`: the kernel does not measure it, or the unit does not run. */
export interface Stalls {
  readonly memory: Stall | null;
  readonly io: Stall | null;
}

/** Time in which some, or all, processes waited. */
export interface Stall {
  readonly some: StallShares;
  readonly full: StallShares;
}

/** Percent of the last 10, 60 and 300 s. */
export interface StallShares {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

export interface FileSystemRoom {
  readonly mountPoint: string;
  readonly type: string;
  /** `free`: for users other than root. `null`: not asked, as it may wait for a network. */
  readonly bytes: { readonly used: Bytes; readonly free: Bytes } | null;
  /** `null`: not counted by this file system. */
  readonly inodes: { readonly used: number; readonly free: number } | null;
}

export interface UnitFact {
  /** With its suffix: `celery-worker.service`. */
  readonly name: string;
  readonly loadState: string;
  readonly activeState: string;
  readonly subState: string;
  /** `enabled`, `disabled`, `static`, `masked`… or empty. */
  readonly unitFileState: string;
  readonly needDaemonReload: boolean;
  /** Path of the unit file; empty if there is none. */
  readonly fragmentPath: string;
  readonly fragment: FileFact;
  readonly dropIns: readonly { readonly path: string; readonly text: string }[];
  /** Every property, as `systemctl show` prints it. */
  readonly properties: Readonly<Record<string, string>>;
  /** The absolute paths in the Exec lines. */
  readonly programs: Readonly<Record<string, ProgramFact>>;
  /** The user of its processes, a name; `null`: there is no such user. */
  readonly user?: string | null;
  /** HOME and PATH as its processes find them; absent: not set, or unknown. */
  readonly variables?: { readonly HOME?: string; readonly PATH?: string };
  /** Where its processes start, with symbolic links resolved; `null`: unknown. */
  readonly workingDirectory: string | null;
  readonly mainPid: number | null;
  /** Every process in the unit's cgroup. */
  readonly processes: readonly ProcessFact[];
  readonly memory: {
    readonly currentBytes: Bytes;
    readonly peakBytes: Bytes | null;
    /** Of `currentBytes`, what is no cache of files; absent or `null`: not known. */
    readonly anonBytes?: Bytes | null;
    /** `memory.events`: low, high, max, oom, oom_kill. */
    readonly events: Readonly<Record<string, number>>;
  } | null;
  /** When it last became active; `null`: never. */
  readonly activeSince: EpochSeconds | null;
  /** From `systemd-analyze security`, 0 to 10, less is safer; `null`: not requested or unknown. */
  readonly exposure?: number | null;
}

export interface ProgramFact {
  readonly exists: boolean;
  /** Its first line, if that begins with `#!`. */
  readonly shebang: string | null;
  /** Its first KiB, if it begins with `#!`: some shell scripts run themselves with Python. */
  readonly script?: string | null;
}

export interface ProcessFact {
  readonly pid: number;
  readonly parentPid: number;
  /** `/proc/PID/stat` state letter: R, S, D, T, Z… */
  readonly state: string;
  readonly user: string;
  readonly residentBytes: Bytes;
  readonly argv: readonly string[];
  /** Field 22 of `/proc/PID/stat`: together with the pid it identifies a process until reboot. */
  readonly startTicks: number;
}

/** A process with the command line of a Celery worker, in any cgroup. */
export interface WorkerProcess extends ProcessFact {
  /** Its cgroup below the root, e.g. `/user.slice/user-0.slice/session-3.scope`. */
  readonly cgroup: string;
  readonly workingDirectory: string | null;
  readonly startedAt: EpochSeconds;
}

/** A service, but no template. */
export interface ServiceFact {
  readonly unit: string;
  readonly activeState: string;
  readonly unitFileState: string;
  /** Of its `ExecStart`, without its quotes. */
  readonly argv: readonly string[];
}

/** How a process was started, whatever started it. */
export interface StartFact {
  readonly pid: number;
  /** The names of its variables: their values may be secret. */
  readonly variables: readonly string[];
  /** Those that lead to its program. */
  readonly open: {
    readonly HOME?: string;
    readonly PATH?: string;
    readonly VIRTUAL_ENV?: string;
  };
  /** The path of its program, as it was called; `null`: not known. */
  readonly program: string | null;
  /** Its group, by name; `null`: it has no name. */
  readonly group: string | null;
  /** What started it, nearest first; `name` is that of the kernel, of at most 15 letters. */
  readonly above: readonly { readonly pid: number; readonly name: string }[];
}

export interface CodeFact {
  readonly newest: { readonly path: string; readonly modified: EpochSeconds } | null;
  /** There were too many files to check them all. */
  readonly truncated: boolean;
  /**
   * Whether the worker that runs was started with these sources, by their content; `null`: Celeriac
   * did not start it. No clock has a part in it.
   */
  readonly startedWithThese: boolean | null;
}

export interface JournalQuery {
  readonly unit: string;
  /** The run (InvocationID) of an earlier look: if another one runs now, the ends of runs are read. */
  readonly earlierRun?: string;
}

/** How a run of the unit ended, as systemd itself has logged it. */
export interface EndedRun {
  /** Its InvocationID. */
  readonly run: string;
  readonly at: EpochSeconds;
  /** `success`, `exit-code`, `signal`, `oom-kill`…; empty: not said. */
  readonly result: string;
  /**
   * How far it was, by what systemd logs at level info; empty: nothing, as when the unit logs less.
   * Whoever stops a unit while it starts or reloads leaves no `stopped`.
   */
  readonly phase: '' | 'started' | 'not-started' | 'reloading';
  /** Somebody, or a shutdown, had asked systemd to stop it before. */
  readonly stopped: boolean;
  /** systemd itself started it again: NRestarts counts it until the next start by somebody else. */
  readonly restarted: boolean;
  /** What systemd said of its main process, or of the first other one that failed; empty: nothing. */
  readonly exit: string;
}

/** The unit's journal since its current start. Incomplete if journald dropped lines under load. */
export interface JournalFact {
  readonly since: EpochSeconds | null;
  readonly entries: number;
  /** Lines that may matter (429, error, traceback), newest last, limited; verify judges them. */
  readonly suspects: readonly { readonly at: EpochSeconds; readonly message: string }[];
  readonly tail: readonly string[];
  /** Warnings of systemd about the unit, if there were runs before: why they ended. */
  readonly ends: readonly string[];
  /** In the order of their ends; empty unless asked for with `earlierRun`, and another one runs. */
  readonly endedRuns: readonly EndedRun[];
}

export interface LoggedQuery {
  readonly unit: string;
  /** `null`: as far back as the journal goes. */
  readonly since: EpochSeconds | null;
  /** The cursor of an earlier look; takes precedence over `since`. */
  readonly after?: string;
}

/** What a unit logged since a time, of whichever start, grouped on the host. */
export interface LoggedFact {
  readonly since: EpochSeconds | null;
  /** Where this look ended; empty if nothing was logged. */
  readonly cursor: string;
  readonly entries: number;
  /** Whether all lines were read, not only the newest. */
  readonly complete: boolean;
  /** Lines that journald says it dropped: all counts are lower bounds. */
  readonly dropped: number;
  /** Lines of the days before that were read for the comparison; `null`: none could be read. */
  readonly earlier: number | null;
  /** Lines of level ERROR or above, and tracebacks; together they count once. */
  readonly errors: number;
  readonly tracebacks: number;
  /** Type of the exception and the innermost frame of the app, or the words of an error line. */
  readonly signatures: readonly {
    readonly signature: string;
    readonly count: number;
    readonly first: EpochSeconds;
    readonly last: EpochSeconds;
    readonly sample: string;
    /** How often it occurred in the days before; `null`: unknown. */
    readonly before: number | null;
  }[];
  /** Errors of further signatures, which are not listed. */
  readonly moreSignatures: number;
  /** Lines with the number 429, by their form; whether it is a status, verify judges. */
  readonly numbered: readonly {
    readonly sample: string;
    readonly count: number;
    readonly first: EpochSeconds;
    readonly last: EpochSeconds;
    /** The busiest minutes, each by its begin. */
    readonly minutes: readonly { readonly at: EpochSeconds; readonly count: number }[];
  }[];
  readonly moreNumbered: number;
}

export interface KernelFact {
  readonly since: EpochSeconds | null;
  /** Lines of the kernel log about out-of-memory kills since the unit's start. */
  readonly outOfMemory: readonly { readonly at: EpochSeconds; readonly message: string }[];
  /** Whether the kernel log can be read. */
  readonly readable: boolean;
}

export interface LimitsFact {
  /** Whether the kernel can limit the memory of services: it has the memory controller. */
  readonly controller: boolean;
  /** Whether something is mounted over `/proc/meminfo`, as lxcfs does in a container. */
  readonly ownMeminfo: boolean;
  /** The limit of the cgroup in which all of the system runs, as in a container; `null`: none. */
  readonly system: {
    readonly limitBytes: Bytes;
    /** Without the cache of files. */
    readonly usedBytes: Bytes;
  } | null;
  /** Memory of the unit's processes, pages that they share counted once; `null`: unknown. */
  readonly unitBytes: Bytes | null;
  /** Loaded slices with a `MemoryMax=`. */
  readonly slices: readonly { readonly name: string; readonly memoryMaxBytes: Bytes }[];
  /** Other loaded services with a `MemoryMax=`. */
  readonly services: readonly LimitedService[];
}

export interface LimitedService {
  readonly name: string;
  readonly activeState: string;
  readonly slice: string;
  readonly memoryMaxBytes: Bytes;
  readonly currentBytes: Bytes | null;
}

export interface CommandQuery {
  readonly unit: string;
  /** Runs in place of `python` and `python3`. */
  readonly interpreter: readonly string[];
  readonly argv: readonly string[];
  readonly timeoutSeconds: Seconds;
}

export interface CommandFact {
  /** Negative: the signal that ended it; `null`: it did not end in time, or could not be run. */
  readonly code: number | null;
  /** The last 8 KiB of what it printed. */
  readonly output: string;
  readonly seconds: Seconds;
  /** Why it could not be run, or was ended. */
  readonly problem: string | null;
}

export interface HttpProbe {
  readonly url: string;
  readonly timeoutSeconds: Seconds;
}

export interface HttpAnswer {
  readonly url: string;
  readonly status: number | null;
  /** The first 2 KiB. */
  readonly body: string;
  readonly error: string | null;
  readonly seconds: Seconds;
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

/** What Celery and its broker know about tasks, asked by a process that imports the app. */
export interface TasksQuery extends AskingTheApp {
  readonly ids: readonly string[];
}

export type TasksFact =
  | {
      readonly kind: 'told';
      /** `stopped`: the unit is stopped, and its cgroup is empty. */
      readonly worker: 'stopped' | 'answers';
      /** Tasks whose messages are in a queue, or unacked. */
      readonly owed: readonly string[];
      /** Tasks that are active, reserved or scheduled in a worker that answers. */
      readonly held: readonly string[];
      /** When a worker began those that it runs, as far as it says; by their ids. */
      readonly begun?: Readonly<Record<string, EpochSeconds>>;
      /** How many tasks the workers hold in all, whether asked for or not. */
      readonly holding: number;
      /** How many messages are in the queues and unacked, of whatever task. */
      readonly waiting: number;
      /** Why a task that no worker holds may still be queued: a broker shows no ids; null: it does. */
      readonly hidden: string | null;
    }
  /** A worker runs but does not answer, or the broker cannot be asked. */
  | {
      readonly kind: 'unknown';
      readonly problem: string;
      /** The last output lines of the process that asked. */
      readonly evidence?: readonly string[];
    };

/** Asked by a process that imports the app; costs seconds only if messages wait. */
export interface ConsumingQuery extends ByTheApp {
  /** `null`: those of the app. */
  readonly queues: readonly string[] | null;
  /** Its pool forks, so that its main process always answers. */
  readonly forks: boolean;
}

/** Asked by a process that imports the app, and asks its worker; changes nothing. */
export interface BrokerQuery extends ByTheApp {
  /** `null`: those of the app. */
  readonly queues: readonly string[] | null;
  /** Where the schedule of the app's beat is; `null`: it has none here. */
  readonly beat: {
    readonly directory: string;
    /** The option of its command line; `null`: as the app configures it. */
    readonly schedule: string | null;
    readonly scheduler: string | null;
  } | null;
}

/** The broker as the app sees it. */
export type BrokerFact =
  | {
      readonly kind: 'told';
      readonly transport: string;
      /**
       * Messages that wait in each queue, by its real name: `-Q` may name an alias. Neither here nor in
       * `active` are those of Kombu's Broadcast, which each process names by itself.
       */
      readonly lengths: Readonly<Record<string, number>>;
      /** Delivered and not acknowledged; with Redis, of all queues; `null`: it does not tell. */
      readonly unacked: number | null;
      /** Since when the oldest of them is delivered; only Redis tells. */
      readonly oldestUnackedSeconds: Seconds | null;
      /** After this time it is delivered again; `null`: not before the connection ends. */
      readonly redeliverySeconds: Seconds | null;
      /** The queues that the worker of the unit says it consumes; `null`: it did not say. */
      readonly active: readonly string[] | null;
      /** Why it did not. */
      readonly silence: string | null;
      readonly beat: BeatSchedule | null;
    }
  | {
      readonly kind: 'unreachable';
      readonly problem: string;
      readonly beat: BeatSchedule | null;
    }
  | { readonly kind: 'unknown'; readonly problem: string };

export interface BeatSchedule {
  /** A path, or `django_celery_beat`; empty if unknown. */
  readonly where: string;
  /** When beat last wrote to it; `null`: unknown. */
  readonly advanced: EpochSeconds | null;
  /** The shortest interval; `null`: unknown, or tasks are due at times of the clock. */
  readonly everySeconds: Seconds | null;
  readonly problem: string | null;
}

export interface BeatsFact {
  /** Loaded services whose command is a beat, or a worker with `-B`. */
  readonly units: readonly BeatUnit[];
  readonly processes: readonly BeatProcess[];
}

export interface BeatUnit {
  readonly unit: string;
  readonly activeState: string;
  readonly unitFileState: string;
  readonly user: string;
  readonly workingDirectory: string;
  readonly argv: readonly string[];
}

export interface BeatProcess {
  readonly pid: number;
  /** `null`: it runs in a session or the like. */
  readonly unit: string | null;
  readonly user: string;
  readonly workingDirectory: string | null;
  readonly argv: readonly string[];
  readonly startTicks: number;
}

/** Messages in the broker that no living worker of the unit can acknowledge. */
export type UnackedFact = {
  /** One line for people. */
  readonly message: string;
} & (
  | { readonly kind: 'unknown' }
  | {
      readonly kind: 'looked';
      readonly count: number;
      /** The first of them. */
      readonly messages: readonly {
        readonly id: string;
        readonly task: string;
        readonly queue: string;
      }[];
    }
);

/** Whether the worker of a unit takes the messages of its queues. */
export type ConsumingFact =
  /** It takes them, or none waits. */
  | { readonly kind: 'consumes' }
  /** Messages waited at two looks, none was taken, and the worker had nothing else to do. */
  | {
      readonly kind: 'nothing';
      readonly waiting: Readonly<Record<string, number>>;
      /** Whether it answers remote control. */
      readonly answers: boolean;
      readonly seconds: Seconds;
    }
  /** Its support module says so, in the status of the unit. */
  | { readonly kind: 'told'; readonly status: string }
  /** It is at work, may have a reason to wait, or cannot be asked. */
  | { readonly kind: 'unknown'; readonly problem: string };

/** The same, also where the worker need not be asked. */
export type ConsumingNews =
  | ConsumingFact
  /** It has reported itself that none waits, so long ago. */
  | { readonly kind: 'reported'; readonly ago: Seconds };

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

/** A transaction that the host has on record. Lists of them are in the host's own order. */
export interface TransactionFact {
  readonly id: string;
  readonly action: string;
  readonly holder: string;
  /** The worker that it is about; `null`: the host. Absent: the agent is older than the question. */
  readonly unit?: string | null;
  readonly startedAt: EpochSeconds;
  readonly state: 'open' | 'committed' | 'undone' | 'undo-failed';
  /** Who undid it: a run, or `the host itself`; empty if it failed, or was not undone. */
  readonly undoneBy: string;
  readonly undoneWhy: string;
}

/** What the undo of a transaction will do. */
export interface UndoingFact {
  readonly id: string;
  /** In the order of the undo; only steps that were done. */
  readonly steps: readonly {
    readonly op: string;
    /** That it works on; `null`: on none. */
    readonly unit: string | null;
    /** Of the file or folder that it changes; `null`: none. */
    readonly path: string | null;
    /** Of the way forward. */
    readonly title: string;
    /** Of the way forward; may be empty. */
    readonly diff: string;
    /** There is a diff, which is too long to be shown. */
    readonly cut: boolean;
    /** What becomes of each row, as many as fit; empty but for repairs. */
    readonly rows: readonly string[];
    /** All of them. */
    readonly rowCount: number;
  }[];
}

/** One of any unit. */
export interface PastTransaction extends TransactionFact {
  /** `null`: of the host as a whole. */
  readonly unit: string | null;
}

/** What happened on the host, of all units, that a run reports or finishes. */
export interface PastFact {
  /** Undone by the host itself, and not reported by any run yet; in the host's own order. */
  readonly untold: readonly PastTransaction[];
  /** At work, if `working`; otherwise interrupted. */
  readonly open: readonly PastTransaction[];
  /** Who holds the host's lock; `null`: nobody. */
  readonly working: string | null;
  /** Releases that are rolled back automatically unless verify confirms them. */
  readonly awaiting: readonly {
    readonly unit: string;
    /** Newest first. */
    readonly transactions: readonly string[];
    readonly deadline: EpochSeconds;
    readonly withinSeconds: Seconds;
  }[];
  /** Temporary files of killed runs. */
  readonly leftovers: readonly string[];
  /** Lasting findings that earlier runs told, by what they were about. */
  readonly notices: Readonly<Record<string, readonly string[]>>;
}

/** The ledger of one unit. Release 0 is the unit as it was before Celeriac. */
export interface ReleasesFact {
  /** Oldest first. */
  readonly releases: readonly LedgerRelease[];
  /** Releases that are rolled back automatically unless verify confirms them; newest first. */
  readonly awaiting: {
    readonly transactions: readonly string[];
    readonly deadline: EpochSeconds;
  } | null;
  /** Whether a timer on the host is set for the deadline. */
  readonly guarded: boolean;
}

export interface LedgerRelease {
  readonly release: number;
  /** `null`: release 0. */
  readonly transaction: string | null;
  readonly at: EpochSeconds;
  readonly holder: string;
  readonly actor: string;
  readonly sha: string;
  readonly verdict: 'none' | 'confirmed' | 'rolled-back';
  readonly why: string;
  readonly state: ReleaseState;
  /** Since when it is in that state. */
  readonly since: EpochSeconds;
  /** Who put it there; `''` for release 0. */
  readonly by: string;
  /** The sentence of the soak's verdict; `''`: none yet. */
  readonly soakWhy: string;
  /** What the soak measured; `null`: no verdict yet. */
  readonly figures: SoakFigures | null;
  /** What the gate measured that confirmed it; `null`: nothing was recorded. */
  readonly gateFigures: SoakFigures | null;
  /** False once its journal was pruned: it can no longer be undone. */
  readonly kept: boolean;
}
