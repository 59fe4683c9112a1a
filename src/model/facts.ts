import type {
  BeatsFact,
  CompanionsFact,
  CompanionsQuery,
  ServiceFact,
  StartFact,
  WorkerProcess,
} from './facts/beside.ts';
import type {
  BrokerFact,
  BrokerQuery,
  ConsumingFact,
  ConsumingQuery,
  TasksFact,
  TasksQuery,
  UnackedFact,
} from './facts/broker.ts';
import type {
  FileFact,
  FileSystemRoom,
  HostFact,
  PressureFact,
  SwapFact,
  SysctlFact,
} from './facts/host.ts';
import type {
  JournalFact,
  JournalQuery,
  KernelFact,
  LoggedFact,
  LoggedQuery,
} from './facts/journal.ts';
import type {
  PastFact,
  ReleasesFact,
  SettingsFact,
  TransactionFact,
  UndoingFact,
} from './facts/ledger.ts';
import type { CommandFact, CommandQuery, HttpAnswer, HttpProbe } from './facts/probe.ts';
import type { BackupFact, RehearsalFact, RehearsalQuery, StoreFact } from './facts/store.ts';
import type { CodeFact, LimitsFact, UnitFact } from './facts/unit.ts';
import type { HardeningFact, HardeningQuery } from './hardening.ts';
import type { ByTheApp, WorkerSearch } from './operation/app.ts';
import type { NotOwnTree, ReleaseFact, ReleaseQuery } from './release.ts';
import type { SamplesFact, SamplesQuery, SamplingFact } from './sample.ts';

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

export type FactName = keyof FactArguments;

export type FactQuery = { readonly [Name in FactName]?: FactArguments[Name] };

/** The answer to a query: exactly the requested facts. */
export type FactsFor<Query extends FactQuery> = {
  readonly [Name in keyof Query & FactName]: FactAnswers[Name];
};
