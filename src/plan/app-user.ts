import { appUserOf } from '../celery/app-user.ts';
import type { UnitFact } from '../model/facts/unit.ts';
import type { Finding } from '../model/operation.ts';

/** Who works on the app's files: the user that the workflow names, or the unit's. */
export const fileUserOf = (unit: UnitFact, named: string | null | undefined): string =>
  named ?? appUserOf(unit);

/** What people should know where the app runs as root; said once. */
export function describeRoot(unit: UnitFact, fileUser: string): readonly Finding[] {
  if (appUserOf(unit) !== 'root') return [];
  const message =
    fileUser === 'root'
      ? `${unit.name} runs as root: root works on its files`
      : `${unit.name} runs as root, and ${fileUser} owns its code, so ${fileUser} can become root: set User=${fileUser} in the unit`;
  return [{ level: 'notice', message, lasting: true }];
}
