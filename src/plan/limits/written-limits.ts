import { type Bytes, bytes } from '../../model/units.ts';
import type { UnitStack } from '../../systemd/unit-stack.ts';
import { parseSize } from '../../systemd/values.ts';

export type LimitKey = 'MemoryMax' | 'MemoryHigh';

/** A limit as the files of a unit define it, including `infinity`. */
export type WrittenLimit =
  | { readonly kind: 'absent' }
  /** In Celeriac's own drop-in, which is written anew; `null`: no limit. */
  | { readonly kind: 'own'; readonly size: Bytes | null }
  | {
      readonly kind: 'theirs';
      readonly where: string;
      readonly value: string;
      /** Whether it is in the unit file itself, not in a drop-in. */
      readonly inUnit: boolean;
    };

const spellings = { MemoryMax: ['MemoryMax', 'MemoryLimit'], MemoryHigh: ['MemoryHigh'] } as const;

/**
 * The line that decides about a limit. systemd ignores an invalid one; in the unit file or in
 * Celeriac's own drop-in it counts as none, because there it can be replaced.
 *
 * @param unit with all drop-ins
 * @param path the unit file
 * @param ownPaths the possible paths of Celeriac's drop-in
 */
export function readWrittenLimit(
  unit: UnitStack,
  key: LimitKey,
  path: string,
  ownPaths: readonly string[],
  hostMemoryBytes: Bytes,
): WrittenLimit {
  for (const spelling of spellings[key]) {
    const entry = unit.file.assignments('Service', spelling).at(-1);
    if (entry === undefined) continue;
    const where = unit.whereOf(entry);
    const file = where.slice(0, where.lastIndexOf(':'));
    const size = parseSize(entry.value === '' ? 'infinity' : entry.value);
    const isOwn = ownPaths.includes(file);
    if (size === null && (isOwn || file === path)) continue;
    if (!isOwn) return { kind: 'theirs', where, value: entry.value, inUnit: file === path };
    if (size?.kind !== 'percent') {
      return { kind: 'own', size: size?.kind === 'bytes' ? size.bytes : null };
    }
    return { kind: 'own', size: bytes(Math.floor((hostMemoryBytes * size.percent) / 100)) };
  }
  return { kind: 'absent' };
}
