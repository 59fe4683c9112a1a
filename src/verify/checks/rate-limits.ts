import { formatInstant } from '../../model/quantities.ts';
import { type CheckModule, checkOf, fine, type Remark, wrong } from '../check.ts';
import { describeBounds, foundIn, type RateLimited, rateLimitedIn } from '../logged.ts';
import { atMost } from '../unit-values.ts';

/** Responses with status 429 in the journal since the release. */
export const rateLimits: CheckModule = {
  id: 'rate-limits',
  title: 'HTTP 429 responses',
  proves:
    'The journal since the release shows no more HTTP responses with status 429 than allowed, in all and in its busiest minute.',
  doesNotProve: 'That there were none: the app may not log them, and journald may drop lines.',
  judge({ logged }, desired) {
    const found = rateLimitedIn(logged);
    const seen = `${foundIn(logged, found.count)}${describeBounds(logged)}`;
    const next = 'lower the concurrency or the request rate; max-429 sets how many are tolerated';
    const inAll =
      found.count <= desired.max429 ? fine(seen) : wrong(seen, atMost(desired.max429), next);
    const remarks = [inAll, ...judgeMinute(found, desired.rateLimitMax)];
    const isOpen = remarks.some(({ verdict }) => verdict !== 'pass');
    return checkOf(rateLimits, remarks, isOpen ? found.samples : []);
  },
};

function judgeMinute({ busiest }: RateLimited, allowed: number | null): readonly Remark[] {
  if (allowed === null || busiest === null) return [];
  const seen = `${busiest.count} in the minute from ${formatInstant(busiest.at)}`;
  if (busiest.count <= allowed) return [fine(seen)];
  const next = 'lower the request rate; rate-limit-max sets how many a minute are tolerated';
  return [wrong(seen, `${atMost(allowed)} in a minute`, next)];
}
