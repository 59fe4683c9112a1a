import { formatBytes, formatInstant } from '../../model/quantities.ts';
import type { Sample } from '../../model/sample.ts';
import type { SoakFault } from '../../model/soak.ts';
import type { EpochSeconds } from '../../model/units.ts';

/** The least memory that the worker used in one hour: a load that comes and goes does not raise it. */
export interface HourlyFloor {
  readonly at: EpochSeconds;
  readonly bytes: number;
}

/** Hours of one run of the worker that are needed to see a trend. */
const fewestHours = 6;
/** Share of the pairs of hours in which the later one needs more: a climb, not noise. */
const climbing = 0.8;
/** Growth below this is what any worker does. */
const leastGrowth = { share: 0.1, bytes: 32 * 1024 * 1024 };
/** A limit that would be reached later than this is nobody's concern, in hours. */
const horizonHours = 7 * 24;

/**
 * A leak: the hourly floor climbs, by Theil-Sen's slope (the median of all pairs, so that an hour
 * that is out of line does not matter), and would reach the limit within a week. `null`: none.
 *
 * @param floors full hours of one run of the worker, oldest first; the first hour, in which it warms
 * up, left out
 */
export function findLeak(
  floors: readonly HourlyFloor[],
  memory: NonNullable<Sample['memory']>,
): SoakFault | null {
  const limit = memory.high ?? memory.max;
  const first = floors[0];
  const last = floors.at(-1);
  if (limit === null || first === undefined || last === undefined) return null;
  if (floors.length < fewestHours) return null;
  const slopes: number[] = [];
  let rising = 0;
  for (const [index, a] of floors.entries()) {
    for (const b of floors.slice(index + 1)) {
      slopes.push((b.bytes - a.bytes) / ((b.at - a.at) / 3600));
      if (b.bytes > a.bytes) rising += 1;
    }
  }
  const slope = median(slopes);
  const recent = floors.slice(-fewestHours);
  const goesOn = (recent.at(-1)?.bytes ?? 0) - (recent[0]?.bytes ?? 0) > 0;
  const growth = last.bytes - first.bytes;
  const hoursLeft = slope > 0 ? Math.max(0, limit - last.bytes) / slope : Number.POSITIVE_INFINITY;
  const isLeak =
    goesOn &&
    rising >= slopes.length * climbing &&
    growth >= Math.max(limit * leastGrowth.share, leastGrowth.bytes) &&
    hoursLeft <= horizonHours;
  if (!isLeak) return null;
  const name = memory.high === null ? 'MemoryMax' : 'MemoryHigh';
  const when = formatInstant(last.at + hoursLeft * 3600);
  return {
    limit: 'leak',
    at: last.at,
    sentence: `The worker's memory climbs by ${formatBytes(slope)} an hour, from ${formatBytes(first.bytes)} to ${formatBytes(last.bytes)}: it would reach ${name} (${formatBytes(limit)}) at ${when}.`,
  };
}

/** The middle value; 0 of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}
