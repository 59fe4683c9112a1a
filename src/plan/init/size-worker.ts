import type { FactAnswers } from '../../model/facts.ts';
import { formatBytes, formatCount, formatList } from '../../model/quantities.ts';
import { type Bytes, MiB } from '../../model/units.ts';
import { countSharers, hasSwap } from '../limits/choose-limits.ts';
import { readHostMemory } from '../limits/host-memory.ts';
import { growthFactor, proposeLimit, type Situation, weigh } from '../limits/proposal.ts';
import { limitedSlice, listReservations } from '../limits/reservations.ts';
import { measureWorker } from '../limits/worker-size.ts';
import type { UnitWorker } from './find-workers.ts';

/** How many children fit, and which limits protect the host. */
export interface Sizing {
  /** `null`: it stays as the unit has it. */
  readonly concurrency: number | null;
  readonly memoryMaxBytes: Bytes | null;
  readonly memoryHighBytes: Bytes | null;
  /** Between which limits it is as well off; `null`: no limits are proposed. */
  readonly fitting: { readonly leastBytes: number; readonly mostBytes: number } | null;
  /** The arithmetic, line by line. */
  readonly lines: readonly string[];
}

type Facts = Pick<FactAnswers, 'host' | 'workers' | 'swap' | 'limits'>;

/** What a host at rest uses differs by so much from one look to the next. */
const drift = 0.05;

/**
 * Sizes a worker for its host: as many children as it has now, or fewer if the memory does not suffice
 * for them; the limits as deploy-worker calculates them.
 */
export function sizeWorker({ unit, call }: UnitWorker, facts: Facts): Sizing {
  const { host, limits } = facts;
  const loaded = unit.properties.MemoryMax ?? '';
  if (/^\d+$/.test(loaded)) {
    const limit = Number(loaded);
    const lines = [`MemoryMax= is ${formatBytes(limit)} in the unit, and stays`];
    return { ...stays(lines), fitting: { leastBytes: limit, mostBytes: limit } };
  }
  const slice = limitedSlice(unit.properties.Slice ?? '', limits);
  if (slice !== null) {
    return stays([
      `${slice.name}, in which it runs, is limited to ${formatBytes(slice.memoryMaxBytes)}`,
    ]);
  }
  const memory = readHostMemory(host, limits);
  if (memory.kind === 'unknown') return stays([memory.why]);
  const size = measureWorker(unit);
  if (size === null) {
    const running = 'the worker is not running, so the memory that it needs is unknown';
    return stays([`${running}; the first deploy while it is running sets its limits`]);
  }
  const present = call.children;
  if (present === null) {
    return stays(['the command of the worker does not show how many children it has']);
  }
  const beat = call.beat ? 1 : 0;
  if (call.forks && size.childrenBytes.length === 0) {
    return stays(['no child process is running yet, so the memory that one needs is unknown']);
  }
  const situation = (children: number): Situation => ({
    host: memory,
    size,
    children: children + beat,
    reservations: listReservations(limits),
    sharers: countSharers({ unit, workers: facts.workers, limits }),
    swapActive: hasSwap(facts),
  });
  const most = call.forks ? present.max : 0;
  const fitting = fewerAndFewer(most).find((one) => proposeLimit(situation(one)).kind === 'fits');
  const children = fitting ?? most;
  const proposal = proposeLimit(situation(children));
  const sum = addUp(situation(most));
  if (proposal.kind === 'none') {
    return stays([...sum, 'it does not fit, whatever the concurrency: the host needs more memory']);
  }
  const { memoryMaxBytes, memoryHighBytes } = proposal;
  const high =
    memoryHighBytes === null
      ? 'no memory-high, because there is no swap'
      : `memory-high ${inputSize(memoryHighBytes)}, three quarters of it`;
  return {
    concurrency: call.forks ? children : null,
    memoryMaxBytes,
    memoryHighBytes,
    fitting: {
      leastBytes: weigh(situation(children)).needed * (1 - drift),
      mostBytes: memoryMaxBytes * (1 + drift),
    },
    lines: [
      ...sum,
      ...(children < most ? [`that is too much, so fewer: ${needOf(situation(children))}`] : []),
      ...(call.forks ? [`concurrency ${children}${children < most ? '' : ', as it is now'}`] : []),
      `memory-max ${inputSize(memoryMaxBytes)}; ${high}`,
    ],
  };
}

const stays = (lines: readonly string[]): Sizing => ({
  concurrency: null,
  memoryMaxBytes: null,
  memoryHighBytes: null,
  fitting: null,
  lines,
});

/** From this number down to one; 0 is a pool without children. */
const fewerAndFewer = (most: number): readonly number[] =>
  most === 0 ? [0] : Array.from({ length: most }, (_, less) => most - less);

function addUp(situation: Situation): readonly string[] {
  const { host, sharers } = situation;
  const { system, spare, held } = weigh(situation);
  const more = held.reduce((total, each) => total + each.more, 0);
  const parts: readonly (readonly [sign: string, size: number, what: string])[] = [
    [' ', host.totalBytes, 'memory of the host'],
    ['−', system, 'for the system'],
    ['−', host.othersBytes, 'in use by others now'],
    ...(more > 0
      ? [['−', more, `that ${formatList(held.map(({ name }) => name))} may still use`] as const]
      : []),
    ['=', Math.max(0, spare - more), 'left for the worker'],
  ];
  const wide = Math.max(...parts.map(([, size]) => formatBytes(size).length));
  return [
    ...parts.map(([sign, size, what]) => `${sign} ${formatBytes(size).padStart(wide)} ${what}`),
    ...(sharers > 0
      ? [`which it shares with ${formatCount(sharers, 'other unit')} without a limit`]
      : []),
    `it may need ${needOf(situation)}`,
  ];
}

/** `1.5 × (60 MiB + 2 × 300 MiB) = 990 MiB`. */
function needOf(situation: Situation): string {
  const { size, children } = situation;
  const { largest, needed } = weigh(situation);
  const below = children === 0 ? '' : ` + ${children} × ${formatBytes(largest)}`;
  return `${growthFactor} × (${formatBytes(size.mainBytes)}${below}) = ${formatBytes(needed)}`;
}

/** Rounded to whole MiB, as inputs take them. */
export const inputSize = (size: Bytes): string => `${Math.floor(size / MiB)}M`;
