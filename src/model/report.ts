import type { ReleaseState, SoakComparison, SoakVerdict } from './soak.ts';
import type { Bytes, EpochSeconds, Seconds } from './units.ts';
import type { Check, Conclusion } from './verdict.ts';

/** Raised when a reader of older reports would misread a newer one; new fields do not raise it. */
export const reportVersion = 1;

/**
 * What is known of a worker at one moment. The page, the job summary and `celeriac status` are
 * renderings of it. `null`: not known, which is never good.
 */
export interface Report {
  readonly version: typeof reportVersion;
  /** The version of Celeriac. */
  readonly celeriac: string;
  /** As the user gave it. */
  readonly host: string;
  readonly unit: string;
  /** By the host's clock. */
  readonly at: EpochSeconds;
  readonly by: {
    /** The address of the run, or user and host. */
    readonly run: string;
    readonly actor: string;
    readonly sha: string;
  };
  readonly verdict: {
    readonly conclusion: Conclusion;
    readonly sentence: string;
  };
  readonly checks: readonly Check[];
  readonly worker: ReportWorker;
  /** Memory, queues and events over time; `null`: the host has written no samples. */
  readonly timeline: ReportTimeline | null;
  /** What happened, oldest first. */
  readonly marks: readonly ReportMark[];
  /** The jobs that verify sent; `null`: none were sent. */
  readonly probes: readonly ReportProbe[] | null;
  /** Of these jobs, by queue or address. */
  readonly latency: readonly ReportLatency[] | null;
  /** The proof of 24 hours; `null`: no release is being proven, or nothing is known of it. */
  readonly soak: SoakVerdict | null;
  /** Newest first. */
  readonly releases: readonly ReportRelease[] | null;
  /** What the present release changed in the unit; an empty text: nothing. */
  readonly unitDiff: {
    readonly release: number;
    readonly text: string;
    /** Parts are missing: they are too long. */
    readonly cut: boolean;
  } | null;
  /** Repairs of the app's jobs, newest first. */
  readonly repairs: readonly ReportRepair[] | null;
  /** This release beside the last proven one; `null`: there is none, or its numbers are not known. */
  readonly comparison: {
    readonly release: number;
    readonly rows: readonly SoakComparison[];
    /** Why some numbers of this release are not known, in one line; empty: all that are compared are. */
    readonly notKnown: string;
  } | null;
}

/** The worker now. */
export interface ReportWorker {
  readonly activeState: string;
  readonly subState: string;
  readonly since: EpochSeconds | null;
  readonly processes: number;
  readonly restarts: number | null;
  readonly memory: {
    readonly current: Bytes;
    readonly peak: Bytes | null;
    readonly high: Bytes | null;
    readonly max: Bytes | null;
  } | null;
  /** Messages that wait, by queue. */
  readonly queues: Readonly<Record<string, number>> | null;
}

/** Samples in buckets of equal length. A bucket without a sample is missing: a gap. */
export interface ReportTimeline {
  readonly from: EpochSeconds;
  readonly to: EpochSeconds;
  readonly bucketSeconds: Seconds;
  /** Samples in all. */
  readonly samples: number;
  /** Oldest first. */
  readonly buckets: readonly ReportBucket[];
}

/** Lowest and highest: a peak of one minute is as high here as it was. */
export interface ReportRange {
  readonly min: number;
  readonly max: number;
}

export interface ReportBucket {
  /** Its begin. */
  readonly at: EpochSeconds;
  readonly samples: number;
  /** Of all of the unit, in bytes. */
  readonly memory: ReportRange | null;
  /** The highest, in bytes. */
  readonly main: Bytes | null;
  readonly children: Bytes | null;
  readonly swap: Bytes | null;
  /** The limits at its end; `null`: none, or not known. */
  readonly high: Bytes | null;
  readonly max: Bytes | null;
  readonly queues: Readonly<Record<string, ReportRange>> | null;
  /** Tasks at work, at most. */
  readonly active: number | null;
  /** Sums since the bucket before. */
  readonly errors: number | null;
  readonly rateLimited: number | null;
  readonly oomKills: number | null;
}

export interface ReportMark {
  readonly at: EpochSeconds;
  readonly kind: 'deploy' | 'undo' | 'repair' | 'job' | 'restart' | 'reboot' | 'oom';
  readonly text: string;
}

export interface ReportProbe {
  /** Its queue, or its address. */
  readonly where: string;
  readonly state: 'done' | 'failed' | 'timed-out' | 'not-sent';
  readonly detail: string;
  readonly seconds: Seconds | null;
}

export interface ReportLatency {
  readonly where: string;
  readonly sent: number;
  readonly done: number;
  /** Of those that were done; `null`: none was. */
  readonly median: Seconds | null;
  readonly slowest: Seconds | null;
}

export interface ReportRelease {
  readonly release: number;
  readonly transaction: string | null;
  readonly at: EpochSeconds;
  /** Who asked for it. */
  readonly actor: string;
  readonly run: string;
  readonly sha: string;
  readonly state: ReleaseState;
  /** Since when it is in this state; `null`: not known. */
  readonly since: EpochSeconds | null;
  /** When the host rolls it back unless it is confirmed; absent: it does not. */
  readonly confirmBy?: EpochSeconds;
  readonly why: string;
}

export interface ReportRepair {
  readonly transaction: string;
  readonly at: EpochSeconds;
  readonly run: string;
  readonly rows: number;
  /** One line for each step. */
  readonly what: readonly string[];
}
