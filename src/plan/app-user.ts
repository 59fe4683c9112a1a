import { unitUserOf } from '../celery/unit-user.ts';
import type { UnitFact } from '../model/facts.ts';
import type { Finding } from '../model/operation.ts';

/** The user for whom Celeriac works on the app's files: the one that the workflow names, or the unit's. */
export const appUserOf = (unit: UnitFact, named: string | null | undefined): string =>
  named ?? unitUserOf(unit);

/** What people should know where root is involved; said once. */
export function describeAppUser(unit: UnitFact, user: string): readonly Finding[] {
  if (unitUserOf(unit) !== 'root') return [];
  const message =
    user === 'root'
      ? `${unit.name} runs as root: root works on its files`
      : `${unit.name} runs as root, and ${user} owns its code, so ${user} can become root: set User=${user} in the unit`;
  return [{ level: 'notice', message }];
}
