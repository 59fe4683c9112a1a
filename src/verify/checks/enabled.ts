import type { UnitFact } from '../../model/facts/unit.ts';
import { formatList } from '../../model/quantities.ts';
import {
  type CheckModule,
  checkOf,
  doubtful,
  fine,
  type Remark,
  unknownCheck,
  wrong,
} from '../check.ts';
import { latest } from '../evidence.ts';

/** States in which no release leaves a unit: deploy-worker enables what it can. */
const changedSince = ['disabled', 'masked'];
const expected = 'a unit that starts after a reboot';

/** Whether the worker comes back after a reboot. */
export const enabled: CheckModule = {
  id: 'enabled',
  title: 'enabled at boot',
  proves: 'systemd starts the unit after a reboot: it is enabled, or another unit starts it.',
  doesNotProve:
    'That this other unit is started itself, and that the start succeeds. It fails only if a release enabled the unit; otherwise it is a warning.',
  judge(seen) {
    const { unit, settings: released } = latest(seen);
    if (unit.unitFileState === '') {
      return unknownCheck(enabled, 'systemd does not report whether it is enabled');
    }
    return checkOf(enabled, [judgeState(unit, released !== null)]);
  },
};

function judgeState(unit: UnitFact, isReleased: boolean): Remark {
  const { unitFileState: state, name } = unit;
  if (state === 'enabled' || state === 'generated') return fine(state);
  const next = `\`systemctl enable ${name}\`, or deploy again`;
  if (state.endsWith('-runtime') || state === 'transient') {
    return doubtful(`${state}: only until the next reboot`, expected, next);
  }
  const starters = startersOf(unit);
  if (state !== 'masked' && starters.length > 0) {
    return fine(`${state}, started by ${formatList(starters)}`);
  }
  const remark = isReleased && changedSince.includes(state) ? wrong : doubtful;
  return remark(`${state}: after a reboot, no worker runs`, expected, next);
}

/** Units that start it together with themselves. */
function startersOf({ properties }: UnitFact): readonly string[] {
  // BoundBy is what BindsTo= of the other unit shows here.
  const { WantedBy, RequiredBy, UpheldBy, BoundBy } = properties;
  const lists = [WantedBy, RequiredBy, UpheldBy, BoundBy];
  const units = lists.flatMap((list) => (list ?? '').split(/\s+/)).filter((each) => each !== '');
  const triggers = (properties.TriggeredBy ?? '').split(/\s+/).filter((each) => each !== '');
  return [...new Set([...units, ...triggers])];
}
