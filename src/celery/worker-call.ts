import type { UnitFact } from '../model/facts/unit.ts';
import { hasChildren } from '../model/pools.ts';
import { isExpanded } from '../systemd/exec-line.ts';
import { type CeleryCall, findCeleryCall } from './celery-call.ts';
import { atHome } from './shell-scene.ts';
import { workerLineOf } from './worker-line.ts';
import { workingDirectoryOf } from './worker-process.ts';

/** What the unit shows about the worker that it runs. */
export interface WorkerCall {
  /** The value of `-A`; `null` when there is none, or none that can be read. */
  readonly app: string | null;
  /** `default`: no `-Q`; `unknown`: it contains variables that systemd expands. */
  readonly queues: readonly string[] | 'default' | 'unknown';
  /** `-X`: of the app's queues, those that it does not consume; `unknown`: as above. */
  readonly excludedQueues: readonly string[] | 'unknown';
  /** Pool children, without beat; `null`: unknown. */
  readonly children: { readonly min: number; readonly max: number } | null;
  /** The pool forks children; the other pools work in the main process. */
  readonly forks: boolean;
  /** `-B`: the scheduler runs as one more child. */
  readonly beat: boolean;
  /** Modules that `-I` loads: the support module must be one of them for canaries. */
  readonly include: readonly string[];
  /** The working directory of its processes. */
  readonly workingDirectory: string;
}

/**
 * The worker that a unit runs: from its main process, where variables and drop-ins are resolved,
 * otherwise from its files. `null` when neither shows a Celery worker.
 */
export function workerCallOf(unit: UnitFact, cpus: number): WorkerCall | null {
  const main = unit.processes.find(({ pid }) => pid === unit.mainPid);
  // With setproctitle installed, Celery overwrites its arguments with a title that cannot be parsed.
  const running = main === undefined ? null : findCeleryCall(main.argv);
  if (running?.kind === 'found') return describeCall(running.call, unit, cpus, () => false);
  const line = workerLineOf(unit);
  return line === null ? null : describeCall(line.call, unit, cpus, isExpanded);
}

function describeCall(
  call: CeleryCall,
  unit: UnitFact,
  cpus: number,
  isUnknown: (text: string) => boolean,
): WorkerCall {
  const directory = call.workingDirectory && atHome(call.workingDirectory, unit.variables?.HOME);
  const forks = hasChildren(call.pool);
  return {
    app: call.app === null || call.app === '' || isUnknown(call.app) ? null : call.app,
    queues: describeQueues(call, isUnknown),
    excludedQueues: call.excludedQueues.some(isUnknown) ? 'unknown' : call.excludedQueues,
    children: forks ? childrenOf(call, cpus) : { min: 0, max: 0 },
    forks,
    beat: call.beat,
    include: call.include,
    workingDirectory: workingDirectoryOf(
      unit,
      directory === null || isUnknown(directory) ? null : directory,
    ),
  };
}

function describeQueues(
  { queues, excludedQueues }: CeleryCall,
  isUnknown: (text: string) => boolean,
): WorkerCall['queues'] {
  if (queues === null || queues.length === 0) return 'default';
  return queues.some(isUnknown)
    ? 'unknown'
    : queues.filter((name) => !excludedQueues.includes(name));
}

function childrenOf(call: CeleryCall, cpus: number): WorkerCall['children'] {
  const scale = /^(\d+)(?:,(\d+))?$/.exec(call.autoscale ?? '');
  if (call.autoscale !== null) {
    return scale === null ? null : { min: Number(scale[2] ?? 0), max: Number(scale[1]) };
  }
  if (call.concurrency !== null && !/^\d+$/.test(call.concurrency)) return null;
  // To Celery, 0 means "not set".
  const count = Number(call.concurrency ?? 0) || cpus;
  return { min: count, max: count };
}
