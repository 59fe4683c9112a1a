import type { Bytes, EpochSeconds, Seconds, Sha256 } from './units.ts';

/** The first line of the agent. */
export interface Hello {
  readonly hello: 'celeriac';
  readonly protocol: 1;
  readonly python: string;
  readonly user: string;
  readonly pid: number;
}

/** How one operation of a transaction ended. */
export interface Step {
  readonly index: number;
  readonly op: string;
  readonly status: 'done' | 'already' | 'failed' | 'undone' | 'not-undone' | 'skipped';
  /** One line for people: what happened. */
  readonly message: string;
  readonly seconds: Seconds;
  /** Structured results, e.g. counts of `repair-jobs`. */
  readonly result?: Readonly<Record<string, unknown>>;
}

export interface StepFailure {
  readonly index: number;
  readonly message: string;
  readonly ran?: readonly string[];
  readonly exitCode?: number | null;
  readonly evidence?: readonly string[];
}

export interface Outcome {
  /** `20261122T131500-4f2a`; names the folder under /var/lib/celeriac/transactions. */
  readonly transaction: string;
  readonly result: 'committed' | 'undone' | 'undo-failed';
  readonly steps: readonly Step[];
  readonly failure?: StepFailure;
  /** Committed, and undone by the host itself at this time unless a verify confirms it before. */
  readonly confirmBy?: EpochSeconds;
}

/** What can be followed over another connection, once the work has begun. */
export interface Opened {
  readonly transactions: readonly string[];
  /** Where the host streams its progress. */
  readonly live: string;
}

/** A transaction that was cut short, or a roll-back that was, and what the host made of it. */
export interface Deed extends Outcome {
  /** Who had it undone. */
  readonly by: string;
  readonly why: string;
}

/** Streamed while something runs. */
export type Progress =
  | ({ readonly kind: 'opened' } & Opened)
  | { readonly kind: 'step-started'; readonly index: number; readonly title: string }
  | { readonly kind: 'step-ended'; readonly step: Step }
  | { readonly kind: 'note'; readonly message: string }
  | { readonly kind: 'chunk'; readonly data: string };

/** What `apply` tells the host about who asks. */
export interface TransactionMeta {
  readonly action: string;
  /** Who asks, for the lock and the ledger: run URL, else user and host. */
  readonly holder: string;
  readonly sha: string;
  /** The person or bot that set the run off. */
  readonly actor?: string;
  readonly unit?: string;
  readonly lockTimeoutSeconds: Seconds;
  /** It becomes a release of the unit in the host's ledger; `null`: no verdict is awaited. */
  readonly release?: { readonly confirmWithinSeconds: Seconds | null };
}

export interface SnapshotInfo {
  readonly database: string;
  /** All of it, or only the rows of an extract. */
  readonly holds: 'everything' | 'rows';
  readonly sizeBytes: Bytes;
  readonly sha256: Sha256;
  readonly takenAt: EpochSeconds;
}

/** Jobs for the gate, sent from the host itself through the app's own Celery. */
export type JobRequest =
  | {
      /** The support module's own task: works with every app. */
      readonly kind: 'canary';
      readonly unit: string;
      readonly interpreter: readonly string[];
      readonly app: string;
      readonly pythonPath: readonly string[];
      /** One canary each, in this order; a queue may stand several times. */
      readonly queues: readonly string[];
      readonly timeoutSeconds: Seconds;
    }
  | {
      /** A task of the user's own, by name; its result backend tells when it is done. */
      readonly kind: 'task';
      readonly unit: string;
      readonly interpreter: readonly string[];
      readonly app: string;
      readonly pythonPath: readonly string[];
      readonly task: string;
      readonly queue: string | null;
      /** One call each. */
      readonly calls: readonly { readonly args: readonly unknown[] }[];
      readonly timeoutSeconds: Seconds;
    }
  | {
      /** An HTTP call of the user's own, then a poll until it says it is done. */
      readonly kind: 'http';
      readonly method: 'GET' | 'POST';
      readonly url: string;
      readonly form: Readonly<Record<string, string>>;
      /** `{name}` stands for a field of the first answer's JSON. */
      readonly pollUrl: string | null;
      /** Dotted path of the JSON field that is polled, e.g. `status`. */
      readonly field: string;
      readonly done: readonly string[];
      readonly failed: readonly string[];
      readonly timeoutSeconds: Seconds;
    };

export interface JobReport {
  /** True only when every job came back well, in time, from this very worker. */
  readonly ok: boolean;
  readonly jobs: readonly {
    readonly id: string;
    readonly where: string;
    readonly state: 'done' | 'failed' | 'timed-out';
    readonly detail: string;
    readonly seconds: Seconds;
  }[];
  readonly problem: string | null;
  /** Where no job was sent: the last lines of what the program that sends them wrote. */
  readonly evidence?: readonly string[];
}
