import { type CheckModule, checkOf, fine, wrong } from '../check.ts';
import { rateLimitedIn } from '../logged.ts';
import { atMost } from '../unit-values.ts';

/** Responses with status 429 while the probes of the gate ran. */
export const gateRateLimits: CheckModule = {
  id: 'gate-rate-limits',
  title: 'gate: HTTP 429 responses',
  proves: 'The worker logged no HTTP response with status 429 during the gate beyond `max-429`.',
  doesNotProve: 'That there was none: the app may not log them.',
  judge({ loggedMeanwhile }, { max429 }) {
    if (loggedMeanwhile === null) return [];
    const { count, samples } = rateLimitedIn(loggedMeanwhile);
    const seen = count === 0 ? 'none' : `${count} during the gate`;
    if (count <= max429) return checkOf(gateRateLimits, [fine(seen)]);
    const next = 'lower the concurrency or the request rate of these jobs';
    return checkOf(gateRateLimits, [wrong(seen, atMost(max429), next)], samples);
  },
};
