import type { HostFact } from '../../model/facts/host.ts';
import type { LimitsFact } from '../../model/facts/unit.ts';
import { type Bytes, bytes } from '../../model/units.ts';

/** The memory that a host has for all of its processes. */
export type HostMemory =
  | {
      readonly kind: 'known';
      readonly totalBytes: Bytes;
      /** Used by everything but the unit, without the cache of files. */
      readonly othersBytes: Bytes;
    }
  /** `why` completes "the memory limit is not proposed: …". */
  | { readonly kind: 'unknown'; readonly why: string };

/** Containers that see a memory of their own in any case. */
const ownKernelView = ['openvz', 'wsl'];

/** How much memory there is, and how much of it others use. */
export function readHostMemory(host: HostFact, limits: LimitsFact): HostMemory {
  const { container, memory } = host;
  const { system, unitBytes } = limits;
  const isOwn = container === null || limits.ownMeminfo || ownKernelView.includes(container);
  const others = (used: number): Bytes => bytes(Math.max(0, used - (unitBytes ?? 0)));
  if (system !== null && (!isOwn || system.limitBytes < memory.totalBytes)) {
    const { limitBytes: totalBytes, usedBytes } = system;
    return { kind: 'known', totalBytes, othersBytes: others(usedBytes) };
  }
  if (isOwn) {
    const used = memory.totalBytes - memory.availableBytes;
    return { kind: 'known', totalBytes: memory.totalBytes, othersBytes: others(used) };
  }
  return {
    kind: 'unknown',
    why: `this host is a container (${container}) that shows the memory of its own host, and not how much of it is its own`,
  };
}
