import { formatBytes, formatCount, formatList } from '../../model/quantities.ts';
import { type Bytes, bytes, MiB } from '../../model/units.ts';
import type { HostMemory } from './host-memory.ts';
import type { Reservation } from './reservations.ts';
import type { WorkerSize } from './worker-size.ts';

/** What a limit for a worker depends on. */
export interface Situation {
  readonly host: Extract<HostMemory, { kind: 'known' }>;
  readonly size: WorkerSize;
  /** How many children the new worker can have. */
  readonly children: number;
  readonly reservations: readonly Reservation[];
  /** Other units with workers without a limit, which may need as much. */
  readonly sharers: number;
  readonly swapActive: boolean;
}

export type Proposal =
  | {
      readonly kind: 'fits';
      readonly memoryMaxBytes: Bytes;
      /** `null`: without swap. */
      readonly memoryHighBytes: Bytes | null;
      /** The arithmetic. */
      readonly why: string;
    }
  | { readonly kind: 'none'; readonly why: string };

/** A worker needs room to grow: its tasks differ, and its present size is a sample. */
export const growthFactor = 1.5;
const systemShare = 0.1;
const smallestSystemBytes = 128 * MiB;
/** The soft limit leaves the kernel time to reclaim memory before the hard one. */
const softShare = 0.75;
const step = 16 * MiB;

/**
 * A limit that keeps a leak from taking down the host: what the host can spare, shared with other
 * workers, but never less than the worker needs.
 */
export function proposeLimit(situation: Situation): Proposal {
  const { host, size, children, sharers, swapActive } = situation;
  const { system, spare, held, largest, needed } = weigh(situation);
  const share = (spare - held.reduce((sum, { more }) => sum + more, 0)) / (1 + sharers);

  const below = children === 0 ? '' : ` + ${children} × ${formatBytes(largest)}`;
  const floor = `${growthFactor} × (${formatBytes(size.mainBytes)}${below}) = ${formatBytes(needed)}`;
  const sum = [
    `${formatBytes(host.totalBytes)} of memory − ${formatBytes(system)} for the system − ${formatBytes(host.othersBytes)} in use by others`,
    ...(held.length > 0
      ? [
          `− ${formatBytes(held.reduce((total, { more }) => total + more, 0))} that ${formatList(held.map(({ name }) => name))} may still use`,
        ]
      : []),
  ].join(' ');
  if (needed > spare) {
    return {
      kind: 'none',
      why: `the worker may need ${floor}, and ${sum} leaves ${formatBytes(Math.max(0, spare))}`,
    };
  }
  const memoryMaxBytes = bytes(Math.max(needed, Math.floor(share / step) * step));
  const shared =
    sharers === 0
      ? ''
      : `, shared with ${formatCount(sharers, 'other unit')} that ${sharers === 1 ? 'has' : 'have'} no limit`;
  const soft = bytes(Math.floor((memoryMaxBytes * softShare) / MiB) * MiB);
  return {
    kind: 'fits',
    memoryMaxBytes,
    memoryHighBytes: swapActive ? soft : null,
    why: `${sum}${shared}; at least ${floor}`,
  };
}

/** What the limit is calculated from. */
export interface Weights {
  /** Kept for the system. */
  readonly system: number;
  /** What is left without the system and what others use now. */
  readonly spare: number;
  /** What others may still use by their own limits. */
  readonly held: readonly { readonly name: string; readonly more: number }[];
  /** The largest child. */
  readonly largest: number;
  /** What the worker may need, with room to grow. */
  readonly needed: Bytes;
}

/** Weighs what the host has against what the worker needs. */
export function weigh({ host, size, children, reservations }: Situation): Weights {
  const largest = Math.max(0, ...size.childrenBytes);
  const system = Math.max(host.totalBytes * systemShare, smallestSystemBytes);
  // A limit above the host's memory reserves nothing.
  const held = reservations
    .filter(({ memoryMaxBytes }) => memoryMaxBytes < host.totalBytes)
    .map(({ name, memoryMaxBytes, currentBytes }) => ({
      name,
      more: Math.max(0, memoryMaxBytes - currentBytes),
    }))
    .filter(({ more }) => more > 0);
  return {
    system,
    spare: host.totalBytes - system - host.othersBytes,
    held,
    largest,
    needed: bytes(roundUp(growthFactor * (size.mainBytes + children * largest))),
  };
}

const roundUp = (size: number): number => Math.ceil(size / MiB) * MiB;
