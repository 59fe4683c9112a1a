import type { UnitFact } from '../model/facts/unit.ts';
import type { Assignment, UnitEntry } from '../systemd/unit-entry.ts';
import { stackUnit } from '../systemd/unit-stack.ts';

/** Keys with another name than their property, and older names. */
const otherKeys: Readonly<Record<string, readonly string[]>> = {
  MemoryMax: ['MemoryMax', 'MemoryLimit'],
  StartLimitIntervalUSec: ['StartLimitIntervalSec', 'StartLimitInterval'],
};

const keysOf = (property: string): readonly string[] =>
  otherKeys[property] ?? [property.replace(/USec$/, 'Sec')];

/**
 * The line that sets a property of `systemctl show` last, whichever file it is in:
 * `/etc/systemd/system/x.service.d/y.conf:3`. `null`: no line of the unit or its drop-ins does.
 */
function setBy(unit: UnitFact, property: string): string | null {
  const { fragment, fragmentPath, dropIns } = unit;
  const text = fragment.kind === 'file' ? (fragment.text ?? '') : '';
  const stack = stackUnit([{ path: fragmentPath, text }, ...dropIns]);
  const keys = keysOf(property);
  const isAbout = (entry: UnitEntry): entry is Assignment =>
    entry.kind === 'assignment' && keys.includes(entry.key);
  const last = stack.file.entries.filter(isAbout).at(-1);
  return last === undefined ? null : stack.whereOf(last);
}

/** The same behind a value, ` (set by /etc/…:3)`. */
export function showSetBy(unit: UnitFact, property: string): string {
  const where = setBy(unit, property);
  return where === null ? '' : ` (set by ${where})`;
}
