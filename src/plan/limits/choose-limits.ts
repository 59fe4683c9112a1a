import { poolSize } from '../../celery/celery-call.ts';
import type { WorkerLine } from '../../celery/worker-line.ts';
import type { DeployWorkerDesired, MemoryWish } from '../../config/deploy-worker-desired.ts';
import type { HostFact } from '../../model/facts/host.ts';
import type { FactAnswers } from '../../model/facts.ts';
import type { Finding } from '../../model/operation.ts';
import { hasChildren, hasNoChildren } from '../../model/pools.ts';
import { formatBytes } from '../../model/quantities.ts';
import { stackUnit } from '../../systemd/unit-stack.ts';
import { findStackLine, presentUnit, type UnitSource } from '../unit/unit-source.ts';
import { readHostMemory } from './host-memory.ts';
import { type Proposal, proposeLimit } from './proposal.ts';
import { limitedSlice, listReservations } from './reservations.ts';
import { measureWorker } from './worker-size.ts';
import { readWrittenLimit, type WrittenLimit } from './written-limits.ts';

type Facts = Pick<FactAnswers, 'host' | 'unit' | 'workers' | 'swap' | 'limits'>;
type Wishes = Pick<
  DeployWorkerDesired,
  'unit' | 'concurrency' | 'memoryMaxBytes' | 'memoryHighBytes'
>;

/** The limits to set; `keep`: the line of the unit stays as it is, or there is none. */
export interface ChosenLimits {
  readonly memoryMaxBytes: MemoryWish;
  readonly memoryHighBytes: MemoryWish;
  /** How a limit that nobody asked for was calculated; `null`: none was. */
  readonly why: string | null;
  readonly findings: readonly Finding[];
}

/**
 * Decides about the limits that a run does not ask for. Those of the unit stay; a unit without any
 * gets one that protects the host, if everything that it depends on is known
 * (docs/decisions/016-limits-that-nobody-asked-for.md).
 */
export function chooseLimits(source: UnitSource, facts: Facts, desired: Wishes): ChosenLimits {
  const swapActive = hasSwap(facts);
  const present = presentUnit(source);
  const read = (key: 'MemoryMax' | 'MemoryHigh'): WrittenLimit =>
    readWrittenLimit(present, key, source.path, source.ownPaths, facts.host.memory.totalBytes);
  const [max, high] = [read('MemoryMax'), read('MemoryHigh')];
  const kept = {
    memoryMaxBytes: desired.memoryMaxBytes === 'keep' ? keep(max) : desired.memoryMaxBytes,
    memoryHighBytes:
      desired.memoryHighBytes === 'keep' ? keepHigh(high, swapActive) : desired.memoryHighBytes,
  };
  if (desired.memoryMaxBytes !== 'keep' || max.kind !== 'absent' || limitsSoftly(high, kept)) {
    return { ...kept, why: null, findings: [] };
  }
  const proposal = propose(source, facts, desired, swapActive);
  if (proposal.kind === 'none') return { ...kept, why: null, findings: [refusal(proposal)] };
  const { memoryMaxBytes, memoryHighBytes, why } = proposal;
  const asked = kept.memoryHighBytes;
  if (swapActive && typeof asked === 'number' && asked >= memoryMaxBytes) {
    const above = `MemoryHigh= ${formatBytes(asked)} is not below the ${formatBytes(memoryMaxBytes)} that the host can spare (${why})`;
    return { ...kept, why: null, findings: [refusal({ kind: 'none', why: above }, 'MemoryMax=')] };
  }
  const isFree = desired.memoryHighBytes === 'keep' && high.kind === 'absent';
  const soft = isFree && memoryHighBytes !== null ? memoryHighBytes : kept.memoryHighBytes;
  const named = `MemoryMax= ${formatBytes(memoryMaxBytes)}${isFree && memoryHighBytes !== null ? ` and MemoryHigh= ${formatBytes(memoryHighBytes)}` : ''}`;
  const without = swapActive ? '' : ' There is no swap, so MemoryHigh= is not set.';
  return {
    memoryMaxBytes,
    memoryHighBytes: soft,
    why,
    findings: [
      {
        level: 'notice',
        message: `${desired.unit} had no memory limit and gets ${named}: ${why}.${without} Set memory-max and memory-high to choose other values, or memory-max: off for none`,
      },
    ],
  };
}

/** Whether swap is active on the host. */
export const hasSwap = ({ host, swap }: Pick<Facts, 'host' | 'swap'>): boolean =>
  swap.active.length > 0 || host.memory.swapTotalBytes > 0;

/** Celeriac's drop-in is written anew, so what it contains must be set again. */
const keep = (limit: WrittenLimit): MemoryWish => (limit.kind === 'own' ? limit.size : 'keep');

/** Without swap a soft limit can stall the worker (rule memory-high-without-swap). */
function keepHigh(limit: WrittenLimit, swapActive: boolean): MemoryWish {
  if (swapActive) return keep(limit);
  return limit.kind === 'own' || (limit.kind === 'theirs' && limit.inUnit) ? null : 'keep';
}

/** A MemoryHigh= alone is a limit, too, as long as it stays. */
function limitsSoftly(high: WrittenLimit, kept: { readonly memoryHighBytes: MemoryWish }): boolean {
  if (kept.memoryHighBytes !== 'keep') return false;
  return high.kind === 'theirs' && high.value !== '' && high.value !== 'infinity';
}

interface Refused {
  readonly kind: 'none';
  readonly why: string;
  /** Whether the host is at risk, as far as is known. */
  readonly level?: Finding['level'];
}

const refusal = ({ why, level = 'notice' }: Refused, which = 'memory limit'): Finding => ({
  level,
  // Where the host is at risk, every run warns.
  ...(level === 'notice' && { lasting: true as const }),
  message: `no ${which} is set: ${why}. Set memory-max to choose one, or to off if there should be none`,
});

function propose(
  source: UnitSource,
  facts: Facts,
  desired: Wishes,
  swapActive: boolean,
): Proposal | Refused {
  const { host, unit, limits } = facts;
  const unknown = (why: string): Refused => ({ kind: 'none', why });
  const loaded = unit.properties.MemoryMax ?? '';
  if (/^\d+$/.test(loaded) && !unit.needDaemonReload) {
    return unknown(
      `systemd already has MemoryMax=${loaded} for it, which no file of the unit sets`,
    );
  }
  const slice = limitedSlice(unit.properties.Slice ?? '', limits);
  if (slice !== null) {
    return unknown(
      `${slice.name}, in which it runs, is limited to ${formatBytes(slice.memoryMaxBytes)}`,
    );
  }
  const memory = readHostMemory(host, limits);
  if (memory.kind === 'unknown') return unknown(memory.why);
  const size = measureWorker(unit);
  if (size === null) {
    return unknown(
      'it would depend on the size of the processes, and the worker is not running; a deploy while it runs will propose one',
    );
  }
  const line = findStackLine(stackUnit([source, ...source.dropIns]));
  const children = line && childrenToBe(line, host, desired, size.childrenBytes.length);
  if (children === null) {
    return unknown(
      'it would depend on the number of child processes, which the unit does not show',
    );
  }
  if (children > 0 && size.childrenBytes.length === 0) {
    return unknown('it would depend on the size of a child process, and none is running');
  }
  const proposal = proposeLimit({
    host: memory,
    size,
    children,
    reservations: listReservations(limits),
    sharers: countSharers(facts),
    swapActive,
  });
  return proposal.kind === 'fits' ? proposal : { ...proposal, level: 'warning' };
}

/** The most children of the new worker; `null`: unknown. */
function childrenToBe(
  { call }: WorkerLine,
  { cpus }: HostFact,
  { concurrency }: Wishes,
  running: number,
): number | null {
  const beat = call.beat ? 1 : 0;
  if (!hasChildren(call.pool)) return hasNoChildren(call.pool) ? beat : null;
  if (concurrency !== null) return concurrency + beat;
  const size = poolSize(call, cpus);
  if (size !== null) return size + beat;
  // A number that a variable holds stays as it is, so the running children show it.
  return call.autoscale === null && running > 0 ? running : null;
}

/** Other services that run Celery without a limit of their own. */
export function countSharers({
  unit,
  workers,
  limits,
}: Pick<Facts, 'unit' | 'workers' | 'limits'>): number {
  const services = workers.flatMap(({ cgroup }) => {
    const parts = cgroup.split('/');
    const name = parts.findLast((part) => part.endsWith('.service')) ?? '';
    const isLimited =
      limits.services.some((each) => each.name === name) ||
      limits.slices.some((each) => parts.includes(each.name));
    return name === '' || name === unit.name || isLimited ? [] : [name];
  });
  return new Set(services).size;
}
