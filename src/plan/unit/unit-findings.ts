import { findUnitFaults } from '../../celery/unit-faults.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired } from '../../config/deploy-worker-desired.ts';
import { printSize } from '../../config/quantities.ts';
import { ConfigError } from '../../model/errors.ts';
import type { Finding } from '../../model/operation.ts';
import { hasChildren } from '../../model/pools.ts';
import { rulePage, type UnitContext, type UnitFault } from '../../systemd/unit-rules.ts';
import type { UnitStack } from '../../systemd/unit-stack.ts';

/**
 * The faults of the current unit, and those that the new one still has or adds.
 *
 * @param accepted ids of rules that the run accepts
 * @throws ConfigError for a severe fault that is neither fixed nor accepted
 */
export function describeFaults(
  before: UnitStack,
  after: UnitStack,
  path: string,
  context: UnitContext,
  accepted: readonly string[],
): readonly Finding[] {
  const was = findUnitFaults(before.file, context);
  const still = findUnitFaults(after.file, context);
  const isSame = (one: UnitFault) => (other: UnitFault) =>
    one.rule.id === other.rule.id && one.seen === other.seen;
  const added = still.filter((fault) => !was.some(isSame(fault)));
  const place = (fault: UnitFault): string =>
    fault.entry === null ? path : before.whereOf(fault.entry);
  refuseSevere(still, was, accepted, (fault, isOld) =>
    fault.entry === null ? path : (isOld ? before : after).whereOf(fault.entry),
  );
  const describe = (fault: UnitFault, mending: string, where: string): Finding =>
    accepted.includes(fault.rule.id)
      ? {
          ...describeFault(fault, 'notice', 'Accepted by `accept-rules`', where),
          accepted: fault.rule.title,
        }
      : describeFault(fault, 'warning', mending, where);
  return [
    ...was.flatMap((fault): readonly Finding[] => {
      const { rule } = fault;
      if (still.some(isSame(fault))) {
        return [describe(fault, `Not fixed here: ${rule.fix}`, place(fault))];
      }
      // Changed, but still a fault: reported below with its new text.
      if (added.some((other) => other.rule.id === rule.id)) return [];
      return [describeFault(fault, 'notice', 'The new unit fixes it', place(fault))];
    }),
    ...added.map((fault) =>
      describe(fault, `The new unit has this fault: ${fault.rule.fix}`, path),
    ),
  ];
}

function refuseSevere(
  still: readonly UnitFault[],
  was: readonly UnitFault[],
  accepted: readonly string[],
  place: (fault: UnitFault, isOld: boolean) => string,
): void {
  const severe = still.find(({ rule }) => rule.severe && !accepted.includes(rule.id));
  if (severe === undefined) return;
  const { rule } = severe;
  // As the line stands now: the new one has edits that nobody has seen yet.
  const old = was.find((fault) => fault.rule.id === rule.id);
  const fault = old ?? severe;
  throw new ConfigError(
    'input unit',
    `${place(fault, old !== undefined)}: ${rule.title} (${fault.seen}): ${rule.why}`,
    `${rule.fix}; or \`accept-rules: ${rule.id}\` to deploy it as it is. See ${rulePage(rule)}`,
  );
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
  if (desired.concurrency === null || hasChildren(pool)) return [];
  return [
    {
      level: 'notice',
      lasting: true,
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
