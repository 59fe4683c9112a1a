import type { UnitFact } from '../../model/facts/unit.ts';
import { formatCount } from '../../model/quantities.ts';
import { parseTimeSpan } from '../../systemd/values.ts';
import { type CheckModule, checkOf, fine, type Remark, unknownCheck, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { showSetBy } from '../set-by.ts';

/** Judged by the check `limits`. */
const limits = ['MemoryMax', 'MemoryHigh'];
/** deploy-worker takes a longer time for what is set on purpose. */
const atLeast = ['TimeoutStartUSec', 'TimeoutStopUSec'];

/** Whether the unit still is as its release proved it. */
export const settings: CheckModule = {
  id: 'settings',
  title: 'settings of the unit',
  proves:
    'Each property of the unit that its release set and proved still has this value, whichever file sets it.',
  doesNotProve: 'Anything about a unit that Celeriac has not deployed, or other properties.',
  judge(seen) {
    const { unit, settings: released } = latest(seen);
    if (released === null) {
      return unknownCheck(settings, 'no release is on record that set any', 'run deploy-worker');
    }
    const known = Object.entries(released.properties).filter(
      // Another systemd may lack some of them.
      ([name]) => !limits.includes(name) && unit.properties[name] !== undefined,
    );
    const remarks = known.flatMap(([name, value]) => judgeProperty(unit, name, value));
    if (remarks.length > 0) return checkOf(settings, remarks);
    const all = formatCount(known.length, 'property', 'properties');
    return checkOf(settings, [fine(`${all} as in release ${released.transaction}`)]);
  },
};

function judgeProperty(unit: UnitFact, name: string, wanted: string): readonly Remark[] {
  const actual = unit.properties[name] ?? '';
  if (actual === wanted || (atLeast.includes(name) && isLonger(actual, wanted))) return [];
  const seen = `${name}=${actual}${showSetBy(unit, name)}`;
  return [wrong(seen, `${name}=${wanted}`, 'remove the line that sets it, or deploy again')];
}

const isLonger = (actual: string, wanted: string): boolean =>
  (parseTimeSpan(actual) ?? 0) > (parseTimeSpan(wanted) ?? 0);
