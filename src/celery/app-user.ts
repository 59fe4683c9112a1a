import type { UnitFact } from '../model/facts/unit.ts';

/** The user of a unit's processes; root if the unit names none. */
export function appUserOf({ user, properties }: UnitFact): string {
  const name = user ?? properties.User ?? '';
  // `0` is another way to write root.
  return name === '' || name === '0' ? 'root' : name;
}
