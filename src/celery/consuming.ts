import type { ConsumingQuery } from '../model/facts.ts';
import type { ByTheApp } from '../model/operation.ts';
import type { WorkerCall } from './worker-call.ts';

/** How to ask whether a worker takes its messages; `null`: its queues cannot be read. */
export function consumingQuery(app: ByTheApp, call: WorkerCall | null): ConsumingQuery | null {
  if (call === null || call.queues === 'unknown') return null;
  return { ...app, queues: call.queues === 'default' ? null : call.queues, forks: call.forks };
}
