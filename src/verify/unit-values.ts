import type { ProcessFact, UnitFact } from '../model/facts/unit.ts';
import { formatBytes } from '../model/quantities.ts';

/** Values of a unit's properties that several checks read. */

/** Journal lines shown for a unit that is not running. */
export const shownTail = 15;

/** `none` or `at most 3`. */
export const atMost = (limit: number): string => (limit === 0 ? 'none' : `at most ${limit}`);

export const notifies = (unit: UnitFact): boolean =>
  ['notify', 'notify-reload'].includes(unit.properties.Type ?? '');

/** `null`: no limit; `undefined`: not reported by systemd. */
export function readLimit(
  unit: UnitFact,
  property: 'MemoryMax' | 'MemoryHigh',
): number | null | undefined {
  const text = unit.properties[property];
  if (text === 'infinity') return null;
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** `pid 101 of 100, S, root, 70 MiB: /usr/bin/celery …` */
export function describeProcess({
  pid,
  parentPid,
  state,
  user,
  residentBytes,
  argv,
}: ProcessFact): string {
  return `pid ${pid} of ${parentPid}, ${state}, ${user}, ${formatBytes(residentBytes)}: ${argv.join(' ')}`;
}
