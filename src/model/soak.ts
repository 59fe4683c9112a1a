import type { EpochSeconds, Seconds } from './units.ts';

/** What a release has proven; a soak takes it from `unproven` to `proven` or `failed`. */
export type ReleaseState =
  /** Release 0: the unit before Celeriac. */
  | 'before'
  /** Rolled back by the host unless verify confirms it. */
  | 'awaiting'
  | 'unproven'
  | 'proven'
  | 'failed'
  /** A newer release replaced it before it was proven. */
  | 'superseded'
  | 'undone';

/** Numbers of a soak, kept in the ledger so that later releases can be compared with it. */
export type SoakFigures = Readonly<Record<string, number | null>>;

/** One number of this release beside that of the last proven one; `null`: not known. */
export interface SoakComparison {
  readonly title: string;
  readonly unit: 'bytes' | 'seconds' | 'count' | 'per-hour';
  readonly before: number | null;
  readonly now: number | null;
  /** Whether it is better than before; `same`: within one per cent or the noise; `null`: not known, or of unequal times. */
  readonly trend: 'better' | 'same' | 'worse' | null;
}

/** What a run of the soak found and did: for programs, and for the issue about a failed release. */
export interface SoakReport {
  readonly version: 1;
  readonly unit: string;
  /** `none`: no release of Celeriac runs. */
  readonly state: ReleaseState | 'none';
  /** One sentence, for people. */
  readonly sentence: string;
  readonly release: {
    readonly number: number;
    readonly transaction: string;
    readonly sha: string;
    readonly actor: string;
    /** Since when it is unproven, or by when it was proven or failed. */
    readonly since: EpochSeconds;
  } | null;
  /** `null`: nothing was to be judged. */
  readonly verdict: SoakVerdict | null;
  /** Beside the last proven release; `null`: there is none, or its figures are not known. */
  readonly comparison: {
    readonly release: number;
    readonly rows: readonly SoakComparison[];
    /** Why some numbers of this release are not known, in one line; empty: all that are compared are. */
    readonly notKnown: string;
  } | null;
  /** The release that runs again because this one failed; `null`: no roll-back. */
  readonly rolledBackTo: number | null;
  /** Who judged: the address of the run, or user and host. */
  readonly by: string;
}

/** The verdict of a soak, as the ledger keeps it. */
export interface Proof {
  readonly unit: string;
  /** Of the release that it is about. */
  readonly transaction: string;
  readonly verdict: 'proven' | 'failed';
  /** One line. */
  readonly why: string;
  readonly figures: SoakFigures;
}

/** Which minutes of a soak fail, and how many make it fail. */
export interface SoakThresholds {
  /** Failing minutes that are tolerated in all. */
  readonly failureLimit: number;
  /** This many failing minutes in a row fail the soak whatever `failureLimit` says; 0: never. */
  readonly consecutive: number;
  /** HTTP 429 in one minute that are tolerated; `null`: any number. */
  readonly rateLimitMax: number | null;
  /** Errors in one minute of the journal that are tolerated; `null`: any number. */
  readonly errorRateMax: number | null;
}

/** What a soak is judged by. */
export interface SoakLimits extends SoakThresholds {
  /** Time that must be covered by samples. */
  readonly wanted: Seconds;
}

/** What a run asks for; `null`: what the deploy of the release recorded on the host. */
export interface SoakWish {
  readonly wanted: Seconds;
  readonly failureLimit: number | null;
  readonly consecutive: number | null;
  readonly rateLimitMax: number | null;
  readonly errorRateMax: number | null;
}

/** What the deploy of a release recorded on the host about its soak; `null`: nothing. */
export interface SoakRecord {
  /** How long it wanted the soak to be. */
  readonly soakSeconds: Seconds | null;
  /** Without those that could not be read. */
  readonly soakLimits: Partial<SoakThresholds> | null;
}

/** What can fail a minute, or the whole soak. */
export type SoakLimitId =
  | 'unit'
  | 'restarts'
  | 'oom'
  | 'memory'
  | 'rate-limits'
  | 'errors'
  | 'queues'
  | 'disk'
  | 'leak';

/** Time without evidence. */
export interface SoakGap {
  readonly from: EpochSeconds;
  readonly to: EpochSeconds;
  /** One clause: `the host was off`, `no samples`. */
  readonly why: string;
}

/** Something that must not happen during a soak, and did. */
export interface SoakFault {
  readonly limit: SoakLimitId;
  readonly at: EpochSeconds;
  /** One sentence. */
  readonly sentence: string;
}

/** One hour of a soak, as the strip of hours shows it. */
export interface SoakHour {
  readonly at: EpochSeconds;
  readonly coveredSeconds: Seconds;
  readonly gapSeconds: Seconds;
  readonly failingMinutes: number;
}

/** What one limit says of the whole soak; `unknown` is never pass. */
export interface SoakAspect {
  readonly limit: SoakLimitId;
  readonly title: string;
  readonly verdict: 'pass' | 'warn' | 'fail' | 'unknown';
  readonly seen: string;
}

/** What the samples say of a release so far. */
export interface SoakVerdict {
  readonly state: 'unproven' | 'proven' | 'failed';
  /** One sentence. */
  readonly sentence: string;
  readonly since: EpochSeconds;
  /** When it was proven or failed, by the samples; `null` while it is unproven. */
  readonly decidedAt: EpochSeconds | null;
  readonly wantedSeconds: Seconds;
  readonly coveredSeconds: Seconds;
  readonly gapSeconds: Seconds;
  /** Earliest end if nothing fails; `null` once decided. */
  readonly earliestEnd: EpochSeconds | null;
  /** What made it fail, and its evidence. */
  readonly failure: (SoakFault & { readonly evidence: readonly string[] }) | null;
  readonly failingMinutes: number;
  /** The newest ones. */
  readonly faults: readonly SoakFault[];
  readonly gaps: readonly SoakGap[];
  readonly hours: readonly SoakHour[];
  readonly aspects: readonly SoakAspect[];
  /** Remarks that fail nothing: a reboot, a clock that was set back, lines that journald dropped. */
  readonly notes: readonly string[];
}
