import type { WorkerCall } from '../celery/worker-call.ts';
import type { GateDesired } from '../config/verify-desired.ts';
import { ConfigError } from '../model/errors.ts';
import type { Seconds } from '../model/units.ts';
import { formatList } from '../report/quantities.ts';
import type { GateRequest } from './evidence.ts';

/** Jobs in the batch of a gate. */
const batchSize = 3;

/** Where the jobs are sent from: the unit's own interpreter, app and module path. */
export interface GateSource {
  readonly unit: string;
  /** `null`: the unit runs no Python that is known. */
  readonly interpreter: readonly string[] | null;
  /** `null`: the unit's ExecStart is no Celery worker that can be read. */
  readonly call: WorkerCall | null;
}

/**
 * The messages of the gate: one job, then a batch. None for the gate `none`.
 *
 * @throws ConfigError when the unit does not tell how to reach its app
 */
export function planGate(
  gate: GateDesired,
  source: GateSource,
  timeoutSeconds: Seconds,
): readonly GateRequest[] {
  switch (gate.kind) {
    case 'none':
      return [];
    case 'canary': {
      const app = appOf(source);
      const [first, batch] = spreadCanaries(queuesOf(source));
      const request = (queues: readonly string[]) =>
        ({ kind: 'canary', ...app, queues, timeoutSeconds }) as const;
      return [
        { id: 'gate-job', title: `1 canary to ${first}`, request: request([first]) },
        {
          id: 'gate-batch',
          title: `${batch.length} canaries to ${formatList(batch)}`,
          request: request(batch),
        },
      ];
    }
    case 'task': {
      const app = appOf(source);
      const { task, queue, args } = gate;
      const where = queue === null ? '' : ` to ${queue}`;
      const request = (count: number) =>
        ({
          kind: 'task',
          ...app,
          task,
          queue,
          calls: Array.from({ length: count }, () => ({ args })),
          timeoutSeconds,
        }) as const;
      return [
        { id: 'gate-job', title: `1 call of ${task}${where}`, request: request(1) },
        {
          id: 'gate-batch',
          title: `${batchSize} calls of ${task}${where}`,
          request: request(batchSize),
        },
      ];
    }
    case 'http': {
      const { kind, method, url, form, batchForm, pollUrl, field, done, failed } = gate;
      const request = { kind, method, url, form, pollUrl, field, done, failed, timeoutSeconds };
      const title = `${method} ${url}`;
      return [
        { id: 'gate-job', title, request },
        ...(batchForm === undefined
          ? []
          : [
              {
                id: 'gate-batch',
                title: `${title} with the form of a batch`,
                request: { ...request, form: batchForm },
              } as const,
            ]),
      ];
    }
  }
}

/**
 * One canary to the first queue, then a batch of at least three over the others, so that every
 * queue has one; where there are fewer queues, they are used again.
 */
export function spreadCanaries(
  queues: readonly string[],
): readonly [first: string, batch: readonly string[]] {
  // Celery's default queue, for a worker that names none.
  const [first = 'celery', ...others] = new Set(queues);
  const all = [...others, first];
  const size = Math.max(batchSize, others.length);
  const batch = Array.from({ length: size }, (_, index) => all[index % all.length] ?? first);
  return [first, batch];
}

function queuesOf({ unit, call }: GateSource): readonly string[] {
  if (call?.queues === 'unknown') {
    throw new ConfigError(
      'input unit',
      `the queues of ${unit} can't be read: its -Q holds variables`,
      'queues by name in ExecStart, or gate `task`, `http` or `none`',
    );
  }
  return call === null || call.queues === 'default' ? [] : call.queues;
}

function appOf({ unit, interpreter, call }: GateSource) {
  if (call === null) {
    throw new ConfigError(
      'input unit',
      `${unit} does not run a Celery worker that can be read`,
      'a unit whose ExecStart is `celery … worker`, or gate `http` or `none`',
    );
  }
  if (call.app === null) {
    throw new ConfigError(
      'input unit',
      `the ExecStart of ${unit} names no app that can be read`,
      '`celery -A <app> worker`, or gate `http` or `none`',
    );
  }
  if (interpreter === null) {
    throw new ConfigError(
      'input unit',
      `${unit} does not show which Python its Celery runs with`,
      'an ExecStart of a Python, or of a program whose shebang names one; or gate `http` or `none`',
    );
  }
  return { unit, interpreter, app: call.app, pythonPath: call.pythonPath };
}
