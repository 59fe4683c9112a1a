import { type CheckModule, checkOf, doubtful, fine, wrong } from '../check.ts';
import { describeBounds, describeSignature, foundIn } from '../logged.ts';
import { atMost } from '../unit-values.ts';

/** Errors and tracebacks in the journal since the release. */
export const errors: CheckModule = {
  id: 'errors',
  title: 'errors in the journal',
  proves: 'The journal since the release shows no more errors and tracebacks than allowed.',
  doesNotProve: 'That there were none: journald may drop lines.',
  judge({ logged }, desired) {
    const { errors: count, signatures } = logged;
    const found = `${foundIn(logged, count)}${describeBounds(logged)}`;
    const evidence = [...signatures].sort((a, b) => a.count - b.count).map(describeSignature);
    const allowed = desired.maxErrors;
    if (count === 0 || (allowed !== null && count <= allowed)) {
      return checkOf(errors, [fine(found)], evidence);
    }
    const next = 'check these errors; max-errors sets how many are tolerated';
    const remark =
      allowed === null ? doubtful(found, 'none', next) : wrong(found, atMost(allowed), next);
    return checkOf(errors, [remark], evidence);
  },
};
