import { findUnitFaults } from '../../celery/unit-faults.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { printSize } from '../../config/quantities.ts';
import type { Finding } from '../../model/operation.ts';
import { rulePage, type UnitContext, type UnitFault } from '../../systemd/unit-rules.ts';
import type { UnitStack } from '../../systemd/unit-stack.ts';

/** The faults of the current unit, and those that the new one still has or adds. */
export function describeFaults(
  before: UnitStack,
  after: UnitStack,
  path: string,
  context: UnitContext,
): readonly Finding[] {
  const was = findUnitFaults(before.file, context);
  const still = findUnitFaults(after.file, context);
  const isSame = (one: UnitFault) => (other: UnitFault) =>
    one.rule.id === other.rule.id && one.seen === other.seen;
  const added = still.filter((fault) => !was.some(isSame(fault)));
  const place = (fault: UnitFault): string =>
    fault.entry === null ? path : before.whereOf(fault.entry);
  return [
    ...was.flatMap((fault): readonly Finding[] => {
      const { rule } = fault;
      if (still.some(isSame(fault))) {
        return [describeFault(fault, 'warning', `Not fixed here: ${rule.fix}`, place(fault))];
      }
      // Changed, but still a fault: reported below with its new text.
      if (added.some((other) => other.rule.id === rule.id)) return [];
      return [describeFault(fault, 'notice', 'The new unit fixes it', place(fault))];
    }),
    ...added.map((fault) =>
      describeFault(fault, 'warning', `The new unit has this fault: ${fault.rule.fix}`, path),
    ),
  ];
}

const describeFault = (
  { rule, seen }: UnitFault,
  level: Finding['level'],
  mending: string,
  where: string,
): Finding => ({
  level,
  message: `${rule.title} (${seen}): ${rule.why}. ${mending}. See ${rulePage(rule)}`,
  where,
});

export function describePool(line: WorkerLine, desired: DeployWorkerDesired): readonly Finding[] {
  const { pool } = line.call;
  if (desired.concurrency === null || pool === 'prefork' || pool === 'processes') return [];
  return [
    {
      level: 'notice',
      message:
        pool === 'solo'
          ? 'a solo pool runs one task at a time in the main process: concurrency is not applied'
          : `a ${pool} pool runs its tasks in the main process, so concurrency ${desired.concurrency} limits concurrent tasks, not processes`,
    },
  ];
}

export function describeSwap(
  desired: DeployWorkerDesired,
  swapActive: boolean,
): readonly Finding[] {
  const { memoryHighBytes } = desired;
  if (swapActive || memoryHighBytes === null || memoryHighBytes === 'keep') return [];
  return [
    {
      level: 'warning',
      // In a dry run after provision's dry run, only this shows what the real run will set.
      message: `no swap is active, so MemoryHigh= is not set: without swap it could throttle the worker indefinitely. With swap the unit also gets MemoryHigh=${printSize(memoryHighBytes)}: run provision first (its dry run does not turn swap on)`,
    },
  ];
}
