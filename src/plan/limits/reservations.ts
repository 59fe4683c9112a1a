import type { LimitsFact } from '../../model/facts/unit.ts';
import { type Bytes, bytes } from '../../model/units.ts';

/** Memory that services may use by their own limits, or by that of a slice that contains them. */
export interface Reservation {
  /** A service or a slice. */
  readonly name: string;
  readonly memoryMaxBytes: Bytes;
  readonly currentBytes: Bytes;
}

const running = ['active', 'activating', 'reloading'];

/** The slices that contain another one or a service: `a-b.slice` is inside of `a.slice`. */
export function slicesAbove(slice: string): readonly string[] {
  const parts = slice.replace(/\.slice$/, '').split('-');
  if (slice === '' || slice === '-.slice') return ['-.slice'];
  const names = parts.map((_, at) => `${parts.slice(0, at + 1).join('-')}.slice`);
  return ['-.slice', ...names];
}

/** The outermost slice with a limit that contains a unit of this slice. */
export const limitedSlice = (
  slice: string,
  { slices }: Pick<LimitsFact, 'slices'>,
): LimitsFact['slices'][number] | null =>
  slicesAbove(slice)
    .flatMap((name) => slices.filter((each) => each.name === name))
    .at(0) ?? null;

/** What running services may use besides the unit; those of a limited slice are one. */
export function listReservations(limits: LimitsFact): readonly Reservation[] {
  const found = new Map<string, Reservation>();
  for (const { name, activeState, slice, memoryMaxBytes, currentBytes } of limits.services) {
    if (!running.includes(activeState)) continue;
    const above = limitedSlice(slice, limits);
    const before = above && found.get(above.name);
    const known = bytes((before?.currentBytes ?? 0) + (currentBytes ?? 0));
    found.set(
      above?.name ?? name,
      above === null
        ? { name, memoryMaxBytes, currentBytes: bytes(currentBytes ?? 0) }
        : { ...above, currentBytes: known },
    );
  }
  return [...found.values()];
}
