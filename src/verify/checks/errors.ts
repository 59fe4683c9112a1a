import { type CheckModule, checkOf, doubtful, fine, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { errorLines, foundIn, showLines } from '../journal-lines.ts';
import { atMost } from '../unit-values.ts';

/** Errors and tracebacks in the journal since the start of the unit. */
export const errors: CheckModule = {
  id: 'errors',
  title: 'errors in the journal',
  proves:
    'The journal since the start of the unit shows no more errors and tracebacks than allowed.',
  doesNotProve: 'That there were none: journald may drop lines.',
  judge(seen, desired) {
    const { journal } = latest(seen);
    const lines = errorLines(journal.suspects);
    const found = foundIn(journal.entries, lines.length);
    const allowed = desired.maxErrors;
    if (lines.length === 0 || (allowed !== null && lines.length <= allowed)) {
      return checkOf(errors, [fine(found)], showLines(lines));
    }
    const next = 'check these errors; max-errors sets how many are tolerated';
    const remark =
      allowed === null ? doubtful(found, 'none', next) : wrong(found, atMost(allowed), next);
    return checkOf(errors, [remark], showLines(lines));
  },
};
