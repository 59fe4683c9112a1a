import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Finding } from '../../model/operation.ts';
import { hasNoChildren } from '../../model/pools.ts';
import { formatBytes } from '../../model/quantities.ts';
import { type Bytes, bytes } from '../../model/units.ts';
import type { WorkerSize } from './worker-size.ts';

/**
 * What a child uses before its first task: no more than any child that runs, and no more than the
 * main process that it is forked from. `null`: no child runs.
 */
export function childBaseline(size: WorkerSize | null): Bytes | null {
  const smallest = size?.smallestChildBytes ?? null;
  return size === null || smallest === null ? null : bytes(Math.min(smallest, size.mainBytes));
}

/**
 * Judges the limits of children that a run asks for.
 *
 * @param line the new worker
 * @param size the running worker; `null`: none
 * @param memoryMaxBytes the new limit of the unit; `null`: none
 * @throws ConfigError for one that has no effect, or that replaces each child after one task
 */
export function judgePerChild(
  { call }: WorkerLine,
  desired: Pick<
    DeployWorkerDesired,
    'maxMemoryPerChildBytes' | 'maxTasksPerChild' | 'prefetchMultiplier' | 'unit'
  >,
  size: WorkerSize | null,
  memoryMaxBytes: Bytes | null,
): readonly Finding[] {
  const { maxMemoryPerChildBytes: limit, maxTasksPerChild, prefetchMultiplier } = desired;
  const asked = [
    ...(limit === null ? [] : ['max-memory-per-child']),
    ...(maxTasksPerChild === null ? [] : ['max-tasks-per-child']),
  ];
  const [name] = asked;
  if (name !== undefined && hasNoChildren(call.pool)) {
    throw new ConfigError(
      `input ${name}`,
      `\`${name}\` has no effect in the ${call.pool} pool of ${desired.unit}, which runs its tasks in the main process`,
      `no \`${name}\`, or a unit with \`-P prefork\``,
    );
  }
  return [
    ...(limit === null ? [] : judgeMemory(limit, size, memoryMaxBytes)),
    ...(prefetchMultiplier === 0 ? [unlimitedPrefetch] : []),
  ];
}

const unlimitedPrefetch: Finding = {
  level: 'warning',
  message:
    'prefetch-multiplier: 0 removes the limit: the worker takes every message from its queues, other workers get none, and all of them are handed out again if it dies',
};

function judgeMemory(
  limit: Bytes,
  size: WorkerSize | null,
  memoryMaxBytes: Bytes | null,
): readonly Finding[] {
  const baseline = childBaseline(size);
  if (size === null || baseline === null) {
    return [
      {
        level: 'notice',
        message: `max-memory-per-child ${formatBytes(limit)} could not be compared with the memory of a child: none is running. If it is below, each child is replaced after one task`,
      },
    ];
  }
  if (limit <= baseline) {
    throw new ConfigError(
      'input max-memory-per-child',
      `\`max-memory-per-child\` (${formatBytes(limit)}) is not above what a child uses before its first task (${formatBytes(baseline)}), so each child would be replaced after one task`,
      `well above ${formatBytes(baseline)}`,
    );
  }
  const findings: Finding[] = [];
  const warn = (message: string) => findings.push({ level: 'warning', message });
  const largest = size.largestChildBytes ?? baseline;
  if (limit < largest) {
    warn(
      `max-memory-per-child ${formatBytes(limit)}: a child with ${formatBytes(largest)} is running, and such a child is replaced as soon as its task ends`,
    );
  }
  if (memoryMaxBytes !== null && size.mainBytes + limit >= memoryMaxBytes) {
    warn(
      `max-memory-per-child ${formatBytes(limit)} is never reached: with ${formatBytes(size.mainBytes)} of the main process it exceeds MemoryMax= ${formatBytes(memoryMaxBytes)}, at which the kernel kills the child in the middle of its task`,
    );
  }
  return findings;
}
