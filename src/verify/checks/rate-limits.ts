import { type CheckModule, checkOf, fine, wrong } from '../check.ts';
import { latest } from '../evidence.ts';
import { foundIn, isRateLimitLine, showLines } from '../journal-lines.ts';
import { atMost } from '../unit-values.ts';

/** Responses with status 429 in the journal since the start of the unit. */
export const rateLimits: CheckModule = {
  id: 'rate-limits',
  title: 'HTTP 429 responses',
  proves:
    'The journal since the start of the unit shows no more HTTP responses with status 429 than allowed.',
  doesNotProve: 'That there were none: the app may not log them, and journald may drop lines.',
  judge(seen, desired) {
    const { journal } = latest(seen);
    const lines = journal.suspects.filter(({ message }) => isRateLimitLine(message));
    const found = foundIn(journal.entries, lines.length);
    if (lines.length <= desired.max429) return checkOf(rateLimits, [fine(found)]);
    const next = 'lower the concurrency or the request rate; max-429 sets how many are tolerated';
    return checkOf(rateLimits, [wrong(found, atMost(desired.max429), next)], showLines(lines));
  },
};
