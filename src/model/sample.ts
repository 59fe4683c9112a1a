import type { SoakRecord } from './soak.ts';
import type { Bytes, EpochSeconds, Seconds } from './units.ts';

/** How often the host writes a sample of a unit while a release of it is not proven. */
export const SAMPLE_EVERY_SECONDS = 60;

/**
 * What the host's sampler saw in one minute: a line of `/var/lib/celeriac/samples/<unit>.jsonl`.
 * `null`: not known.
 */
export interface Sample {
  readonly v: 1;
  readonly at: EpochSeconds;
  /** Boot id of the kernel: another one means that the host was started again. */
  readonly boot: string;
  /** Since that boot. Nobody can set this clock: where `at` and it disagree, `at` was set. */
  readonly uptime: Seconds;
  /** Whether a run of Celeriac held the host's lock: what it stops, starts or breaks is its own. */
  readonly changing: boolean | null;
  /** The release that ran, by the ledger; `null` also: none of Celeriac's. */
  readonly release: number | null;
  readonly unit: {
    readonly active: string;
    readonly sub: string;
    /** Another one means that the unit was started again. */
    readonly invocation: string;
    /** NRestarts: by systemd itself, since the last start by somebody else. */
    readonly restarts: number;
    readonly result: string;
  } | null;
  readonly memory: {
    /** By the kernel for the unit's cgroup; where it counts none, the sum of main and children. */
    readonly current: Bytes;
    /** Of `current`, what is no cache of files, which the kernel drops before it kills. */
    readonly anon: Bytes | null;
    readonly peak: Bytes | null;
    readonly main: Bytes | null;
    readonly children: Bytes | null;
    readonly swap: Bytes | null;
    readonly high: Bytes | null;
    readonly max: Bytes | null;
  } | null;
  readonly host: { readonly available: Bytes; readonly swapFree: Bytes };
  /** `memory.events` of the unit's cgroup: they begin at 0 with each start. */
  readonly events: {
    readonly high: number;
    readonly max: number;
    readonly oom: number;
    readonly oomKill: number;
  } | null;
  /** Total microseconds of stall, from the unit's cgroup: they begin at 0 with each start. */
  readonly pressure: {
    readonly memory: { readonly some: number; readonly full: number };
    readonly io: { readonly some: number; readonly full: number };
  } | null;
  /** As the support module reports from inside the worker. */
  readonly worker: {
    /** Messages that wait, by queue: of all that it consumes, or not known. */
    readonly queues: Readonly<Record<string, number>> | null;
    readonly active: number;
    /** Tasks since the worker's start. */
    readonly processed: number | null;
  } | null;
  /** Of the unit's journal since the sample before. */
  readonly journal: {
    readonly errors: number;
    readonly tracebacks: number;
    readonly rateLimited: number;
    /** Lines that journald dropped: the others are lower bounds. */
    readonly dropped: number;
    /** There were more lines than are read in a minute: the others are lower bounds. */
    readonly unread: boolean | null;
  } | null;
  readonly disk: readonly {
    readonly path: string;
    readonly free: Bytes;
    readonly size: Bytes;
    readonly inodesFree: number;
    readonly inodes: number;
  }[];
}

/** Where an answer ended: the next query goes on from here. */
export interface SampleCursor {
  /** Identifies the file, also after it was renamed. */
  readonly file: string;
  readonly offset: number;
}

export interface SamplesQuery {
  readonly unit: string;
  /** `null`: from the oldest sample on that the host keeps. */
  readonly after: SampleCursor | null;
}

/** Without samples, nothing is recorded about the soak. */
export interface SamplingFact extends SoakRecord {
  /** Whether the host is to write samples of the unit every minute. */
  readonly sampling: boolean;
}

/** Samples after the cursor, oldest first; at most about 700 KiB in one answer. */
export interface SamplesFact extends SamplingFact {
  /** Without lines that cannot be read. */
  readonly samples: readonly Sample[];
  /** `null`: the host has no samples of the unit. */
  readonly cursor: SampleCursor | null;
  /** Ask again, with the new cursor. */
  readonly more: boolean;
  /** The host no longer has the file of the cursor: this answer begins with its oldest sample. */
  readonly restarted: boolean;
}
