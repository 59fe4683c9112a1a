/**
 * Celeriac's drop-in. The second name is used if another drop-in that is read later than the first,
 * e.g. `override.conf`, would override it (docs/decisions/005-drop-ins.md).
 */
const dropInNames = ['celeriac.conf', 'zz-celeriac.conf'] as const;

/** The possible paths of Celeriac's drop-in for a unit. */
export function ownDropIns(unit: string): readonly string[] {
  return dropInNames.map((name) => `/etc/systemd/system/${unit}.d/${name}`);
}
