import { ConfigError } from '../model/errors.ts';
import type { HttpProbe } from '../model/facts/probe.ts';
import type { CleanRequest } from '../model/outcome.ts';
import type { OwnCheck } from '../model/own-check.ts';
import { type Bytes, type Seconds, seconds } from '../model/units.ts';
import { readStores } from './cleanup-desired.ts';
import { refuseMemoryHigh } from './memory-limits.ts';
import { parseOwnChecks } from './own-checks-input.ts';
import type { VerifyValues } from './verify-inputs.ts';

/** How verify proves that the worker works: by probes through its own queues. */
export type GateDesired =
  | { readonly kind: 'none' }
  /** The task of the support module: one to the first queue, then a batch to the others. */
  | { readonly kind: 'canary' }
  /** A task of the app: one call, then a batch. */
  | {
      readonly kind: 'task';
      readonly task: string;
      /** `null`: the app's routing decides. */
      readonly queue: string | null;
      readonly args: readonly unknown[];
      /** How to remove or mark what a probe made; absent: it stays. */
      readonly clean?: CleanRequest;
    }
  /** An HTTP request to the app, then polling until its status says done. */
  | {
      readonly kind: 'http';
      readonly method: 'GET' | 'POST';
      readonly url: string;
      readonly form: Readonly<Record<string, string>>;
      /** Form fields of a second request that starts a batch; absent: no second request. */
      readonly batchForm?: Readonly<Record<string, string>>;
      /** `{name}` stands for a field of the first response's JSON; `null`: no polling. */
      readonly pollUrl: string | null;
      /** Dotted path of the JSON field with the status, e.g. `status`. */
      readonly field: string;
      readonly done: readonly string[];
      readonly failed: readonly string[];
      readonly clean?: CleanRequest;
    };

/** What a healthy host looks like. Values that are `null` are only checked for plausibility. */
export interface VerifyDesired {
  /** With its suffix: `celery-worker.service`. */
  readonly unit: string;
  readonly gate: GateDesired;
  /** Probes in the batch, of a gate of canaries or tasks. */
  readonly gateBatch: number;
  /** Timeout of the single probe, and again of the batch. */
  readonly gateTimeoutSeconds: Seconds;
  readonly probes: readonly HttpProbe[];
  /** Those that the user has written. */
  readonly ownChecks: readonly OwnCheck[];
  readonly swapBytes: Bytes | null;
  /** Child processes; `null`: as in the unit's ExecStart. */
  readonly concurrency: number | null;
  readonly memoryMaxBytes: Bytes | null;
  readonly memoryHighBytes: Bytes | null;
  /** Tolerated growth of the worker's memory by the gate; `null`: a warning if it is large. */
  readonly memoryReturnBytes: Bytes | null;
  /** Tolerated journal lines with an HTTP status 429. */
  readonly max429: number;
  /** Tolerated HTTP statuses 429 in one minute; `null`: only `max429` counts. */
  readonly rateLimitMax: number | null;
  /** Tolerated errors in the journal; `null`: any number, with a warning. */
  readonly maxErrors: number | null;
  /** Tolerated restarts by systemd since the last start by hand or by a deploy. */
  readonly maxRestarts: number;
  /** Where to look for stuck jobs; none: in databases below the unit's WorkingDirectory. */
  readonly databases: readonly string[];
  /** A job without a sign of life for this long is stuck. */
  readonly thresholdSeconds: Seconds;
  /** Run the checks, but send no probes. */
  readonly dryRun: boolean;
}

/** Timeout of one HTTP probe. */
const probeTimeout = seconds(10);

/**
 * The desired state of verify.
 *
 * @throws ConfigError when an input that the gate needs is missing, or inputs contradict each other
 */
export function readVerifyDesired(inputs: VerifyValues): VerifyDesired {
  refuseMemoryHigh(inputs['memory-high'].bytes, inputs['memory-max'].bytes, 'no `memory-high`');
  const { stores, database } = readStores(inputs);
  return {
    unit: inputs.unit,
    gate: readGate(inputs),
    gateBatch: inputs['gate-batch'],
    gateTimeoutSeconds: inputs['gate-timeout'],
    ownChecks: parseOwnChecks(inputs.checks),
    probes: inputs['http-probes'].map((url) => ({ url, timeoutSeconds: probeTimeout })),
    swapBytes: inputs['swap-size'].bytes,
    concurrency: inputs.concurrency.value,
    memoryMaxBytes: inputs['memory-max'].bytes,
    memoryHighBytes: inputs['memory-high'].bytes,
    memoryReturnBytes: inputs['memory-return'].bytes,
    max429: inputs['max-429'],
    rateLimitMax: inputs['rate-limit-max'].value,
    maxErrors: inputs['max-errors'].value,
    maxRestarts: inputs['max-restarts'],
    databases: database === null ? stores.map((each) => each.database) : [database],
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
        ...readClean(inputs),
      };
    case 'http': {
      if (inputs['gate-url'] === '') throw missing('gate-url', inputs.gate, 'a URL');
      const batchForm = inputs['gate-batch-form'];
      refuseDoneAndFailed(inputs['gate-done'], inputs['gate-failed']);
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
        ...readClean(inputs),
      };
    }
  }
}

/** With a field in its URL: without one, it would be the same request for each probe. */
function readClean(inputs: VerifyValues): { readonly clean?: CleanRequest } {
  const url = inputs['gate-clean-url'];
  if (url === '') return {};
  const method = inputs['gate-clean-method'];
  const form = inputs['gate-clean-form'];
  const fields = url.match(/\{[\w.-]+\}/g) ?? [];
  const isTask = inputs.gate === 'task';
  if (fields.length === 0 || (isTask && fields.some((each) => each !== '{task_id}'))) {
    const field = isTask ? '`{task_id}`' : '`{name}`, a field of the first response';
    throw new ConfigError(
      'input gate-clean-url',
      fields.length === 0 ? 'it is the same for each probe' : 'a task has only its id',
      `a URL with ${field}`,
    );
  }
  return { clean: { method, url, form } };
}

function missing(name: string, gate: string, expected: string): ConfigError {
  const problem = `\`gate: ${gate}\` needs \`${name}\``;
  return new ConfigError(`input ${name}`, problem, expected, { because: ['gate'] });
}

function refuseDoneAndFailed(done: readonly string[], failed: readonly string[]): void {
  const both = done.find((word) => failed.includes(word));
  if (both === undefined) return;
  throw new ConfigError(
    'input gate-done',
    `${both} is in \`gate-done\` and in \`gate-failed\``,
    'each value in one of the two',
    { because: ['gate-failed', 'gate'] },
  );
}
