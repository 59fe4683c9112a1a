import type { AppProcess } from '../celery/app-process.ts';
import type { WorkerCall } from '../celery/worker-call.ts';
import type { GateDesired } from '../config/verify-desired.ts';
import { ConfigError } from '../model/errors.ts';
import type { ByTheApp } from '../model/operation/app.ts';
import { formatList } from '../model/quantities.ts';
import type { Seconds } from '../model/units.ts';
import { showUrl } from '../systemd/secrets.ts';
import type { GateRequest } from './evidence.ts';

/** Where probes are sent from, and to. */
export interface GateSource {
  readonly unit: string;
  readonly app: AppProcess;
  /** `null`: the unit's ExecStart is not a Celery worker that can be read. */
  readonly call: WorkerCall | null;
}

/**
 * The requests of the gate: one probe, then a batch. Empty for the gate `none`.
 *
 * @throws ConfigError when the unit does not show how to reach its app
 */
export function planGate(
  gate: GateDesired,
  source: GateSource,
  timeoutSeconds: Seconds,
  batchSize: number,
): readonly GateRequest[] {
  switch (gate.kind) {
    case 'none':
      return [];
    case 'canary': {
      const app = requireApp(source);
      const [first, batch] = spreadCanaries(queuesOf(source), batchSize);
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
      const app = requireApp(source);
      const { task, queue, args, clean } = gate;
      const where = queue === null ? '' : ` to ${queue}`;
      const request = (count: number) =>
        ({
          kind: 'task',
          ...app,
          task,
          queue,
          calls: Array.from({ length: count }, () => ({ args })),
          timeoutSeconds,
          ...(clean !== undefined && { clean }),
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
      const { batchForm, ...call } = gate;
      const { method, url } = call;
      const request = { ...call, timeoutSeconds };
      const title = `${method} ${showUrl(url)}`;
      return [
        { id: 'gate-job', title, request },
        ...(batchForm === undefined
          ? []
          : [
              {
                id: 'gate-batch',
                title: `${title} with the batch form`,
                request: { ...request, form: batchForm },
              } as const,
            ]),
      ];
    }
  }
}

/** What a gate costs, said before it starts: calls of a task of the app are real work. */
export function announceGate(requests: readonly GateRequest[]): string | null {
  const calls = requests.flatMap(({ request }) => (request.kind === 'task' ? [request] : []));
  const [first, ...others] = calls.map((request) => request.calls.length);
  const task = calls[0]?.task;
  if (task === undefined || first === undefined) return null;
  const all = others.reduce((sum, count) => sum + count, first);
  const rest = others.map((count) => `, then ${count} at once`).join('');
  return `runs ${task} ${all} times: once${rest}`;
}

/**
 * One canary to the first queue, then a batch of at least `size` to the others, so that every queue
 * gets one; with fewer queues, they are reused.
 */
export function spreadCanaries(
  queues: readonly string[],
  size: number,
): readonly [first: string, batch: readonly string[]] {
  // Celery's default queue, for a worker without -Q.
  const [first = 'celery', ...others] = new Set(queues);
  const all = [...others, first];
  const length = Math.max(size, others.length);
  const batch = Array.from({ length }, (_, index) => all[index % all.length] ?? first);
  return [first, batch];
}

function queuesOf({ unit, call }: GateSource): readonly string[] {
  if (call?.queues === 'unknown') {
    throw new ConfigError(
      'input unit',
      `cannot read the queues of ${unit}: its -Q contains variables`,
      'literal queue names in ExecStart, or gate `task`, `http` or `none`',
    );
  }
  return call === null || call.queues === 'default' ? [] : call.queues;
}

function requireApp({ unit, app }: GateSource): ByTheApp {
  if (app.kind === 'known') return app.process;
  throw new ConfigError('input unit', ...describeMissing(unit, app));
}

function describeMissing(
  unit: string,
  app: AppProcess & { kind: 'unknown' },
): readonly [problem: string, expected: string] {
  switch (app.missing) {
    case 'worker':
      return [
        `cannot read a Celery worker command from ${unit}`,
        'a unit whose ExecStart is `celery … worker`, or gate `http` or `none`',
      ];
    case 'app':
      return [
        `cannot read the app from the ExecStart of ${unit}`,
        '`celery -A <app> worker`, or gate `http` or `none`',
      ];
    case 'interpreter':
      return [
        `cannot tell which Python runs the Celery of ${unit}`,
        'an ExecStart with a Python, or a program whose shebang names one; or gate `http` or `none`',
      ];
    case 'python':
      return [
        `cannot tell from ${app.from} which Python runs the Celery of ${unit}`,
        'the path of the celery that the app uses in ExecStart, e.g. /srv/app/venv/bin/celery; or gate `http` or `none`',
      ];
    case 'program':
      return [
        `the ExecStart of ${unit} runs ${app.program}, which is not on the host`,
        'the path of the celery that the app uses, or gate `http` or `none`',
      ];
  }
}
