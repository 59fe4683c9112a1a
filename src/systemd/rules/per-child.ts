import { hasNoChildren } from '../../model/pools.ts';
import { formatMebibytes } from '../../model/quantities.ts';
import { MiB } from '../../model/units.ts';
import { named, type UnitRule } from '../unit-rule.ts';

/** No child of Celery is smaller: Python with Celery alone needs more. */
export const smallestChildBytes = 16 * MiB;

/** Rules for the limits of a pool's children. */
export const perChildRules: readonly UnitRule[] = [
  {
    id: 'memory-per-child',
    title: '--max-memory-per-child is below the minimum that a child needs',
    why: 'the value is in KiB and compared after each task, so every child is replaced after one task (celery#4125)',
    fix: 'a value well above the memory of an idle child, in KiB: 300000 for 300 MB',
    mends: {
      kind: 'not',
      how: 'The option is left to you, unless `max-memory-per-child` is set, which is refused if it is too small.',
    },
    example: {
      wrong: ['ExecStart=/usr/bin/celery -A app worker --max-memory-per-child=300'],
      right: ['ExecStart=/usr/bin/celery -A app worker --max-memory-per-child=300000'],
    },
    find: (_file, { worker, processes }) => {
      const limit = worker?.maxMemoryPerChild ?? null;
      if (!worker || limit === null || hasNoChildren(worker.pool)) return [];
      const least = Math.max(processes?.baselineBytes ?? 0, smallestChildBytes);
      if (limit > least) return [];
      const seen = `${named(worker.entry)}, which is ${formatMebibytes(limit)}; a child has at least ${formatMebibytes(least)}`;
      return [{ entry: worker.entry, seen }];
    },
  },
  {
    id: 'per-child-without-children',
    title: 'limits for child processes in a pool that has none',
    why: 'solo, threads, gevent and eventlet run their tasks in the main process, which --max-tasks-per-child and --max-memory-per-child never replace',
    fix: 'no such option; MemoryMax= limits the main process, too',
    mends: { kind: 'not', how: 'The option is left to you: it does no harm.' },
    example: {
      wrong: ['ExecStart=/usr/bin/celery -A app worker -P gevent --max-tasks-per-child=100'],
      right: ['ExecStart=/usr/bin/celery -A app worker -P gevent', 'MemoryMax=800M'],
    },
    find: (_file, { worker }) => {
      if (!worker || !hasNoChildren(worker.pool)) return [];
      return worker.maxMemoryPerChild === null && worker.maxTasksPerChild === null
        ? []
        : [{ entry: worker.entry, seen: named(worker.entry) }];
    },
  },
];
