import type { HttpProbe } from '../model/facts.ts';
import { type Bytes, type Seconds, seconds } from '../model/units.ts';

/** How verify proves that the worker really works: by jobs through its own queues. */
export type GateDesired =
  | { readonly kind: 'none' }
  /** The support module's own task: one to the first queue, then a batch over the others. */
  | { readonly kind: 'canary' }
  /** A task of the user's own: one call, then a batch of three. */
  | {
      readonly kind: 'task';
      readonly task: string;
      /** `null`: wherever the app's own routes send it. */
      readonly queue: string | null;
      readonly args: readonly unknown[];
    }
  /** An HTTP call of the user's own, then a poll until it says it is done. */
  | {
      readonly kind: 'http';
      readonly method: 'GET' | 'POST';
      readonly url: string;
      readonly form: Readonly<Record<string, string>>;
      /** The form of a second call, that starts a batch; absent: no second call. */
      readonly batchForm?: Readonly<Record<string, string>>;
      /** `{name}` stands for a field of the first answer's JSON; `null`: its status is enough. */
      readonly pollUrl: string | null;
      /** Dotted path of the polled JSON field, e.g. `status`. */
      readonly field: string;
      readonly done: readonly string[];
      readonly failed: readonly string[];
    };

/** What a healthy host looks like. Where a value is `null`, only its sanity is judged. */
export interface VerifyDesired {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly gate: GateDesired;
  /** How long the single job may take, and again the batch. */
  readonly gateTimeoutSeconds: Seconds;
  readonly probes: readonly HttpProbe[];
  readonly swapBytes: Bytes | null;
  /** Pool children; `null`: as the unit's ExecStart says. */
  readonly concurrency: number | null;
  readonly memoryMaxBytes: Bytes | null;
  readonly memoryHighBytes: Bytes | null;
  /** Journal lines with an HTTP status 429 that are tolerated. */
  readonly max429: number;
  /** Errors in the journal that are tolerated; `null`: any number, with a warning. */
  readonly maxErrors: number | null;
  /** Restarts by systemd since the unit was last started by hand or by a deploy. */
  readonly maxRestarts: number;
  /** Where stuck jobs are looked for; `null`: nowhere. */
  readonly database: { readonly path: string; readonly thresholdSeconds: Seconds } | null;
  /** Looks and judges, submits no job. */
  readonly dryRun: boolean;
}

export const verifyDefaults = {
  unit: 'celery-worker.service',
  gate: { kind: 'canary' },
  gateTimeoutSeconds: seconds(120),
  probes: [],
  swapBytes: null,
  concurrency: null,
  memoryMaxBytes: null,
  memoryHighBytes: null,
  max429: 0,
  maxErrors: null,
  maxRestarts: 0,
  database: null,
  dryRun: false,
} as const satisfies VerifyDesired;
