import type { ByTheApp } from './operation/app.ts';
import type { Bytes, EpochSeconds, Seconds, Sha256 } from './units.ts';

/** The first line of the agent. */
export type Hello = {
  readonly hello: 'celeriac';
  readonly protocol: number;
  readonly python: string;
  readonly user: string;
  readonly pid: number;
} & AgentOrigin;

type AgentOrigin =
  /** This run has sent it. */
  | { readonly kind: 'streamed' }
  /** It is installed on the host, with a policy. */
  | {
      readonly kind: 'installed';
      /** Identifies its sources. */
      readonly version: string;
      /** `none`: its policy cannot be used. */
      readonly access: 'change' | 'read' | 'none';
    };

/** Whether the agent carries out changes. */
export const mayChange = (hello: Hello): boolean =>
  hello.kind === 'streamed' || hello.access === 'change';

/** How one operation of a transaction ended. */
export interface Step {
  readonly index: number;
  readonly op: string;
  readonly status: 'done' | 'already' | 'failed' | 'undone' | 'not-undone' | 'skipped';
  /** One line for people: what happened. */
  readonly message: string;
  readonly seconds: Seconds;
  /** What people still have to do on the host, although the step was undone; a sentence. */
  readonly todo?: string;
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

export type Outcome = {
  /** `20261122T131500-4f2a`; names the folder under /var/lib/celeriac/transactions. */
  readonly transaction: string;
  readonly steps: readonly Step[];
} & (
  | {
      readonly result: 'committed';
      /** The host rolls it back at this time unless verify confirms it before. */
      readonly confirmBy?: EpochSeconds;
      /** The number of the release that it became. */
      readonly release?: number;
      readonly failure?: undefined;
    }
  | {
      readonly result: 'undone' | 'undo-failed';
      /** Absent: no step failed; it was interrupted, or undone on request. */
      readonly failure?: StepFailure;
      readonly confirmBy?: undefined;
      readonly release?: undefined;
    }
);

/** Lasting findings that a run told, all of them. */
export interface ToldNotices {
  /** `deploy-worker of celery-worker.service`. */
  readonly about: string;
  readonly messages: readonly string[];
}

/** The transactions that have begun, which another connection can follow. */
export interface Opened {
  readonly transactions: readonly string[];
  /** Where the host streams its progress. */
  readonly live: string;
}

/** A transaction or rollback that was interrupted, and how the host recovered it. */
export type Deed = Outcome & {
  /** Who undid it. */
  readonly by: string;
  readonly why: string;
};

/** Streamed while something runs. */
export type Progress =
  | ({ readonly kind: 'opened' } & Opened)
  | { readonly kind: 'step-started'; readonly index: number; readonly title: string }
  | { readonly kind: 'step-ended'; readonly step: Step }
  | { readonly kind: 'note'; readonly message: string }
  | ({ readonly kind: 'probes' } & ProbesProgress)
  | { readonly kind: 'chunk'; readonly data: string };

/**
 * Where a probe of the gate is: in its queue; received by a worker; running; nowhere, twice in a row;
 * or where nobody could look.
 */
export type ProbePlace = 'queued' | 'reserved' | 'active' | 'done' | 'failed' | 'lost' | 'unknown';

/** Where the probes of one request stand, for those who wait. */
export interface ProbesProgress {
  /** Since they were sent. */
  readonly seconds: Seconds;
  readonly probes: readonly {
    readonly where: string;
    readonly place: ProbePlace;
    /** What the app said last; empty: nothing. */
    readonly detail: string;
  }[];
}

/** Who asks for a transaction, and under which conditions. */
export interface TransactionMeta {
  readonly action: string;
  /** Who asks, for the lock and the ledger: run URL, else user and host. */
  readonly holder: string;
  readonly sha: string;
  /** The person or bot that started the run. */
  readonly actor?: string;
  readonly unit?: string;
  readonly lockTimeoutSeconds: Seconds;
  /**
   * The transaction becomes a release of the unit in the host's ledger; `null`: it awaits no
   * verdict.
   */
  readonly release?: { readonly confirmWithinSeconds: Seconds | null };
}

export interface SnapshotInfo {
  readonly database: string;
  /** All of it, or only the rows of an extract. */
  readonly holds: 'everything' | 'rows';
  readonly sizeBytes: Bytes;
  readonly sha256: Sha256;
  readonly takenAt: EpochSeconds;
  /** When somebody last wrote to the database; `null`: not known. */
  readonly writtenAt: EpochSeconds | null;
}

/** A request to the app that removes or marks what a probe made, once that has ended. */
export interface CleanRequest {
  readonly method: 'DELETE' | 'POST';
  /** `{name}` is replaced by that field of the first response, or `{task_id}` by the task's id. */
  readonly url: string;
  readonly form: Readonly<Record<string, string>>;
}

/** Probes of the gate. The host sends them: tasks through the app's Celery, or HTTP requests. */
export type JobRequest =
  | (ByTheApp & {
      /** A task of the support module: works with every app. */
      readonly kind: 'canary';
      /** One canary for each entry, in this order; a queue may occur several times. */
      readonly queues: readonly string[];
      readonly timeoutSeconds: Seconds;
    })
  | (ByTheApp & {
      /** A task of the app, by name; its result backend shows when it is done. */
      readonly kind: 'task';
      readonly task: string;
      readonly queue: string | null;
      /** One call for each entry. */
      readonly calls: readonly { readonly args: readonly unknown[] }[];
      readonly timeoutSeconds: Seconds;
      readonly clean?: CleanRequest;
    })
  | {
      /** An HTTP request to the app, then polling until a field says that it is done. */
      readonly kind: 'http';
      readonly method: 'GET' | 'POST';
      readonly url: string;
      readonly form: Readonly<Record<string, string>>;
      /** `{name}` is replaced by that field of the first response's JSON. */
      readonly pollUrl: string | null;
      /** Dotted path of the JSON field to poll, e.g. `status`. */
      readonly field: string;
      readonly done: readonly string[];
      readonly failed: readonly string[];
      readonly timeoutSeconds: Seconds;
      readonly clean?: CleanRequest;
    };

export interface JobReport {
  /** Whether every probe succeeded in time, on this worker. */
  readonly ok: boolean;
  readonly jobs: readonly {
    readonly id: string;
    readonly where: string;
    readonly state: 'done' | 'failed' | 'timed-out';
    readonly detail: string;
    readonly seconds: Seconds;
    /** Where it was last; absent: an HTTP request, whose place only the app knows. */
    readonly place?: ProbePlace;
    /** Why what it made was not removed; `null`: it was; absent: nobody asked for it. */
    readonly left?: string | null;
  }[];
  readonly problem: string | null;
  /** If no probe was sent: the last output lines of the process that sends them. */
  readonly evidence?: readonly string[];
  /** From the app itself; absent if no process of the app sent the probes. */
  readonly delivery?: DeliveryReport;
}

/** When the broker delivers a message again that is not acknowledged. */
export interface DeliveryReport {
  readonly transport: string;
  /** `null`: unknown, or not before the connection ends. */
  readonly seconds: Seconds | null;
  /** The setting of the app, or `the default`. */
  readonly where: string;
  /** Why it is unknown. */
  readonly problem: string | null;
}
