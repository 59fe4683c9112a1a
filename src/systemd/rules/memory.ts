import { formatMebibytes } from '../../model/quantities.ts';
import { type Bytes, bytes } from '../../model/units.ts';
import type { Assignment } from '../unit-entry.ts';
import type { UnitFile } from '../unit-file.ts';
import { named, type RuleContext, type Sighting, setting, type UnitRule } from '../unit-rule.ts';
import { parseSize } from '../values.ts';

/** Rules for memory limits. */
export const memoryRules: readonly UnitRule[] = [
  {
    id: 'memory-high-without-swap',
    title: 'MemoryHigh= on a host without swap',
    why: 'the kernel throttles a worker above the limit, but without swap it cannot reclaim memory: the worker hangs and is never killed',
    fix: 'add swap first, or use MemoryMax= alone',
    mends: {
      kind: 'whole',
      how: 'MemoryHigh= is set only if swap is active, and removed otherwise, except from the drop-in of somebody else. `provision` adds swap.',
    },
    example: {
      wrong: ['MemoryHigh=600M', '# and no swap'],
      right: ['MemoryMax=800M'],
    },
    find: (file, { swapActive }) => {
      const entry = setting(file, 'MemoryHigh');
      return swapActive || entry === null || entry.value === 'infinity'
        ? []
        : [{ entry, seen: named(entry) }];
    },
  },
  {
    id: 'memory-high-above-max',
    title: 'MemoryHigh= is not below MemoryMax=',
    why: 'the worker is killed before it is ever throttled',
    fix: 'MemoryHigh= below MemoryMax=',
    mends: {
      kind: 'in-part',
      how: 'They are set from `memory-high` and `memory-max`; what is left out stays as it is.',
    },
    example: {
      wrong: ['MemoryHigh=1G', 'MemoryMax=800M'],
      right: ['MemoryHigh=600M', 'MemoryMax=800M'],
    },
    find: (file, { hostMemoryBytes }) => {
      const entry = setting(file, 'MemoryHigh');
      const max = setting(file, 'MemoryMax');
      const [high, limit] = [bytesOf(entry, hostMemoryBytes), bytesOf(max, hostMemoryBytes)];
      return entry === null || max === null || high === null || limit === null || high < limit
        ? []
        : [{ entry, seen: `${named(entry)} with ${named(max)}` }];
    },
  },
  {
    id: 'invalid-size',
    title: 'a memory limit that systemd ignores',
    why: 'systemd logs a warning and applies no limit',
    fix: 'a number with K, M, G or T such as 1500M, a percentage such as 40%, or infinity',
    mends: {
      kind: 'in-part',
      how: 'MemoryMax= and MemoryHigh= are set if `memory-max` and `memory-high` are, or if the unit has no valid limit and one can be calculated. Other settings are left to you.',
    },
    example: { wrong: ['MemoryMax=1500MB'], right: ['MemoryMax=1500M'] },
    find: (file) =>
      ['MemoryMax', 'MemoryHigh', 'MemoryLow', 'MemoryMin', 'MemorySwapMax', 'MemoryLimit']
        .map((key) => setting(file, key))
        .filter((entry) => entry !== null && parseSize(entry.value) === null)
        .map((entry) => ({ entry, seen: entry ? named(entry) : '' })),
  },
  {
    id: 'concurrency-memory',
    title: 'more child processes than fit in memory',
    why: 'at their current size, the main process and its children need more than the limit: the kernel kills children in the middle of their tasks, or the host swaps constantly',
    fix: 'a lower `--concurrency`, or a higher MemoryMax= if the host has the memory',
    mends: {
      kind: 'in-part',
      how: '`--concurrency` and MemoryMax= are set from `concurrency` and `memory-max`, if you set these; choose values that fit.',
    },
    example: {
      wrong: [
        'ExecStart=/usr/bin/celery -A app worker --concurrency=5',
        'MemoryMax=800M',
        '# with 60 MiB for the main process and 300 MiB for each child',
      ],
      right: ['ExecStart=/usr/bin/celery -A app worker --concurrency=2', 'MemoryMax=800M'],
    },
    find: (file, context) => tooManyChildren(file, context),
  },
];

function tooManyChildren(file: UnitFile, context: RuleContext): readonly Sighting[] {
  const { hostMemoryBytes, processes, worker } = context;
  // The size of a worker is only known while it runs.
  const children = worker?.children;
  if (!worker || !children || processes === null || processes.childBytes === 0) return [];
  const entry = setting(file, 'MemoryMax');
  const max = bytesOf(entry, hostMemoryBytes);
  const limit = Math.min(max ?? hostMemoryBytes, hostMemoryBytes);
  const { mainBytes, childBytes } = processes;
  const needed = mainBytes + children * childBytes;
  if (needed <= limit) return [];
  const beside =
    limit === max && entry
      ? named(entry)
      : `${formatMebibytes(hostMemoryBytes)} of memory on the host`;
  const seen = `${formatMebibytes(mainBytes)} + ${children} × ${formatMebibytes(childBytes)} = ${formatMebibytes(needed)}, with ${beside}`;
  return [{ entry: worker.entry, seen }];
}

function bytesOf(entry: Assignment | null, hostMemoryBytes: Bytes): Bytes | null {
  const size = entry === null ? null : parseSize(entry.value);
  if (size?.kind === 'percent') return bytes((hostMemoryBytes * size.percent) / 100);
  return size?.kind === 'bytes' ? size.bytes : null;
}
