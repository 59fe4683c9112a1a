import type { UnitFact } from '../model/facts.ts';

/** The user of a unit's processes; root if the unit names none. */
export const appUserOf = ({ user, properties }: UnitFact): string =>
  user ?? (properties.User || 'root');
