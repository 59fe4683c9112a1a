import type { UnitFact } from '../model/facts/unit.ts';
import { type Bytes, bytes } from '../model/units.ts';

/** A worker's memory before the gate and after it. */
export interface MemoryGrowth {
  readonly beforeBytes: Bytes;
  readonly afterBytes: Bytes;
  readonly allowedBytes: Bytes;
  readonly isAllowed: boolean;
}

/** What a job that imports its modules only when it runs, or a larger heap, may cost. */
const leastAllowed = 64 * 1024 * 1024;
const allowedShare = 0.2;

/** Without the cache of files, if that is known of both; `null`: no memory accounting. */
export function memoryGrowth(
  before: UnitFact['memory'],
  after: UnitFact['memory'],
  allowed: Bytes | null,
): MemoryGrowth | null {
  if (before === null || after === null) return null;
  const anonymous = [before.anonBytes ?? null, after.anonBytes ?? null] as const;
  const [beforeBytes, afterBytes] =
    anonymous[0] === null || anonymous[1] === null
      ? [before.currentBytes, after.currentBytes]
      : [anonymous[0], anonymous[1]];
  const allowedBytes =
    allowed ?? bytes(Math.round(Math.max(leastAllowed, beforeBytes * allowedShare)));
  const isAllowed = afterBytes - beforeBytes <= allowedBytes;
  return { beforeBytes, afterBytes, allowedBytes, isAllowed };
}
