import { ConfigError } from '../model/errors.ts';
import type { HttpProbe } from '../model/facts.ts';
import { type Bytes, type Seconds, seconds } from '../model/units.ts';
import type { VerifyValues } from './action-inputs.ts';

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
  /** Where stuck jobs are looked for; `null`: in what is below the unit's WorkingDirectory. */
  readonly database: string | null;
  /** From which age on a job without a sign of life is stuck. */
  readonly thresholdSeconds: Seconds;
  /** Looks and judges, submits no job. */
  readonly dryRun: boolean;
}

/** How long one HTTP probe may take. */
const probeTimeout = seconds(10);

/**
 * The inputs of the verify action as one desired state.
 *
 * @throws ConfigError when the chosen gate lacks what it needs
 */
export function readVerifyDesired(inputs: VerifyValues): VerifyDesired {
  return {
    unit: inputs.unit,
    gate: readGate(inputs),
    gateTimeoutSeconds: inputs['gate-timeout'],
    probes: inputs['http-probes'].map((url) => ({ url, timeoutSeconds: probeTimeout })),
    swapBytes: inputs['swap-size'].bytes,
    concurrency: inputs.concurrency.value,
    memoryMaxBytes: inputs['memory-max'].bytes,
    memoryHighBytes: inputs['memory-high'].bytes,
    max429: inputs['max-429'],
    maxErrors: inputs['max-errors'].value,
    maxRestarts: inputs['max-restarts'],
    database: inputs.database.path,
    thresholdSeconds: inputs.threshold,
    dryRun: inputs['dry-run'],
  };
}

function readGate(inputs: VerifyValues): GateDesired {
  switch (inputs.gate) {
    case 'none':
    case 'canary':
      return { kind: inputs.gate };
    case 'task':
      if (inputs['gate-task'] === '') throw missing('gate-task', inputs.gate, 'the name of a task');
      return {
        kind: 'task',
        task: inputs['gate-task'],
        queue: inputs['gate-queue'] === '' ? null : inputs['gate-queue'],
        args: inputs['gate-args'],
      };
    case 'http': {
      if (inputs['gate-url'] === '') throw missing('gate-url', inputs.gate, 'a URL');
      const batchForm = inputs['gate-batch-form'];
      return {
        kind: 'http',
        method: inputs['gate-method'],
        url: inputs['gate-url'],
        form: inputs['gate-form'],
        ...(Object.keys(batchForm).length > 0 && { batchForm }),
        pollUrl: inputs['gate-poll-url'] === '' ? null : inputs['gate-poll-url'],
        field: inputs['gate-field'],
        done: inputs['gate-done'],
        failed: inputs['gate-failed'],
      };
    }
  }
}

function missing(name: string, gate: string, expected: string): ConfigError {
  return new ConfigError(
    `input ${name}`,
    `\`gate: ${gate}\` is chosen, but \`${name}\` is not given`,
    expected,
  );
}
