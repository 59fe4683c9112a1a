import { formatCount } from '../../model/quantities.ts';
import { type CheckModule, checkOf, doubtful, fine, unknownCheck } from '../check.ts';
import { describeSignature, newSignatures } from '../logged.ts';

/** Kinds of errors that the journal before the release does not show. */
export const newErrors: CheckModule = {
  id: 'new-errors',
  title: 'new kinds of errors',
  proves:
    'Each error since the release has a signature (its exception, and where in the app) that the seven days before it show, too.',
  doesNotProve:
    'That the release is not their cause. Of the days before, at most 50,000 lines are compared.',
  judge({ logged }) {
    if (logged.signatures.length === 0) return [];
    const found = newSignatures(logged);
    if (found === null) {
      return unknownCheck(newErrors, 'no journal from before the release to compare with');
    }
    const untold = logged.signatures.filter(({ before }) => before === null).length;
    if (found.length === 0 && untold > 0) {
      const why = 'the days before show more signatures than are compared';
      return unknownCheck(newErrors, `${formatCount(untold, 'signature')} not compared: ${why}`);
    }
    if (found.length === 0) return checkOf(newErrors, [fine('none')]);
    const [first] = found;
    const more = found.length === 1 ? '' : ` and ${found.length - 1} more`;
    const seen = `${formatCount(found.length, 'signature')}: ${first?.signature ?? ''}${more}`;
    const next = 'check whether this release causes them';
    return checkOf(
      newErrors,
      [doubtful(seen, 'only errors that occurred before this release', next)],
      found.map(describeSignature),
    );
  },
};
