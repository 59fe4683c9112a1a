/**
 * Where a run leaves a host. `confirmed`: the gate has passed, on a new release or on the one that ran;
 * `rolled-back`: the previous release runs again; `untouched`: the release that ran still does;
 * `unknown`: nobody has seen the end.
 */
export type HostState = 'confirmed' | 'rolled-back' | 'untouched' | 'unknown';

/** Where a host was left, and why. */
export interface HostEnd {
  readonly state: HostState;
  /** Counts toward `max-failures`. */
  readonly failed: boolean;
  /** For people; what to do, if there is something to do. */
  readonly why: string;
}

/** A rollout as it was planned. */
export interface PlannedRollout {
  /** Every host, canaries first. */
  readonly hosts: readonly string[];
  /** How many of them, from the first, are canaries. */
  readonly canaries: number;
  readonly maxFailures: number;
  readonly onFailure: 'host' | 'run';
}

/** What a leg can write down, in the order in which it does. */
export const recordKinds = ['begun', 'stopped', 'ended', 'returning', 'back'] as const;

/** What a leg of the rollout wrote down about its host. */
export interface LegRecord extends HostEnd {
  readonly host: string;
  /** Of the run: a leg may be run again. */
  readonly attempt: number;
  /**
   * `begun`: about to deploy; `stopped`: not to be deployed; `ended`: deployed, or failed;
   * `returning`: about to be rolled back by policy; `back`: rolled back, or not.
   */
  readonly kind: (typeof recordKinds)[number];
  /** Of the release that it made; empty: none. */
  readonly transaction: string;
}

/** How GitHub says that a job ended; a matrix fails when one of its jobs does. */
export const jobResults = ['success', 'failure', 'cancelled', 'skipped', ''] as const;

/** The jobs that deploy, `canary` and `batch-1` to `batch-4`, as far as they have ended. */
export type JobResults = Readonly<Record<string, (typeof jobResults)[number]>>;

/** How a rollout ended, or stands. */
export interface RolloutEnd {
  readonly hosts: readonly {
    readonly host: string;
    readonly state: HostState;
    readonly why: string;
  }[];
  /** What `on-failure: run` rolls back, with the transaction of each. */
  readonly back: readonly { readonly host: string; readonly transaction: string }[];
  /** Every host was reached, and none failed. */
  readonly ok: boolean;
}
